"""Arguments of initializers: numbers and arrays of any library, and what configurations hold."""

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, brief
from ..values.dtypes import as_dtype

PLAIN = (bool, int, float, complex, str, bytes, type(None))  # arrays of no library


def is_array(value: Any) -> bool:
    """Return whether NumPy may read an object as an array: no framework is imported to know it."""
    if isinstance(value, (Sequence, memoryview)):
        return True
    names = ("__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__")
    return any(hasattr(type(value), name) for name in (*names, "detach"))


def as_array(value: Any) -> np.ndarray:
    """Return the values of any library's array, or of nested sequences of them, as NumPy's.

    The memory is shared where that is possible. Tensors without values (traced, symbolic, on
    ``meta``) and ragged sequences raise whatever their library raises.
    """
    if isinstance(value, (list, tuple)):
        return np.asarray(_each(value))
    masked_arrays = sys.modules.get("numpy.ma")  # without it there are none
    if masked_arrays is not None and masked_arrays.is_masked(value):
        raise ArgumentTypeError("a masked array has no value everywhere")
    return np.asarray(_on_host(value))


def as_number(value: Any) -> Any:
    """Return a scalar of any library as Python's own number, and anything else as it is."""
    if isinstance(value, (*PLAIN, list, tuple)):
        return value
    if not is_array(value):
        return value
    try:
        array = as_array(value)
    except Exception:  # a tensor without values: who asked for a number says so
        return value
    return array.item() if array.ndim == 0 and array.dtype != object else value


def finite(owner: object, name: str, value: Any, least: float = -math.inf) -> Any:
    """Return a number that is finite and not below `least`, as Python's own type."""
    number = as_number(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ArgumentTypeError(f"{name} must be a number; given {brief(value)}").named(
            type(owner).__name__
        )
    if not max(least, -sys.float_info.max) <= number <= sys.float_info.max:
        allowed = "a finite number" + (f" of at least {least:g}" if math.isfinite(least) else "")
        raise ArgumentError(f"{name} must be {allowed}; given {brief(value)}").named(
            type(owner).__name__
        )
    return number


def as_keras(words: str, owner: object, message: str) -> ArgumentError:
    """Return an error that begins with the words of Keras, whose users search for them."""
    words = " ".join(words.split())  # they may hold what was given
    words = words if len(words) <= 300 else f"{words[:200]}..."
    return ArgumentError(f"{words} {type(owner).__name__}: {message}").named("")


def plain(value: Any) -> Any:
    """Return an array or number as JSON can hold it; `restored` is the inverse.

    Arrays become what Keras makes of them, complex numbers what Python writes.
    """
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if not isinstance(value, np.ndarray):
        value = as_number(value)
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, PLAIN):
        return value
    array = as_array(value)
    config = {"value": plain(array.tolist()), "dtype": array.dtype.name}
    return {"class_name": "__numpy__", "config": config}


def restored(owner: str, name: str, value: Any) -> Any:
    """Return what `plain` made plain, or Keras, which has tensors too."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return complex(value)
    if isinstance(value, list):
        return [restored(owner, name, item) for item in value]
    if not isinstance(value, dict):
        return value
    config = value.get("config")
    if value.get("class_name") in ("__numpy__", "__tensor__") and isinstance(config, dict):
        with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
            array = restored(owner, name, config["value"])
            return np.array(array, as_dtype(config["dtype"], owner))
    raise ArgumentError(
        f"{name} must be a number, a list of them, or a dict as Keras writes arrays; "
        f"given {brief(value)}"
    ).named(owner)


def serialized(thing: Any) -> dict[str, Any]:
    """Return an initializer or a SeedGenerator as Keras 3 writes objects of other packages.

    Classes of Seedbed are registered under ``seedbed``; a class of the user is named by its module.
    """
    kind = type(thing)
    module, name = kind.__module__, kind.__name__
    ours = module.split(".")[0] == "seedbed"
    return {
        "module": "seedbed.initializers" if ours else module,
        "class_name": name,
        "config": thing.get_config(),
        "registered_name": f"seedbed>{name}" if ours else f"{module}>{name}",
    }


def _each(values: Any) -> Any:
    """Return nested sequences with NumPy's arrays in the place of other libraries'."""
    if isinstance(values, (list, tuple)):
        return [_each(value) for value in values]
    return values if isinstance(values, PLAIN) else _on_host(values)


def _on_host(value: Any) -> Any:
    """Return a tensor, a GPU array, or what NumPy reads as an array, as an array of NumPy."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value
    inner = getattr(value, "value", None)  # a variable of Keras, whatever its backend
    if hasattr(inner, "detach"):
        value = inner
    if hasattr(value, "detach"):  # a tensor of PyTorch
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        dtype = as_dtype(tensor.dtype)
        if dtype.kind != "V" and not dtype.name.startswith(("bfloat16", "float8")):
            return tensor.numpy()
        bits = getattr(sys.modules["torch"], f"int{8 * dtype.itemsize}")
        return tensor.view(bits).numpy().view(dtype)
    if hasattr(value, "__cuda_array_interface__") and hasattr(value, "get"):  # of CuPy
        return value.get()
    try:
        return np.asarray(value)
    except Exception:  # a bfloat16 scalar of TensorFlow
        if not hasattr(value, "numpy"):
            raise
        return value.numpy()
