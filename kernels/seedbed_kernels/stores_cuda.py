"""CUDA kernels that only store: nothing is drawn for them.

Rows lie at one distance from each other; what is between stays as it is. A warp does a row.
"""

from typing import Any

import numpy as np

from .cuda_shim import cuda
from .layout import LANES


def constant(out: Any, even: Any, odd: Any) -> None:
    """Store one value, or two by turns."""
    index, step = np.uint64(cuda.grid(1)), np.uint64(cuda.gridsize(1))
    size = np.uint64(out.size)
    while index < size:
        out[index] = odd if index & np.uint64(1) else even
        index += step


def set_rows(
    out: Any, ids: Any, limit: Any, rows: Any, width: Any, stride: Any, even: Any, odd: Any
) -> None:
    """Store one value, or two by turns, in all rows, or in those whose id is at least a limit."""
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


def copy_rows(out: Any, values: Any, rows: Any, width: Any, stride: Any) -> None:
    """Store rows that follow each other elsewhere."""
    row, step = np.uint64(cuda.grid(1) // LANES), np.uint64(cuda.gridsize(1) // LANES)
    while row < rows:
        column = np.uint64(cuda.laneid)
        while column < width:
            out[row * stride + column] = values[row * width + column]
            column += np.uint64(LANES)
        row += step
