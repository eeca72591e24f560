"""How CUDA kernels are launched: their machine code is loaded once for each GPU that takes part."""

import ctypes
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import cubins_cuda, driver_cuda
from .cubins_cuda import Capability, Described
from .locks import Lock

WARPS = 8  # most in a block
BLOCKS = 24  # most for each multiprocessor: 2, 3, 4 or 6 are there at a time
FEWEST = 128  # blocks, as far as there may be so many

Launch = tuple[int, int]  # blocks, and warps in each

_NUMBERS: dict[type, Any] = {
    np.uint8: ctypes.c_uint8,
    np.uint16: ctypes.c_uint16,
    np.uint32: ctypes.c_uint32,
    np.uint64: ctypes.c_uint64,
    np.int64: ctypes.c_int64,
    np.float32: ctypes.c_float,
    np.float64: ctypes.c_double,
}


def block_count(useful: int) -> int:
    """Return how many blocks to launch where so many would have work."""
    most = BLOCKS * driver_cuda.get_current_device().MULTIPROCESSOR_COUNT
    return min(max(useful, FEWEST), most)


@functools.cache
def kernel(describe: Callable[..., Described], *arguments: Any) -> Any:
    """Return a kernel, by a function of arguments and a compute capability that describes it.

    ``kernel[blocks, threads, stream](*arguments)`` queues it on a stream of the current GPU.
    """
    return Kernel(functools.partial(describe, *arguments))


class Kernel:
    """A kernel that is compiled, or read from the disk, when a GPU first needs it.

    Parameters
    ----------
    describe : callable
        Returns what is compiled for a compute capability.
    """

    def __init__(self, describe: Callable[[Capability], Described]) -> None:
        self.describe = describe
        self._functions: dict[int, Any] = {}  # by the number of the GPU
        self._lock = Lock()

    def __getitem__(self, configuration: tuple[int, int, Any]) -> Callable[..., None]:
        return functools.partial(self._launch, *configuration)

    def _launch(self, blocks: int, threads: int, stream: Any, *arguments: Any) -> None:
        device = driver_cuda.get_current_device()
        function = self._functions.get(device.id) or self._load(device)
        values, kinds = zip(*_parameters(arguments), strict=True)
        shape = blocks, 1, 1, threads, 1, 1
        driver_cuda.call("cuLaunchKernel", function, *shape, 0, int(stream), (values, kinds), 0)

    def _load(self, device: Any) -> Any:
        with self._lock:
            if device.id not in self._functions:
                capability = tuple(device.compute_capability)
                entry, cubin = cubins_cuda.load(self.describe(capability), capability)
                with driver_cuda.beside_captures():
                    module = driver_cuda.call("cuModuleLoadData", cubin)
                    function = driver_cuda.call("cuModuleGetFunction", module, entry)
                self._functions[device.id] = function
            return self._functions[device.id]


def _parameters(arguments: Any) -> Iterator[tuple[Any, Any]]:
    """Yield numbers, with their types in C, as Numba's kernels take arguments."""
    for each in arguments:
        if isinstance(each, tuple):
            yield from _parameters(each)
        elif isinstance(each, np.generic):
            yield each.item(), _NUMBERS[type(each)]
        else:  # an array: two pointers that are not used, size, itemsize, address, shape, stride
            size, itemsize, pointer = each.size, each.dtype.itemsize, address(each)
            for number in (0, 0, size, itemsize, pointer, size, itemsize):
                yield number, ctypes.c_uint64


def address(array: Any) -> int:
    """Return where an array's memory is."""
    return array.__cuda_array_interface__["data"][0]
