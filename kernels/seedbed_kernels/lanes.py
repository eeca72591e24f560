"""Where rows are among the tiles, for CPU and CUDA alike."""

import functools
from typing import Any

import numpy as np

from .compiling import scalar
from .layout import tile_values


@scalar
def row_number(start, step, row):
    """Return the number (uint64) of row `row` of start, start + step, …; step may be negative."""
    return np.uint64(start) + np.uint64(row) * np.uint64(step)


@functools.cache
def row_position(real: Any) -> Any:
    """Return a scalar ``(number, row_tiles, row_offset)``: the tile and offset of a row's start.

    Parameters
    ----------
    real : np.float32 or np.float64
        The precision computed in.
    """
    size = np.uint64(tile_values(real))

    @scalar
    def position(number, row_tiles, row_offset):
        # number * row_offset might not fit in 64 bits.
        far, near = number // size, number % size
        tile = number * np.uint64(row_tiles) + far * np.uint64(row_offset)
        return tile, np.int64(near) * row_offset

    return position
