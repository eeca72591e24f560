"""Element types by name, and what a random value may be in each of them."""

import difflib
import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

from seedbed_kernels import arithmetic

from ..errors import ArgumentError, brief

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATING = ("float16", "bfloat16", "float32", "float64")
NAMES = (
    *FLOATING,
    "float8_e4m3fn",
    "float8_e5m2",
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "complex64",
    "complex128",
)
_BY_NAME = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in NAMES}
_DTYPES = frozenset(_BY_NAME.values())  # in native byte order
_LARGEST = {d: float(ml_dtypes.finfo(d).max) for d in _DTYPES if d.kind in "fcV"}
FLOATING_DTYPES = frozenset(_BY_NAME[name] for name in FLOATING)
_SHORT = {dtype.str[1:]: dtype for dtype in _BY_NAME.values() if dtype.kind != "V"}
_PYTHON = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}
_LONG = {"half": "float16", "single": "float32", "double": "float64", "float": "float32"}


Function = TypeVar("Function", bound=Callable[..., Any])


def quiet(function: Function) -> Function:
    """Have a function compute as IEEE 754 says, whatever the caller's `numpy.errstate` is.

    It rounds to nearest and keeps subnormal numbers, too, whatever this thread is set to do.
    """

    @functools.wraps(function)
    def undisturbed(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"), arithmetic.usual():
            return function(*args, **kwargs)

    return undisturbed  # pyright: ignore[reportReturnType]


def as_dtype(dtype: Any, owner: str | None = None) -> np.dtype:
    """Return the NumPy dtype that a name or a framework's dtype object means.

    Parameters
    ----------
    dtype : None, str, or dtype of NumPy, ml_dtypes, Keras, TensorFlow, JAX or PyTorch
        None is float32, as is ``"float"``. Objects that NumPy does not know are read by name:
        ``torch.bfloat16``, ``tf.float32``.
    owner : str, optional
        Who asks, for the error message.

    Raises
    ------
    ArgumentError
        If there is no such dtype here.

    Examples
    --------
    >>> as_dtype("bfloat16")
    dtype(bfloat16)
    >>> as_dtype(None)
    dtype('float32')
    """
    if dtype is None:
        return _BY_NAME["float32"]
    if type(dtype) is str and dtype in _BY_NAME:
        return _BY_NAME[dtype]
    if isinstance(dtype, np.dtype):
        found = dtype
    elif isinstance(dtype, type) and dtype in _PYTHON:
        found = _BY_NAME[_PYTHON[dtype]]
    elif isinstance(dtype, type):
        try:
            found = np.dtype(dtype)
        except TypeError:
            found = None
    else:
        name = getattr(dtype, "name", dtype)  # TensorFlow's dtypes have one
        if not isinstance(name, str):
            name = str(dtype)  # PyTorch's say "torch.float32"
        package, _, short = name.rpartition(".")
        name = short if package in ("", "torch", "tf", "jnp", "np", "numpy", "jax.numpy") else name
        name = _LONG.get(name, name)
        found = _BY_NAME.get(name, _SHORT.get(name.lstrip("<=|")))
    if found is None or found not in _DTYPES:
        given = str(dtype)
        near = difflib.get_close_matches(given, NAMES, 3, 0.5) or NAMES
        error = ArgumentError(f"unknown dtype {brief(given)}; allowed: {', '.join(near)}")
        raise error.named(owner)
    return found


def smallest_not_below(value: float, dtype: np.dtype) -> float:
    """Return the smallest number of a floating `dtype` that is at least `value`, never -0."""
    return 0.0 - largest_not_above(-value, dtype)


def largest_below(value: float, dtype: np.dtype) -> float:
    """Return the largest number of a floating `dtype` that is less than `value`."""
    return largest_not_above(math.nextafter(value, -math.inf), dtype)


def largest(dtype: np.dtype) -> float:
    """Return the largest finite number of a floating or complex dtype."""
    return _LARGEST[dtype]


@quiet
def largest_not_above(value: float, dtype: np.dtype) -> float:
    """Return the largest finite number of a floating `dtype` that is at most `value`."""
    if value >= largest(dtype):
        return largest(dtype)
    nearest = np.asarray(value, np.float64).astype(dtype)
    if float(nearest) > value:
        nearest = np.nextafter(nearest, np.asarray(-np.inf, dtype))
    return float(nearest)
