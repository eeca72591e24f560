"""Seedbed in Keras 3: every initializer as one of Keras' own, on TensorFlow, JAX and PyTorch.

Importing this module registers them under the package ``seedbed``, so that models which use them
can be saved, loaded, cloned and moved to another backend. They take the arguments of their
namesakes in `seedbed.initializers`, give the same values, and return the backend's tensors.

`tf_keras`, Keras 2 as a package of its own, has a registry of its own. They are registered there,
too, if it was imported before this module; if later, call `register_tf_keras`.
"""

import copy
import functools
import random
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

try:
    import keras
    from keras.src.backend import in_stateless_scope, in_symbolic_scope
except ImportError as error:
    raise ImportError(
        "seedbed.keras needs Keras and a backend: python -m pip install 'seedbed[frameworks]'"
    ) from error

import numpy as np

from . import initializers
from .initializers.initializer import RandomInitializer as _RandomInitializer
from .values.dtypes import FLOATING_DTYPES
from .values.host import LARGE
from .values.recipes import Window
from .values.seeds import SEEDS, SeedGenerator, Stream

_register = keras.saving.register_keras_serializable(package="seedbed")
_register(SeedGenerator)


class Initializer(initializers.Initializer, keras.initializers.Initializer):
    """What Seedbed's initializers in Keras share: the call.

    Each inherits from its namesake here, from that of `seedbed.initializers`, which describes its
    arguments and makes its values, and from that of Keras, which layers such as `EinsumDense` ask
    for.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Dense(3, kernel_initializer=GlorotUniform(seed=7))
    >>> layer.build((None, 2))
    >>> values = initializers.GlorotUniform(seed=7)((2, 3))
    >>> bool((keras.ops.convert_to_numpy(layer.kernel) == values).all())
    True
    """

    _partitioned: initializers.Initializer

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        layout: Any = None,
        *,
        partition_shape: Sequence[int] | None = None,
        partition_offset: Sequence[int] | None = None,
        window: Window | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a variable as a tensor of Keras' backend.

        Parameters
        ----------
        shape : sequence of int
            The full variable, which fans come from.
        dtype : dtype or name, optional
            ``keras.config.floatx()`` by default.
        layout : keras.distribution.TensorLayout or jax.sharding.NamedSharding, optional
            How the variable lies on JAX's devices. Each device's piece is made on its own.
        partition_shape, partition_offset : sequence of int, optional
            The part to make of a variable that TensorFlow partitions.
        window, out, device : optional
            As in `seedbed.initializers`; with one of them the result, too, is as there.

        Returns
        -------
        tensor
            Equal, bit for bit, to the NumPy array of the same initializer and seed.
        """
        if window is not None or out is not None or device is not None:
            return super().__call__(shape, dtype, window=window, out=out, device=device)
        dtype = keras.backend.standardize_dtype(dtype)
        if in_symbolic_scope():  # a variable to come is read for its shape, any number of times
            return keras.ops.empty(shape, dtype)
        if layout is not None:
            return _sharded(self, shape, dtype, layout)
        if partition_shape is not None:
            offset = partition_offset or (0,) * len(partition_shape)
            if not any(offset) or not hasattr(self, "_partitioned"):  # parts are asked in order
                self._partitioned = _drawn(self)
            parts = zip(offset, partition_shape, strict=True)
            window = tuple(slice(start, start + size) for start, size in parts)
            return _tensor(self._partitioned(shape, dtype, window=window), dtype)
        if keras.backend.backend() == "torch":
            from .torch.tensors import write

            empty: Any = keras.ops.empty(shape, dtype)
            return write(empty, self)
        if keras.backend.backend() == "jax":
            import jax

            dtype = jax.dtypes.canonicalize_dtype(dtype).name  # of 32 bits, unless 64 are enabled
        return _tensor(super().__call__(shape, dtype), dtype)


class RandomInitializer(_RandomInitializer):
    """What those with random numbers share: seeds of Keras.

    An unseeded one draws its seed from Python's `random`, which ``keras.utils.set_random_seed``
    seeds. A ``keras.random.SeedGenerator`` is accepted, and gives new values on every call.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        keras_generator = isinstance(seed, keras.random.SeedGenerator)
        super().__init__(0 if keras_generator else seed)
        if keras_generator:
            self._init_seed = self.seed = seed  # pyright: ignore[reportAttributeAccessIssue]
        elif seed is None:
            self.seed = random.randrange(SEEDS)

    def stream(self, whole: bool = True) -> Stream:
        """Return the random numbers of the next call, for a whole table or a window."""
        seed: Any = self.seed
        if isinstance(seed, keras.random.SeedGenerator):
            with _concrete():
                state: Any = keras.ops.convert_to_numpy(seed.next())
            key, draw = state.tolist()
            return Stream(key if key >= 0 else key % 2**32, draw + 1)  # of 32 bits, those of a word
        if in_stateless_scope():  # a variable to come is read: leave no trace, as Keras' own do not
            return copy.copy(seed).next() if isinstance(seed, SeedGenerator) else Stream(seed)
        return super().stream(whole)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer, as Keras saves them."""
        return {"seed": keras.saving.serialize_keras_object(self._init_seed)}


def _drawn(init: Initializer) -> Initializer:
    """Return an initializer whose windows are all of the table that the next call gives."""
    if not isinstance(init, RandomInitializer):
        return init
    drawn = copy.copy(init)
    drawn.seed = init.stream()
    return drawn


def _concrete() -> Any:
    """Return a context in which tensors have values, even if a function is being traced."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    return nullcontext()


