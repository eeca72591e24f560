"""Arrays on a GPU, of the driver's memory as Seedbed's own are, or of Numba's CUDA simulator."""

from typing import Any

import numpy as np

from seedbed_kernels import driver_cuda


def to_gpu(values: np.ndarray) -> Any:
    """Return a one-dimensional array on the first GPU."""
    gpu = driver_cuda.host()
    with gpu.gpus[0]:
        return gpu.to_device(values, stream=gpu.legacy_default_stream())


def to_host(array: Any) -> np.ndarray:
    """Return the values of an array on the first GPU, once all work is done."""
    gpu = driver_cuda.host()
    values = np.empty(array.size, array.dtype)
    with gpu.gpus[0]:
        stream = gpu.legacy_default_stream()
        array.copy_to_host(values, stream)
        stream.synchronize()
    return values
