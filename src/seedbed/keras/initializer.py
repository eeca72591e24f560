"""What Seedbed's initializers in Keras share: the call, and the seeds."""

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src.backend import in_stateless_scope

from .. import initializers
from ..errors import ArgumentError, brief
from ..initializers.initializer import RandomInitializer as _RandomInitializer
from ..values.seeds import SeedGenerator, Stream
from . import tensors
from .registering import register

UNSEEDED = 2**32  # seeds of initializers without one: Keras makes keys of the backend of them


def _of_tensorflow() -> tuple[Any, ...]:
    """Return the base class of TensorFlow's own initializers, on that backend.

    TensorFlow Recommenders Addons calls what inherits from it for whole rows, and anything else
    for one number.
    """
    if keras.backend.backend() != "tensorflow":
        return ()
    import tensorflow as tf

    return (tf.zeros_initializer.__mro__[1],)


class Initializer(initializers.Initializer, keras.initializers.Initializer, *_of_tensorflow()):
    """What Seedbed's initializers in Keras share: the call.

    Each inherits from its namesake here, from that of `seedbed.initializers`, which describes its
    arguments and makes its values, and from that of Keras, which layers such as `EinsumDense` ask
    for. Subclasses are registered with Keras under the name of their module.

    Examples
    --------
    >>> import keras
    >>> import seedbed.keras
    >>> layer = keras.layers.Dense(3, kernel_initializer=seedbed.keras.GlorotUniform(seed=7))
    >>> layer.build((None, 2))
    >>> values = initializers.GlorotUniform(seed=7)((2, 3))
    >>> bool((keras.ops.convert_to_numpy(layer.kernel) == values).all())
    True
    """

    _parts: Stream | None = None  # of the partitioned variable that is being made

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        register(cls)

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        layout: Any = None,
        *,
        partition_shape: Sequence[int] | None = None,
        partition_offset: Sequence[int] | None = None,
        window: Any = None,
        rows: Any = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a variable as a tensor of Keras' backend.

        Parameters
        ----------
        shape : sequence of int
            The full variable, which fans come from. In a `tf.function` it may be known at run time
            only, as ``tf.shape(x)`` is: then, as for a `SeedGenerator` there, the values come by a
            call to the host on each run.
        dtype : dtype or name, optional
            ``keras.config.floatx()`` by default. A complex one for normal distributions that are
            not truncated: half the variance in each part.
        layout : keras.distribution.TensorLayout or jax.sharding.NamedSharding, optional
            How the variable lies on JAX's devices. Each device's piece is made on its own.
        partition_shape, partition_offset : sequence of int, optional
            The part to make of a variable that TensorFlow partitions.
        window, rows, out, device : optional
            As in `seedbed.initializers`; with one of them the result, too, is as there.

        Returns
        -------
        tensor
            Equal, bit for bit, to the NumPy array of the same initializer and seed.
        """
        if not window is rows is out is device is None:
            return self.array(shape, dtype, window=window, rows=rows, out=out, device=device)
        if partition_shape is None:
            return tensors.as_tensor(self, shape, dtype, layout)
        offset = partition_offset or (0,) * len(partition_shape)
        if not any(offset) or self._parts is None:  # parts are asked for in order
            self._parts = self.stream()
        parts = zip(offset, partition_shape, strict=True)
        window = tuple(slice(start, start + size) for start, size in parts)
        dtype = keras.backend.standardize_dtype(dtype)
        drawn = self if self._parts is None else self.of(self._parts)
        return tensors.from_numpy(drawn.array(shape, dtype, window=window), dtype)

    def array(self, shape: Sequence[int], dtype: Any = None, **others: Any) -> Any:
        """Return what the namesake in `seedbed.initializers` returns."""
        return super().__call__(shape, dtype, **others)

    def of(self, stream: Stream) -> "Initializer":
        """Return an equal initializer of one fixed stream of random numbers."""
        drawn: Any = copy.copy(self)
        drawn.seed = stream
        return drawn


class RandomInitializer(_RandomInitializer):
    """What those with random numbers share: seeds of Keras.

    An unseeded one draws its seed from Python's `random`, which ``keras.utils.set_random_seed``
    seeds. A ``keras.random.SeedGenerator`` is accepted, and gives new values on every call. With
    JAX the attribute `seed` may be set to a key, also to a traced one.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        of_keras = isinstance(seed, keras.random.SeedGenerator)
        super().__init__(0 if of_keras else seed)
        if of_keras:
            self._init_seed = self.seed = seed  # pyright: ignore[reportAttributeAccessIssue]
        elif seed is None:
            self.seed = random.randrange(UNSEEDED)

    @property
    def seeded(self) -> bool:
        """Whether the values are the same in every process: no seed was drawn at random."""
        if isinstance(self._init_seed, keras.random.SeedGenerator):
            return self._init_seed.get_config()["seed"] is not None
        return super().seeded

    def keyed_stream(self) -> Stream:
        """Return the random numbers of rows of keys."""
        seed: Any = self.seed
        if isinstance(seed, (int, SeedGenerator, Stream)):
            return super().keyed_stream()
        raise ArgumentError(
            "seed must be an integer for rows of keys, which are the same on every call; "
            f"given {brief(seed)}"
        )

    def words(self) -> tuple[Any, Callable[[Any], Stream]] | None:
        """Return a tensor, and the function that reads the next stream from its values.

        The state of a generator of Keras, which moves on, or a key of JAX. None if the stream is
        known. A call to the host must not ask for `seed` later: that may be another one by then.
        """
        seed: Any = self.seed
        if isinstance(seed, keras.random.SeedGenerator):
            with tensors.concrete():
                return seed.next(), tensors.stream_of_state
        if isinstance(seed, (int, SeedGenerator, Stream)):
            return None
        return tensors.key_words(seed, type(self).__name__), tensors.stream_of_key

    def stream(self, whole: bool = True) -> Stream:
        """Return the random numbers of the next call, for a whole table or a window."""
        found = self.words()
        if found is not None:
            words, stream_of = found
            return stream_of(keras.ops.convert_to_numpy(words))
        seed: Any = self.seed
        if in_stateless_scope():  # a variable to come is read: leave no trace, as Keras' own do not
            if isinstance(seed, SeedGenerator):
                return copy.copy(seed).next()
            return seed if isinstance(seed, Stream) else Stream(seed)
        return super().stream(whole)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer, as Keras saves them."""
        if isinstance(self._init_seed, Stream):
            return super().get_config()
        return {"seed": keras.saving.serialize_keras_object(self._init_seed)}