def _tensor(values: np.ndarray, dtype: str) -> Any:
    """Return new NumPy values as a tensor of the backend: large ones without a copy.

    JAX and, through DLPack, TensorFlow take over memory that begins with a cache line, as that of
    large arrays does. Nobody else holds it, so variables may be trained in it.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.numpy.asarray(values, dtype)  # without a dtype it would copy
    if keras.backend.backend() == "tensorflow" and values.nbytes >= LARGE:
        import tensorflow as tf

        if tf.executing_eagerly() and values.dtype in FLOATING_DTYPES:
            words = values.view(f"u{values.itemsize}")  # DLPack has no bfloat16
            return tf.bitcast(tf.experimental.dlpack.from_dlpack(words.__dlpack__()), dtype)
    return keras.ops.convert_to_tensor(values, dtype)


def _sharded(init: Initializer, shape: Sequence[int], dtype: str, layout: Any) -> Any:
    """Return a JAX array under a layout, which Keras gives with an abstract mesh."""
    import jax

    from .jax import array

    layout = getattr(layout, "backend_layout", layout)
    abstract = isinstance(layout.mesh, jax.sharding.AbstractMesh)
    mesh = jax.sharding.get_mesh() if abstract else layout.mesh
    with jax.set_mesh(mesh):  # a generator's state does not mix with the abstract one
        drawn = _drawn(init)
    made = array(drawn, shape, jax.sharding.NamedSharding(mesh, layout.spec), dtype)
    within = abstract and layout.mesh.axis_types != mesh.axis_types
    return _sealed()(made, layout) if within else made


@functools.cache
def _sealed() -> type:
    """Return a class of what stands for an array until Keras has it.

    Keras calls initializers within `jax.sharding.explicit_axes`, which copies, to change their
    sharding, all arrays among the leaves of what they return. There this tree has no leaves, and
    turns into its array when it is put together. To a function of the user's in between it is an
    array: JAX', Keras' and its own functions and arithmetic take it.
    """
    import jax

    class Sealed(np.lib.mixins.NDArrayOperatorsMixin):
        def __init__(self, array: Any, layout: Any) -> None:
            self.array, self.layout = array, layout

        def __jax_array__(self) -> Any:
            return jax.sharding.reshard(self.array, self.layout)

        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any) -> Any:
            return getattr(jax.numpy, ufunc.__name__)(*inputs)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__jax_array__(), name)

    def leaves(sealed: Any) -> tuple[Any, Any]:
        within = jax.sharding.get_abstract_mesh() == sealed.layout.mesh
        return ((sealed.__jax_array__(),), None) if within else ((), sealed.array)

    jax.tree_util.register_pytree_node(
        Sealed, leaves, lambda array, leaves: leaves[0] if leaves else array
    )
    return Sealed


@_register
class Constant(Initializer, initializers.Constant, keras.initializers.Constant):
    """`seedbed.initializers.Constant` in Keras."""


@_register
class Zeros(Initializer, initializers.Zeros, keras.initializers.Zeros):
    """`seedbed.initializers.Zeros` in Keras."""


@_register
class Ones(Initializer, initializers.Ones, keras.initializers.Ones):
    """`seedbed.initializers.Ones` in Keras."""


@_register
class Identity(Initializer, initializers.Identity, keras.initializers.Identity):
    """`seedbed.initializers.Identity` in Keras."""


@_register
class STFT(Initializer, initializers.STFT, keras.initializers.STFT):
    """`seedbed.initializers.STFT` in Keras."""


@_register
class RandomNormal(
    Initializer, initializers.RandomNormal, RandomInitializer, keras.initializers.RandomNormal
):
    """`seedbed.initializers.RandomNormal` in Keras."""


@_register
class RandomUniform(
    Initializer, initializers.RandomUniform, RandomInitializer, keras.initializers.RandomUniform
):
    """`seedbed.initializers.RandomUniform` in Keras."""


@_register
class TruncatedNormal(
    Initializer, initializers.TruncatedNormal, RandomInitializer, keras.initializers.TruncatedNormal
):
    """`seedbed.initializers.TruncatedNormal` in Keras."""


@_register
class Orthogonal(
    Initializer, initializers.Orthogonal, RandomInitializer, keras.initializers.Orthogonal
):
    """`seedbed.initializers.Orthogonal` in Keras."""


@_register
class DeltaOrthogonal(Initializer, initializers.DeltaOrthogonal, RandomInitializer):
    """`seedbed.initializers.DeltaOrthogonal` in Keras."""


@_register
class VarianceScaling(
    Initializer, initializers.VarianceScaling, RandomInitializer, keras.initializers.VarianceScaling
):
    """`seedbed.initializers.VarianceScaling` in Keras."""


@_register
class GlorotNormal(
    Initializer, initializers.GlorotNormal, RandomInitializer, keras.initializers.GlorotNormal
):
    """`seedbed.initializers.GlorotNormal` in Keras."""


@_register
class GlorotUniform(
    Initializer, initializers.GlorotUniform, RandomInitializer, keras.initializers.GlorotUniform
):
    """`seedbed.initializers.GlorotUniform` in Keras."""


@_register
class HeNormal(Initializer, initializers.HeNormal, RandomInitializer, keras.initializers.HeNormal):
    """`seedbed.initializers.HeNormal` in Keras."""


@_register
class HeUniform(
    Initializer, initializers.HeUniform, RandomInitializer, keras.initializers.HeUniform
):
    """`seedbed.initializers.HeUniform` in Keras."""


@_register
class LecunNormal(
    Initializer, initializers.LecunNormal, RandomInitializer, keras.initializers.LecunNormal
):
    """`seedbed.initializers.LecunNormal` in Keras."""


@_register
class LecunUniform(
    Initializer, initializers.LecunUniform, RandomInitializer, keras.initializers.LecunUniform
):
    """`seedbed.initializers.LecunUniform` in Keras."""


def register_tf_keras() -> None:
    """Register all initializers with `tf_keras`, which has been imported after this module.

    Examples
    --------
    >>> import tf_keras  # doctest: +SKIP
    >>> register_tf_keras()  # doctest: +SKIP
    >>> tf_keras.initializers.get("seedbed>HeNormal")  # doctest: +SKIP
    """
    import tf_keras

    for name, kind in keras.saving.get_custom_objects().items():
        if name.startswith("seedbed>"):
            tf_keras.utils.register_keras_serializable(*name.split(">"))(kind)


if "tf_keras" in sys.modules:
    register_tf_keras()
