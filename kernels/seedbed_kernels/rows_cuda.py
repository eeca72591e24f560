"""Rows in the memory of a CUDA GPU that are set to one value, or copied: nothing is drawn for them.

They lie at one distance from each other; what is between stays as it is. A warp does a row.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import cubins_cuda
from .cuda_shim import cuda
from .fills_cuda import Launch, block_count
from .layout import LANES
from .redraws_cuda import WARPS


def make_set_kernel() -> Callable[..., None]:
    """Return the Python function of the kernel of `set_rows`."""

    def kernel(out, ids, limit, rows, width, stride, even, odd):
        row, step = np.uint64(cuda.grid(1) // LANES), np.uint64(cuda.gridsize(1) // LANES)
        while row < rows:
            number = limit
            if ids.size:
                number = ids[row]
            if number >= limit:
                column = np.uint64(cuda.laneid)
                while column < width:
                    out[row * stride + column] = odd if column & np.uint64(1) else even
                    column += np.uint64(LANES)
            row += step

    return kernel


def make_copy_kernel() -> Callable[..., None]:
    """Return the Python function of the kernel of `copy_rows`."""

    def kernel(out, values, rows, width, stride):
        row, step = np.uint64(cuda.grid(1) // LANES), np.uint64(cuda.gridsize(1) // LANES)
        while row < rows:
            column = np.uint64(cuda.laneid)
            while column < width:
                out[row * stride + column] = values[row * width + column]
                column += np.uint64(LANES)
            row += step

    return kernel


@functools.cache
def _set_kernel() -> Any:
    return cubins_cuda.compiled("set-rows", make_set_kernel())


@functools.cache
def _copy_kernel() -> Any:
    return cubins_cuda.compiled("copy-rows", make_copy_kernel())


def set_rows(
    out: Any,
    rows: int,
    width: int,
    stride: int,
    values: tuple[Any, Any],
    outside: tuple[Any, int] | None = None,
    stream: Any = 0,
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
        _set_kernel()[blocks, warps * LANES, stream](out, ids, *sizes, *values)


def copy_rows(
    out: Any,
    values: Any,
    rows: int,
    width: int,
    stride: int,
    stream: Any = 0,
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
        _copy_kernel()[blocks, warps * LANES, stream](out, values, *sizes)
