"""Which initializer of Seedbed makes what an initializer of a layer describes."""

import functools
import types
from collections.abc import Callable
from typing import Any

import keras
from keras.src.backend import in_stateless_scope, in_symbolic_scope

from .. import initializers
from ..initializers.initializer import RandomInitializer
from ..values.seeds import Seed, SeedGenerator
from . import classes, tensors
from .initializer import Initializer

_keras = keras.initializers
# By the call that makes the values: classes that inherit it are of the same kind, whatever they
# are called, and those with a call of their own are not.
TWINS: dict[Any, tuple[type, tuple[str, ...]]] = {
    _keras.RandomNormal.__call__: (classes.RandomNormal, ("mean", "stddev")),
    _keras.TruncatedNormal.__call__: (classes.TruncatedNormal, ("mean", "stddev")),
    _keras.RandomUniform.__call__: (classes.RandomUniform, ("minval", "maxval")),
    _keras.Orthogonal.__call__: (classes.Orthogonal, ("gain",)),
    _keras.VarianceScaling.__call__: (
        classes.VarianceScaling,
        ("scale", "mode", "distribution", "input_axes", "output_axes"),
    ),
    _keras.STFT.__call__: (classes.STFT, ("side", "window", "scaling", "periodic")),
}
# Keras' own have no random numbers, and the same values on every backend.
EXACT = tuple(getattr(_keras, name).__call__ for name in ("Zeros", "Ones", "Constant", "Identity"))


class Drawn:
    """What Keras calls in the place of a layer's initializer: an initializer of Seedbed.

    What is read of a variable to come is kept until the variable is made of it.
    """

    def __init__(self, init: initializers.Initializer) -> None:
        self.init = init
        self._read: Any = None

    def __call__(self, shape: Any, dtype: Any = None, layout: Any = None) -> Any:
        """Return the values as a tensor of Keras' backend."""
        if in_stateless_scope() and not in_symbolic_scope() and layout is None:
            dtype = keras.backend.standardize_dtype(dtype)
            if self._read is None:
                self._read = tensors.array(self.init, shape, dtype)
            return keras.ops.convert_to_tensor(self._read.copy(), dtype)
        values, self._read = self._read, None
        if values is not None and layout is None and not in_symbolic_scope():
            return tensors.from_numpy(values, keras.backend.standardize_dtype(dtype))
        return tensors.as_tensor(self.init, shape, dtype, layout)


def twin(init: Any, seed: Seed, keep_seeds: bool = False, layer: Any = None) -> Any:
    """Return what to call in the place of an initializer.

    Parameters
    ----------
    init : callable
        What a layer initializes a variable with.
    seed : int or SeedGenerator
        Of the variable.
    keep_seeds : bool
        Whether a seed of the initializer's own counts.
    layer : keras.layers.Layer, optional
        Whose variable it is.

    Returns
    -------
    callable
        `init` itself where it has no random numbers. None if nothing is known of it.
    """
    if isinstance(init, initializers.Initializer):
        if isinstance(init, RandomInitializer) and not (keep_seeds and init.seeded):
            init = init.with_seed(seed)
        own = isinstance(init, Initializer) and type(init).__call__ is not Initializer.__call__
        return init if own else Drawn(init)  # a call of the user's is Keras' to make
    call = type(init).__call__
    if call in EXACT:
        return init
    if call in TWINS:
        kind, names = TWINS[call]
        arguments = {name: getattr(init, name) for name in names}
        if issubclass(kind, RandomInitializer):
            own = keep_seeds and not _unseeded(init, layer)
            arguments["seed"] = init._init_seed if own else seed
        return Drawn(kind(**arguments))
    if isinstance(init, types.FunctionType) and init.__module__.startswith("keras."):
        return _of_function(init, seed, keep_seeds)
    return None


def _unseeded(init: Any, layer: Any) -> bool:
    """Return whether a random initializer of Keras was given no seed.

    `EinsumDense` makes one with the seed that its own has drawn.
    """
    if init._init_seed is None:
        return True
    others = (other for other in vars(layer).values() if hasattr(other, "_init_seed"))
    return any(other._init_seed is None and other.seed is init.seed for other in others)


def _of_function(function: Any, seed: Any, keep_seeds: bool) -> Callable[..., Any]:
    """Return a function of Keras' with twins in the place of the initializers of its layer.

    So are the biases of LSTM put together, of several calls: each is a draw of its own.
    """
    if not any(_is_layer(cell.cell_contents) for cell in function.__closure__ or ()):
        return function  # of an array

    @functools.wraps(function)
    def initialize(*arguments: Any, **options: Any) -> Any:
        generator = SeedGenerator(seed)
        cells = tuple(
            types.CellType(_View(cell.cell_contents, generator, keep_seeds))
            if _is_layer(cell.cell_contents)
            else cell
            for cell in function.__closure__
        )
        other = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, None, cells
        )
        other.__defaults__, other.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
        return other(*arguments, **options)

    return initialize


def _is_layer(thing: Any) -> bool:
    return isinstance(thing, keras.layers.Layer)


class _View:
    """A layer as it is, but for its initializers."""

    def __init__(self, layer: Any, generator: SeedGenerator, keep_seeds: bool) -> None:
        self._layer, self._generator, self._keep_seeds = layer, generator, keep_seeds

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._layer, name)
        if not callable(value) or not name.endswith("_initializer"):
            return value
        return twin(value, self._generator, self._keep_seeds, self._layer) or value
