"""Arrays on a GPU, in the driver's memory as Seedbed's own are."""

import numpy as np

from seedbed_kernels import driver_cuda


def to_gpu(values: np.ndarray) -> driver_cuda.Memory:
    """Return a one-dimensional array on the first GPU."""
    with driver_cuda.gpus[0]:
        return driver_cuda.to_device(values, driver_cuda.legacy_default_stream())


def to_host(array: driver_cuda.Memory) -> np.ndarray:
    """Return the values of an array on the first GPU, once all work is done."""
    values = np.empty(array.size, array.dtype)
    with driver_cuda.gpus[0]:
        stream = driver_cuda.legacy_default_stream()
        array.copy_to_host(values, stream)
        stream.synchronize()
    return values
