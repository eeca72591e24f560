"""Initializers without random numbers."""

from typing import Any, Self

import ml_dtypes
import numpy as np

from .. import fill
from ..dtypes import as_dtype
from .initializer import Initializer, finite


class Constant(Initializer):
    """One value everywhere, or an array of values.

    Parameters
    ----------
    value : scalar or array_like
        An array must broadcast to the shape. It must convert to the dtype without loss of kind: a
        float does not fit an integer dtype, nor a complex number a floating one.

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
        kind = np.asarray(value).dtype.kind
        if kind not in "biufcV":
            raise TypeError(
                f"{type(self).__name__}: value must be a number, or an array of them, of a dtype "
                f"of NumPy; given {value!r}"
            )
        self.value = value

    def source(self, shape: tuple[int, ...]) -> fill.Source:
        """Return what a table's values are."""
        return fill.Constant(self.value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        value = self.value
        if isinstance(value, np.ndarray):
            array = {"value": value.tolist(), "dtype": value.dtype.name}
            return {"value": {"class_name": "__numpy__", "config": array}}
        return {"value": value.item() if isinstance(value, np.generic) else value}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an initializer from the result of `get_config`."""
        value = config.get("value", 0.0)
        if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
            array = value["config"]
            value = np.array(array["value"], as_dtype(array["dtype"], cls.__name__))
        return cls(value)


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

    def source(self, shape: tuple[int, ...]) -> fill.Source:
        """Return what a table's values are."""
        if len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__}: shape must have rank 2; given {shape} of rank {len(shape)}"
            )
        return fill.Computed(self._diagonal)

    def _diagonal(self, window: fill.Window, dtype: np.dtype) -> np.ndarray:
        if dtype.kind in "biu":
            limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
            largest = 1 if dtype.kind == "b" else limits.max
            if self.gain != int(self.gain) or not limits.min <= self.gain <= largest:
                raise ValueError(
                    f"{type(self).__name__}: gain must be an integer in "
                    f"[{limits.min}, {largest}] for {dtype.name}; given {self.gain!r}"
                )
        elif dtype.kind != "c" and abs(self.gain) > float(ml_dtypes.finfo(dtype).max):
            raise ValueError(
                f"{type(self).__name__}: gain must be within ±{float(ml_dtypes.finfo(dtype).max):g}"
                f" for {dtype.name}; given {self.gain!r}"
            )
        rows, columns = window
        size = rows.stop - rows.start, columns.stop - columns.start
        values = np.eye(*size, k=rows.start - columns.start, dtype=dtype)
        values[values != 0] = self.gain
        return values

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"gain": self.gain}
