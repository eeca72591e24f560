"""How elements are numbered: tiles, the lanes of a tile, and the slots of a lane.

A tile is 32 lanes of four random words. A value takes one word, in float64 two, so a lane has four
slots for values or two; slot k of the tile's lanes is 32 elements that follow each other.
"""

from typing import Any, NamedTuple

import numpy as np

LANES = 32  # of a tile
WORDS = 4  # of a lane
FIRST_KEYED_STREAM = 2**31  # and one more for each group of columns: dense tables end before


def precision(dtype: np.dtype) -> Any:
    """Return what values of a dtype are computed in: np.float32 or np.float64."""
    return np.float64 if dtype == np.float64 else np.float32


def slots(real: Any) -> int:
    """Return how many values a lane has in a precision."""
    return WORDS // 2 if real is np.float64 else WORDS


def tile_values(real: Any) -> int:
    """Return how many values a tile has in a precision."""
    return LANES * slots(real)


def position(element: int, real: Any) -> tuple[int, int]:
    """Return the tile of an element and its number there.

    Element numbers may need more than 64 bits; tiles never do. Numbers of elements between two
    elements are split in the same way, also negative ones.
    """
    return divmod(element, tile_values(real))


class Place(NamedTuple):
    """Where the elements that a kernel fills stand in the full table, and in the output.

    A row of the output is a row of the table, or what a window leaves of it: runs of elements that
    follow each other in the table. Numbers of elements are split as by `position`. All are int64;
    the lengths and strides of the axes over a row's runs follow behind.
    """

    tile: int  # the first element of row 0's first run
    offset: int
    run: int  # elements in a run
    runs: int  # in a row
    row_tiles: int  # from one row of the table to the next
    row_offset: int
    ids: int  # address of the numbers of the rows, as uint64; 0: they are start, start + step, …
    start: int
    step: int
    stride: int  # elements of the output from one row to the next
    axes: int  # over the runs of a row: for each a length, and a stride in tiles and elements


class KeyedPlace(NamedTuple):
    """Which rows of keys a kernel fills, and where they stand in the output; all are int64."""

    keys: int  # address, of uint64
    column: int  # the first
    width: int  # columns of a row of the output
    stride: int  # elements of the output from one row to the next
