"""Initializers without random numbers."""

from typing import Any, Self

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, brief
from ..values import recipes
from ..values.dtypes import as_dtype
from .arguments import PLAIN, as_array, as_keras, as_number, finite, plain, restored
from .initializer import Initializer

SHOWN = 8  # elements of an array that a repr has


class Constant(Initializer):
    """One value everywhere, or an array of values.

    Parameters
    ----------
    value : scalar or array_like
        Of any library. An array must broadcast to the shape. It must convert to the dtype without
        loss of kind, and finite values must stay finite: a float does not fit an integer dtype, nor
        a complex number a floating one, nor 1e10 float16.

    Notes
    -----
    Source: ``keras.initializers.Constant``.

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.Constant([1, 2, 3])((2, 3), "int8")
    array([[1, 2, 3],
           [1, 2, 3]], dtype=int8)
    """

    def __init__(self, value: Any = 0.0) -> None:
        owner = type(self).__name__
        try:
            self._values = as_array(value)
        except Exception:  # rows of different lengths, a tensor without values
            self._values = np.array(None)
        if self._values.dtype.kind not in "biufcV":
            raise ArgumentTypeError(
                "value must be a number, or an array of them, of a dtype of NumPy; "
                f"given {brief(value)}"
            ).named(owner)
        as_dtype(self._values.dtype.newbyteorder("="), owner)
        known = isinstance(value, (*PLAIN, list, tuple, np.ndarray, np.generic))
        self.value = value if known else as_number(self._values)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return what a table's values are."""
        return recipes.Constant(self._values)

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> recipes.Recipe:
        """Return what the values of rows of keys are."""
        if np.ndim(self._values):
            raise ArgumentError("has no rows of keys: value must be one number; given an array")
        return recipes.Constant(self._values)

    def __repr__(self) -> str:
        if self._values.size <= SHOWN:
            return super().__repr__()
        sizes = " × ".join(f"{size:,}" for size in self._values.shape)
        return f"{type(self).__name__}(<{sizes} {self._values.dtype.name}>)"

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer, as JSON can hold them."""
        return {"value": plain(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an initializer from the result of `get_config`."""
        return cls(restored(cls.__name__, "value", config.get("value", 0.0)))


class Zeros(Constant):
    """Zero everywhere, in any dtype.

    Source: ``keras.initializers.Zeros``.

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.Zeros()((2,), "complex64")
    array([0.+0.j, 0.+0.j], dtype=complex64)
    """

    def __init__(self) -> None:
        super().__init__(False)  # the kind that every dtype can hold

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer: none."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an initializer from the result of `get_config`."""
        return cls(**config)


class Ones(Zeros):
    """One everywhere, in any dtype.

    Source: ``keras.initializers.Ones``.

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.Ones()((2, 2), "bool")
    array([[ True,  True],
           [ True,  True]])
    """

    def __init__(self) -> None:
        Constant.__init__(self, True)


class Identity(Initializer):
    """The identity matrix times `gain`; a rectangular one is padded with zeros.

    Parameters
    ----------
    gain : float
        Finite. An integer or bool dtype needs a gain that it holds exactly.

    Notes
    -----
    Source: ``keras.initializers.Identity``. Rank 2 only.

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.Identity()((2, 3), "int32")
    array([[1, 0, 0],
           [0, 1, 0]], dtype=int32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = finite(self, "gain", gain)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return what a table's values are."""
        if len(shape) != 2:
            raise as_keras(
                "Identity matrix initializer can only be used for 2D matrices.",
                self,
                f"shape must have rank 2; given {shape} of rank {len(shape)}",
            )
        return recipes.Diagonal(self.gain)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"gain": self.gain}
