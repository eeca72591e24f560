"""Initializers as JSON: in states, in the metadata of files, in plans and on the command line.

A large array of constants is not there itself, only its SHA-256: who wants to compare or to resume
such a table gives the array again.
"""

import hashlib
import inspect
from typing import Any

import numpy as np

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, FormatError, SeedbedError, brief
from ..storage.foreign import mapping, naturals

LARGEST = 256  # elements of an array of constants that is written out
DIGEST = "__sha256__"  # in place of `__numpy__`, the class name that Keras gives to arrays


def configuration(init: initializers.Initializer) -> dict[str, Any]:
    """Return the configuration of an initializer; `restored` is the inverse."""
    if type(init) is initializers.Constant:
        values = np.asarray(init.value)
        if values.size > LARGEST:
            constant = initializers.serialize(initializers.Constant(0))
            return {**constant, "config": {"value": _digest(values)}}
    return initializers.serialize(init)


def _digest(values: np.ndarray) -> dict[str, Any]:
    """Return what stands for an array: of its elements, little-endian, in C order."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    config = {
        "sha256": hashlib.sha256(little.view(np.uint8).data).hexdigest(),
        "shape": list(values.shape),
        "dtype": values.dtype.name,
    }
    return {"class_name": DIGEST, "config": config}


def restored(found: Any) -> initializers.Initializer:
    """Return the initializer of a configuration from a file, in which anything may be.

    Raises
    ------
    FormatError
        If it is none, or one of an array that is not there.
    """
    found = mapping(found, "initializer")
    if absent_array(found):
        raise FormatError(absent_array(found))
    try:
        init = initializers.get(found)
    except SeedbedError:
        raise
    except Exception as error:  # a constructor may meet anything here
        raise FormatError(f"bad initializer: {str(error)[:200]}") from error
    if not isinstance(init, initializers.Initializer) or not init.seeded:
        raise FormatError(f"initializer without a seed: {brief(found)}")
    return init


def absent_array(found: Any) -> str:
    """Return what a configuration lacks, if it has a digest in place of an array; or nothing."""
    if not isinstance(found, dict) or not _has_digest(found):
        return ""
    return f"made from {words(found)}, which is not in the file"


def _has_digest(found: dict[str, Any]) -> bool:
    config = found.get("config")
    value = config.get("value") if isinstance(config, dict) else None
    return isinstance(value, dict) and value.get("class_name") == DIGEST


def words(found: Any) -> str:
    """Return a configuration as people read it."""
    found = mapping(found, "initializer")
    config = mapping(found.get("config") or {}, "config")
    if _has_digest(found):
        array = mapping(config["value"].get("config"), "config of the array")
        shape = " × ".join(f"{size:,}" for size in naturals(array.get("shape"), "its shape"))
        return f"an array of {shape} {array.get('dtype')} with SHA-256 {array.get('sha256')}"
    arguments = ", ".join(f"{name}={brief(value)}" for name, value in config.items())
    return f"{found.get('class_name')}({arguments})"


def initializer(
    name: Any, arguments: dict[str, Any], seed: int | None, default_seed: int | None = None
) -> Any:
    """Return an initializer from its name, its arguments and its seed, each checked.

    Parameters
    ----------
    name : str
        As `seedbed.initializers.get` takes.
    arguments : dict
        By name, all but the seed.
    seed : int, optional
        Only for an initializer that takes one.
    default_seed : int, optional
        For an initializer that takes a seed but is given none; a random one by default.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"initializer must be a name; given {brief(name)}")
    if "seed" in inspect.signature(type(initializers.get(name))).parameters:
        arguments = {**arguments, "seed": default_seed if seed is None else seed}
    elif seed is not None:
        raise ArgumentError(f"{name} takes no seed; given {brief(seed)}")
    return initializers.get({"class_name": name, "config": arguments})
