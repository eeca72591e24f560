"""Arrays of other libraries on NVIDIA GPUs: found out about, and taken over without a copy."""

import math
import sys
from typing import Any

import numpy as np

from seedbed_kernels import driver_cuda
from seedbed_kernels.driver_cuda import LEGACY_STREAM

from ..errors import ArgumentError, ArgumentTypeError, brief, is_one_of
from ..values.selection import row_distance
from . import dlpack
from .array import DeviceArray
from .driver import check, device_number, on_device, ready, stream_of
from .ids import DeviceIds
from .memory import Bytes
from .rows import DeviceRows

_STREAM_IS_MINE = -1  # DLPack: do not wait


def target(
    out: Any, device: str | None, shape: tuple[int, ...], dtype: np.dtype, outer: int = 0
) -> DeviceArray:
    """Return an array on a GPU to be filled: `out`, if it can be.

    Its first `outer` axes are one axis of rows, which may lie apart.

    Raises
    ------
    ArgumentError, ArgumentTypeError, DeviceError
        If `out` is not such an array, or there is no such GPU.
    """
    if isinstance(out, np.ndarray):
        device_number(device)
        raise ArgumentError(f"device is {brief(device)} but out is a NumPy array")
    array = out if isinstance(out, DeviceArray) else adopt(out, outer=outer)
    if array.shape != shape:
        raise ArgumentError(f"out must have shape {shape}; given {array.shape}")
    if array.dtype != dtype:
        raise ArgumentError(f"out must have dtype {dtype.name}; given {array.dtype.name}")
    if device is not None and (
        is_one_of(("cpu",), device) or device_number(device, array.device) != array.device
    ):
        raise ArgumentError(f"device is {brief(device)} but out is on {array.name!r}")
    return array


def row_ids(values: Any, name: str, count: int | None = None) -> DeviceIds:
    """Return numbers of a table's rows, of which it has `count`, or keys, that are on a GPU."""
    array = values if isinstance(values, DeviceArray) else adopt(values, name, writable=False)
    return DeviceIds(array, name, count)


def adopt(out: Any, name: str = "out", writable: bool = True, outer: int = 0) -> DeviceArray:
    """Return another library's array on a GPU, the same memory, as a `DeviceArray`.

    It says where its memory is by DLPack, else by `__cuda_array_interface__`. Its CUDA stream is
    the one that the interface names; of a tensor of PyTorch, PyTorch's current one. Where there is
    none, `settle` waits for the work to be done.

    Parameters
    ----------
    out : array on a GPU
    name : str
        Of the argument, for errors.
    writable : bool
        Whether it must be writable.
    outer : int
        How many of the first axes count rows, which may lie at one distance from each other.
    """
    immutable = isinstance(out, getattr(sys.modules.get("jax"), "Array", ()))
    if writable and immutable:
        raise ArgumentError(
            f"{name} must be writable; given a jax.Array, which never is: take seedbed.jax.array"
        )
    interface = _interface(out, name)
    kind = out.__dlpack_device__()[0] if hasattr(out, "__dlpack_device__") else None
    if kind not in (dlpack.CUDA, dlpack.CUDA_MANAGED) and (kind is not None or interface is None):
        raise ArgumentTypeError(
            f"{name} must be a NumPy array, or an array on a GPU with __cuda_array_interface__ or "
            f"__dlpack__; given {type(out).__name__}"
        )
    gpu = ready()
    handle = (interface and interface.get("stream")) or _current_stream(out)
    if kind is None:
        assert interface is not None
        capsule, tensor = None, _described(interface, _where(interface, gpu, name), name)
    else:
        with on_device(gpu, out.__dlpack_device__()[1]):  # PyTorch exports from no other
            capsule = _capsule(out, LEGACY_STREAM if handle is None else _STREAM_IS_MINE)
        tensor = dlpack.read(capsule)
    if writable and (tensor.read_only or (interface and interface["data"][1])):
        raise ArgumentError(f"{name} must be writable; given a read-only array")
    row = math.prod(tensor.shape[outer:])
    distance = row if tensor.strides is None else row_distance(tensor.shape, tensor.strides, outer)
    if distance is None or distance < 0:
        rows = ", or rows of such at one distance, in order and without overlap" if outer else ""
        raise ArgumentError(f"{name} must be C-contiguous{rows}; given strides {tensor.strides}")
    number, elements = tensor.device[1], math.prod(tensor.shape)
    if distance != row:
        elements = (math.prod(tensor.shape[:outer]) - 1) * distance + row
    together = min(tensor.dtype.itemsize, 8)  # that a kernel stores
    if elements and tensor.pointer % together:
        raise ArgumentError(
            f"{name} must be aligned to {together} bytes; given address {tensor.pointer:#x}"
        )
    check(gpu, number)
    with on_device(gpu, number):
        nbytes = elements * tensor.dtype.itemsize
        data = gpu.as_cuda_array(Bytes(tensor.pointer, nbytes, (out, capsule)), sync=False)
        stream = stream_of(gpu, handle or LEGACY_STREAM)
    described = data, tensor.shape, tensor.dtype, number, stream
    array = DeviceArray(*described) if distance == row else DeviceRows(*described, outer, distance)
    array.settled, array.immutable = handle is not None, immutable
    return array


