"""Memory of the host: arrays that begin with a cache line, on huge pages where Linux has them."""

import ctypes
import functools
import math
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np

LINE = 64  # bytes
HUGE = 2**21  # bytes of a huge page


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of any values that begins with a cache line.

    One that fills huge pages begins with such a page: elsewhere its ends would lie on small ones,
    which of 4 MB is half, and cost more to map than to write.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    line = HUGE if size and size % HUGE == 0 else LINE
    memory = np.empty(size + line, np.uint8)  # what is not touched takes no memory
    start = -memory.ctypes.data % line
    return memory[start : start + size].view(dtype).reshape(shape)


def advise_huge_pages(array: np.ndarray) -> None:
    """Ask for huge pages below an array that is about to be written.

    What nobody has touched yet is then mapped by 2 MB at a time, which makes the first writing two
    to three times as fast; NumPy asks so for its own arrays of 4 MB. Elsewhere, and where
    ``NUMPY_MADVISE_HUGEPAGE=0`` says no, nothing happens.
    """
    advise = _madvise()
    if advise is not None:
        first, page = array.ctypes.data, mmap.PAGESIZE
        start, stop = -(-first // page) * page, (first + array.nbytes) // page * page
        if start < stop:
            advise(start, stop - start, mmap.MADV_HUGEPAGE)  # that it may fail is no matter


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if not hasattr(mmap, "MADV_HUGEPAGE") or os.environ.get("NUMPY_MADVISE_HUGEPAGE") == "0":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise
