"""Arrays that begin with a cache line."""

import math
from typing import Any

import numpy as np

LINE = 64  # bytes


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of any values that begins with a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)