def at(
    pointer: int, shape: tuple[int, ...], dtype: np.dtype, device: int, keep_alive: Any
) -> DeviceArray:
    """Return the memory at an address of a GPU as an array, on the legacy default stream.

    Raises
    ------
    DeviceError
        If GPUs cannot be used here.
    """
    gpu = ready()
    check(gpu, device)
    with on_device(gpu, device):
        memory = Bytes(pointer, math.prod(shape) * dtype.itemsize, keep_alive)
        data, stream = gpu.as_cuda_array(memory, sync=False), stream_of(gpu, LEGACY_STREAM)
        return DeviceArray(data, shape, dtype, device, stream)


def _current_stream(out: Any) -> int | None:
    """Return PyTorch's current stream on the GPU of a tensor, which the tensor does not tell."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(out, torch.Tensor):
        return None
    return torch.cuda.current_stream(out.device).cuda_stream or LEGACY_STREAM


def _interface(out: Any, name: str) -> Any:
    """Return an array's CUDA array interface, if it has one; PyTorch denies it to some tensors."""
    if getattr(out, "requires_grad", False) is True:
        raise ArgumentError(f"{name} must not require a gradient; give {name}.detach()")
    if getattr(out, "is_neg", bool)():  # PyTorch hands over its memory all the same
        raise ArgumentError(f"{name} must not be a negated view; give {name}.resolve_neg()")
    try:
        found = getattr(out, "__cuda_array_interface__", None)
        if found and found.get("mask") is not None:
            raise ArgumentError(f"{name} must not be masked; given {type(out).__name__}")
        return found
    except KeyError:  # a dtype without a name there: float8
        raise ArgumentError(
            f"{name} must be of a dtype that interfaces of arrays have; given {out.dtype}: take "
            "seedbed.torch.fill_"
        ) from None


def _capsule(out: Any, stream: int) -> Any:
    try:
        return out.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # a producer from before DLPack 1.0
        return out.__dlpack__(stream=stream)


def _described(interface: dict[str, Any], device: int, name: str) -> dlpack.Tensor:
    """Return what a CUDA array interface says; it does not say which GPU."""
    dtype = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None:
        if any(step % dtype.itemsize for step in strides):
            raise ArgumentError(
                f"{name} must have strides of whole elements; given {strides} bytes, "
                f"{dtype.itemsize} an element"
            )
        strides = tuple(step // dtype.itemsize for step in strides)
    pointer, read_only = interface["data"]
    shape = tuple(interface["shape"])
    return dlpack.Tensor(pointer, shape, strides, dtype, (dlpack.CUDA, device), read_only)


def _where(interface: dict[str, Any], gpu: Any, name: str) -> int:
    """Return the number of the GPU an array is on; of one without memory, of the current one."""
    pointer = interface["data"][0]
    if not pointer:
        return gpu.get_current_device().id
    number = driver_cuda.device_of(pointer)
    if number is None:
        raise ArgumentError(
            f"{name} must be in the memory of a GPU; given an address unknown to CUDA: {pointer:#x}"
        )
    return number
