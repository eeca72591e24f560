"""What benchmarks ask of a GPU: its name, its free memory, and how long it works."""

from collections.abc import Callable
from typing import Any

from seedbed_kernels import driver_cuda
from seedbed_kernels.driver_cuda import LEGACY_STREAM


def name() -> str:
    """Return what the first GPU is called."""
    with driver_cuda.gpus[0]:
        told = driver_cuda.call("cuDeviceGetName", 100, driver_cuda.call("cuCtxGetDevice"))
    return told.partition(b"\0")[0].decode()


def memory() -> tuple[int, int]:
    """Return the bytes of the first GPU that are free, and all."""
    with driver_cuda.gpus[0]:
        free, total = driver_cuda.call("cuMemGetInfo")
    return int(free), int(total)


def synchronize() -> None:
    """Wait until the first GPU has done all that is queued on its default stream."""
    with driver_cuda.gpus[0]:
        driver_cuda.legacy_default_stream().synchronize()


def milliseconds(call: Callable[[], Any], calls: int = 1) -> float:
    """Return how long the first GPU works on calls: between events on its default stream."""
    with driver_cuda.gpus[0]:
        begin, end = (driver_cuda.call("cuEventCreate", 0) for _ in range(2))
        try:
            driver_cuda.call("cuEventRecord", begin, LEGACY_STREAM)
            for _ in range(calls):
                call()
            driver_cuda.call("cuEventRecord", end, LEGACY_STREAM)
            driver_cuda.call("cuEventSynchronize", end)
            return driver_cuda.call("cuEventElapsedTime", begin, end)
        finally:
            for event in (begin, end):
                driver_cuda.call("cuEventDestroy", event)
