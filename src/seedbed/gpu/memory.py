"""Memory of a GPU: of CuPy's pool where CuPy is installed, else of the driver."""

import functools
import importlib
import importlib.util
from typing import Any

import numpy as np


class Bytes:
    """Bytes on a GPU, for `as_cuda_array`; keeps alive what they belong to."""

    def __init__(self, pointer: int, nbytes: int, keep_alive: Any) -> None:
        self.keep_alive = keep_alive
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (pointer, False),
            "strides": None,
        }


@functools.cache
def cupy() -> Any:
    """Return CuPy, or None where it is not installed or cannot be imported."""
    if importlib.util.find_spec("cupy") is None:
        return None
    try:
        return importlib.import_module("cupy")
    except ImportError:  # of another release of CUDA
        return None


def allocate(gpu: Any, nbytes: int, device: int, stream: Any) -> Any:
    """Return new bytes, as `driver_cuda.Memory`, for work that is queued on a stream.

    Parameters
    ----------
    gpu : module
        From `ready`, with the GPU current.
    nbytes, device : int
    stream : CUDA stream
    """
    pool = cupy()
    if pool is not None:
        from seedbed_kernels import haar_cuda

        with gpu.beside_captures(), pool.cuda.Device(device), haar_cuda.on_stream(stream):
            memory = pool.cuda.alloc(nbytes)
        return gpu.as_cuda_array(Bytes(memory.ptr, nbytes, memory), sync=False)
    return gpu.device_array(nbytes, np.uint8)
