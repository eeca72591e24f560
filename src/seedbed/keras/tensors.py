"""Values of initializers as tensors of Keras' backend: whole, sharded, or at run time."""

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from keras.src.backend import in_symbolic_scope

from ..errors import ArgumentTypeError
from ..initializers import Initializer
from ..initializers.initializer import RandomInitializer
from ..values.dtypes import FLOATING, FLOATING_DTYPES, as_dtype
from ..values.host import LARGE, HostArray
from ..values.request import check_shape
from ..values.seeds import SeedGenerator, Stream
from .complex_normal import ComplexNormal


def _as_written(function: Any) -> Any:
    """Return a function that TensorFlow does not translate, with all it calls, into a graph."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


@_as_written
def as_tensor(
    init: Initializer, shape: Sequence[int], dtype: Any = None, layout: Any = None
) -> Any:
    """Return the values of any initializer of Seedbed as a tensor of the backend.

    Its arguments are those of `seedbed.keras.Initializer`.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    if in_symbolic_scope():  # a variable to come is read for its shape, any number of times
        return keras.ops.empty(shape, dtype)
    if layout is not None:
        return _sharded(_of_kind(init, dtype), shape, dtype, layout)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        shape = _static(shape)
        if _at_run_time(init, shape):
            return _in_tensorflow_graph(init, shape, dtype)
    found = init.words() if hasattr(init, "words") else None  # pyright: ignore
    if found is not None:
        words, stream_of = found
        if backend == "jax" and _is_traced(words):
            return _in_jax_trace(init, shape, dtype, words, stream_of)
        init = init.of(stream_of(keras.ops.convert_to_numpy(words)))  # pyright: ignore
    init = _of_kind(init, dtype)
    if backend == "torch" and not (dtype in FLOATING and _is_on_host()):
        from ..torch.tensors import write

        empty: Any = keras.ops.empty(shape, dtype)
        return write(empty, init)
    if backend == "jax":
        dtype = _canonical(dtype)
    return from_numpy(array(init, shape, dtype), dtype)


