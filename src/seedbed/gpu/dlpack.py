"""DLPack: arrays handed from library to library without a copy.

The protocol is dmlc's DLPack 1.0: https://dmlc.github.io/dlpack/latest/. Capsules made here are of
its first form, which every consumer takes; both forms are read.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np

from ..values.dtypes import as_dtype

CPU, CUDA, CUDA_MANAGED = 1, 2, 13  # types of device

# Codes of the types whose width does not tell them apart, and those that it does.
_CODES = {
    "bfloat16": 4,
    "bool": 6,
    "float8_e4m3fn": 10,
    "float8_e5m2": 12,
}
_KINDS = {"i": 0, "u": 1, "f": 2, "c": 5}
_NAMES = {code: name for name, code in _CODES.items()}
_NAMES_BY_WIDTH = {0: "int", 1: "uint", 2: "float", 5: "complex"}
_READ_ONLY = 1


class Tensor(NamedTuple):
    """What a capsule says of an array: strides are in elements, None for C order."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype
    device: tuple[int, int]
    read_only: bool


class _DLDevice(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DLDataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _DLDevice),
        ("ndim", ctypes.c_int32),
        ("dtype", _DLDataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # consumers call it from any thread
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)  # Python calls it, with the GIL


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    )


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of Python's C interface; a prototype of its own leaves others' alone."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_new = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)
_name = _python("PyCapsule_GetName", ctypes.c_char_p, ctypes.py_object)
_pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
# For a capsule that is being destroyed, which must not be counted as referred to.
_dying_is = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_dying_pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)

_UNUSED = b"dltensor"  # consumers rename a capsule that they take over
_VERSIONED = b"dltensor_versioned"
_exported: dict[int, Any] = {}  # what consumers still hold, by the address of its description


@_Deleter
def _release(address: int) -> None:
    _exported.pop(address, None)


@_Destructor
def _release_unused(capsule: int) -> None:
    if _dying_is(capsule, _UNUSED):
        _release(_dying_pointer(capsule, _UNUSED))


# Consumers may let go after Python has torn this module down.
for _callback in (_release, _release_unused):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))


def export(
    pointer: int, shape: tuple[int, ...], dtype: np.dtype, device: tuple[int, int], owner: Any
) -> Any:
    """Return a capsule for a C-contiguous array.

    Parameters
    ----------
    pointer : int
        Address of the first element.
    shape : tuple of int
    dtype : numpy.dtype
    device : tuple of two int
        Type of device, and its number.
    owner : object
        Kept alive for as long as a consumer has the array.

    Examples
    --------
    >>> values = np.arange(6, dtype=np.float32)
    >>> capsule = export(values.ctypes.data, (2, 3), values.dtype, (CPU, 0), values)
    >>> read(capsule).shape
    (2, 3)
    """
    code = _CODES.get(dtype.name)
    if code is None:
        code = _KINDS[dtype.kind]
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    steps = (ctypes.c_int64 * len(shape))()
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        steps[axis] = step
        step *= shape[axis]
    managed = _Managed()
    managed.tensor = _DLTensor(
        pointer,
        _DLDevice(*device),
        len(shape),
        _DLDataType(code, 8 * dtype.itemsize, 1),
        sizes,
        steps,
        0,
    )
    managed.deleter = _release
    address = ctypes.addressof(managed)
    _exported[address] = managed, sizes, steps, owner
    return _new(address, _UNUSED, _release_unused)


def read(capsule: Any) -> Tensor:
    """Return what a capsule, which must be kept meanwhile, says of its array.

    Raises
    ------
    TypeError
        If the object is not a fresh capsule, or its elements are of a type unknown here.

    Examples
    --------
    >>> read(np.zeros((2, 3), np.int16).__dlpack__()).dtype
    dtype('int16')
    """
    try:
        name = _name(capsule)
        versioned = name == _VERSIONED
        address = _pointer(capsule, _VERSIONED if versioned else _UNUSED)
    except ValueError:
        raise TypeError(f"not a DLPack capsule that can be read: {capsule!r}") from None
    managed = (_ManagedVersioned if versioned else _Managed).from_address(address)
    tensor = managed.tensor
    kind, axes = tensor.dtype, tensor.ndim
    if kind.lanes != 1:
        raise TypeError(f"no dtype for DLPack elements of {kind.lanes} lanes")
    try:
        name = _NAMES.get(kind.code) or f"{_NAMES_BY_WIDTH[kind.code]}{kind.bits}"
        dtype = as_dtype(name)
    except (KeyError, ValueError):
        raise TypeError(f"no dtype for DLPack code {kind.code} with {kind.bits} bits") from None
    return Tensor(
        (tensor.data or 0) + tensor.byte_offset,
        tuple(tensor.shape[:axes]),
        tuple(tensor.strides[:axes]) if tensor.strides else None,
        dtype,
        (tensor.device.type, tensor.device.id),
        versioned and bool(managed.flags & _READ_ONLY),
    )
