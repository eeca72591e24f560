"""Rows in the memory of a CUDA GPU that are set to one value, or copied: nothing is drawn for them.

They lie at one distance from each other; what is between stays as it is.
"""

from typing import Any

import numpy as np

from . import kernels_cuda, launch_cuda
from .driver_cuda import LEGACY_STREAM
from .launch_cuda import WARPS, Launch, block_count
from .layout import LANES


def _set_kernel(word: str) -> Any:
    return launch_cuda.kernel(kernels_cuda.set_rows, word)


def _copy_kernel(word: str) -> Any:
    return launch_cuda.kernel(kernels_cuda.copy_rows, word)


def set_rows(
    out: Any,
    rows: int,
    width: int,
    stride: int,
    values: tuple[Any, Any],
    outside: tuple[Any, int] | None = None,
    stream: Any = LEGACY_STREAM,
    launch: Launch | None = None,
) -> None:
    """Fill rows with one value, or with two by turns (the halves of a complex128).

    Parameters
    ----------
    out : 1-D contiguous device array, written
        uint8, uint16, uint32 or uint64: all memory from the first row to the end of the last.
    rows, width, stride : int
        How many there are, their elements, and the elements from one to the next.
    values : two scalars of the dtype of `out`
        For the even and the odd places of a row.
    outside : 1-D contiguous device array of uint64, and int; optional
        The rows' numbers and a limit below 2**64: only those from it on are filled.
    stream, launch
        As the classes of `fills_cuda` take them.
    """
    if rows and width:
        ids, limit = outside or (out[:0].view(np.uint64), 0)
        sizes = [np.uint64(number) for number in (limit, rows, width, stride)]
        blocks, warps = launch or (block_count(-(-rows // WARPS)), WARPS)
        _set_kernel(out.dtype.name)[blocks, warps * LANES, stream](out, ids, *sizes, *values)


def copy_rows(
    out: Any,
    values: Any,
    rows: int,
    width: int,
    stride: int,
    stream: Any = LEGACY_STREAM,
    launch: Launch | None = None,
) -> None:
    """Fill rows with values that follow each other.

    Parameters
    ----------
    out, rows, width, stride, stream, launch
        As `set_rows` takes them.
    values : 1-D contiguous device array of the dtype of `out`
    """
    if rows and width:
        sizes = [np.uint64(number) for number in (rows, width, stride)]
        blocks, warps = launch or (block_count(-(-rows // WARPS)), WARPS)
        _copy_kernel(out.dtype.name)[blocks, warps * LANES, stream](out, values, *sizes)