def array(init: Initializer, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Return the values of any initializer of Seedbed in an array that nobody else holds."""
    owner = type(init).__name__
    out = HostArray.empty(check_shape(shape, owner), as_dtype(dtype, owner)).array
    getattr(init, "array", init)(shape, dtype, out=out)
    return out


def from_numpy(values: np.ndarray, dtype: str) -> Any:
    """Return new NumPy values as a tensor of the backend: large ones without a copy.

    PyTorch, JAX and, through DLPack, TensorFlow take over memory that begins with a cache line, as
    that of large arrays does. Nobody else holds it, so variables may be trained in it.
    """
    backend, large = keras.backend.backend(), values.nbytes >= LARGE
    if backend == "jax":
        import jax

        # Given a dtype it takes the memory over, without one it copies, which is quicker if small.
        return jax.numpy.asarray(values, dtype if large else None)
    if values.dtype in FLOATING_DTYPES:
        words = values.view(f"i{values.itemsize}")  # NumPy's bfloat16 is unknown outside
        if backend == "torch":
            import torch
            from keras.src.backend.torch.core import to_torch_dtype

            return torch.from_numpy(words).view(to_torch_dtype(dtype))
        if backend == "tensorflow" and large:
            import tensorflow as tf

            if tf.executing_eagerly():
                return tf.bitcast(tf.experimental.dlpack.from_dlpack(words.__dlpack__()), dtype)
    return keras.ops.convert_to_tensor(values, dtype)


def _is_on_host() -> bool:
    """Return whether new tensors of PyTorch have memory of the host: not on meta, and no fakes."""
    import torch

    new: Any = keras.ops.empty((0,))
    return type(new) is torch.Tensor and new.is_cpu


def concrete() -> Any:
    """Return a context in which tensors have values, even if a function is being traced."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    return nullcontext()


def key_words(seed: Any, owner: str) -> Any:
    """Return the words of a key of JAX, of either style, which `seed` has been set to."""
    if keras.backend.backend() == "jax":
        import jax

        if isinstance(seed, jax.Array):
            if jax.numpy.issubdtype(seed.dtype, jax.dtypes.prng_key):
                seed = jax.random.key_data(seed)
            if seed.ndim == 1 and seed.size >= 2 and seed.dtype == np.uint32:
                return seed
    raise ArgumentTypeError(
        f"seed must be an integer, a SeedGenerator or, with JAX, one key; given {seed!r}"
    ).named(owner)


def stream_of_key(words: Any) -> Stream:
    """Return the stream of a key of JAX."""
    first, second = np.asarray(words)[:2].tolist()
    return Stream(first << 32 | second)


def stream_of_state(words: Any) -> Stream:
    """Return the stream of the state of a generator of Keras."""
    first, second = np.asarray(words).tolist()
    return Stream(first if first >= 0 else first % 2**32, second + 1)  # torch has int32


def _of_kind(init: Initializer, dtype: str) -> Initializer:
    """Return an initializer that can make a dtype: complex normal values are of another kind."""
    random = isinstance(init, RandomInitializer)
    return ComplexNormal(init) if random and dtype.startswith("complex") else init


def _canonical(dtype: str) -> str:
    """Return a dtype as JAX holds it: of 32 bits, unless 64 are enabled."""
    import jax

    return jax.dtypes.canonicalize_dtype(dtype).name


def _is_traced(value: Any) -> bool:
    from jax.core import Tracer

    return isinstance(value, Tracer)


def _in_jax_trace(
    init: Any, shape: Sequence[int], dtype: str, words: Any, stream_of: Callable[[Any], Stream]
) -> Any:
    """Return a traced array that a call to the host fills on each run, for its words."""
    import jax

    dtype = _canonical(dtype)
    result = jax.ShapeDtypeStruct(tuple(shape), dtype)

    def make(words: Any) -> np.ndarray:
        drawn = init.of(stream_of(words))
        return array(_of_kind(drawn, dtype), result.shape, dtype)

    return jax.pure_callback(make, result, words, vmap_method="sequential")


def _static(shape: Any) -> Any:
    """Return a shape as a tuple of ints where it is known while a graph is traced."""
    import tensorflow as tf

    if not isinstance(shape, tf.Tensor):
        shape = tuple(shape)
        if not any(isinstance(size, tf.Tensor) for size in shape):
            return shape
    known = tf.get_static_value(_sizes(shape))
    return _sizes(shape) if known is None else tuple(known.tolist())


def _at_run_time(init: Initializer, shape: Any) -> bool:
    """Return whether a graph of TensorFlow must call the host each time it runs."""
    import tensorflow as tf

    if tf.executing_eagerly():
        return False
    if not isinstance(shape, tuple):
        return True
    generators = (SeedGenerator, keras.random.SeedGenerator)
    return isinstance(getattr(init, "seed", None), generators)


def _sizes(shape: Any) -> Any:
    import tensorflow as tf

    if isinstance(shape, tf.Tensor):
        return tf.cast(shape, tf.int64)
    return tf.stack([tf.cast(size, tf.int64) for size in shape])


def _in_tensorflow_graph(init: Any, shape: Any, dtype: str) -> Any:
    """Return a tensor of a graph that a call to the host fills on each run."""
    import tensorflow as tf

    seed = getattr(init, "seed", None)
    of_keras = isinstance(seed, keras.random.SeedGenerator)
    sizes = _sizes(shape)
    inputs = [sizes, seed.next()] if of_keras else [sizes]

    def make(sizes: np.ndarray, *words: np.ndarray) -> np.ndarray:
        drawn = init.of(stream_of_state(words[0])) if words else init
        return array(_of_kind(drawn, dtype), tuple(sizes.tolist()), dtype)

    advances = of_keras or isinstance(seed, SeedGenerator)
    made = tf.numpy_function(make, inputs, tf.as_dtype(dtype), stateful=advances)
    made.set_shape(tf.TensorShape(tf.get_static_value(sizes, partial=True)))
    return made


def _sharded(init: Any, shape: Sequence[int], dtype: str, layout: Any) -> Any:
    """Return a JAX array under a layout, which Keras gives with an abstract mesh."""
    import jax

    from ..jax import array as jax_array

    layout = getattr(layout, "backend_layout", layout)
    abstract = isinstance(layout.mesh, jax.sharding.AbstractMesh)
    mesh = jax.sharding.get_mesh() if abstract else layout.mesh
    with jax.set_mesh(mesh):  # a generator's state does not mix with the abstract one
        drawn = init.with_seed(init.stream()) if _advances(init) else init
    made = jax_array(drawn, shape, jax.sharding.NamedSharding(mesh, layout.spec), dtype)
    within = abstract and layout.mesh.axis_types != mesh.axis_types
    return _sealed()(made, layout) if within else made


def _advances(init: Initializer) -> bool:
    """Return whether the next call draws: its pieces must be windows of one table."""
    return not isinstance(getattr(init, "seed", 0), (int, Stream))


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
