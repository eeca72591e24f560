"""Drawing tiles on the CPU: the kernel of `fills_cpu.Filler`, for a sampler and a dtype at a time.

What is asked for are runs of elements that follow each other in the full table, one or several of a
row. Whole tiles are drawn straight into the output, many at a time; of others the half or the whole
is drawn, as much as the run touches. Where values may be rejected, all are drawn in a block that
stays in the cache, and finished and stored once none is left to be drawn again.
"""

# Numba drops the branches that a sampler never takes.
# pyright: reportPossiblyUnboundVariable=false

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.np import numpy_support

from . import draws, lanes
from .compiling import align_stack, inlined
from .intrinsics_cpu import (
    CACHE_LINE,
    SCAN,
    copy_row,
    moved,
    numbers_at,
    prefetch,
    section,
    stack_array,
    view,
    words_at,
)
from .layout import LANES, Place, precision, slots, tile_values
from .redraws_cpu import make_redraw
from .samplers import REJECTING

BLOCK_TILES = 16
HALF_LANES = LANES // 2
FIELDS = len(Place._fields)
PIECE = 4  # numbers that say where a piece of a block belongs
ZERO, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)


@inlined
def unfinished(value, sampler):
    """Return a base value as it is."""
    return value


def make_store(count: int, step: int, last: Any) -> Any:
    """Return a function that stores 1, 2 or 4 base values `step` apart, each as `last` makes it."""
    step = np.uint64(step)  # pyright: ignore[reportAssignmentType]

    @inlined
    def one(block, index, values, sampler):
        block[np.uint64(index)] = last(values[0], sampler)

    @inlined
    def two(block, index, values, sampler):
        block[np.uint64(index)] = last(values[0], sampler)
        block[np.uint64(index) + step] = last(values[1], sampler)

    @inlined
    def four(block, index, values, sampler):
        two(block, index, values[:2], sampler)
        two(block, np.uint64(index) + step + step, values[2:], sampler)

    return {1: one, 2: two, 4: four}[count]


def make_kernel(kind: type, dtype: np.dtype, by_halves: bool) -> tuple[Callable[..., None], Any]:
    """Return the kernel that `fills_cpu.Filler` or `RowFiller` calls, and its signature.

    Parameters
    ----------
    kind : type
        Of the sampler.
    dtype : numpy.dtype
        Of what is stored.
    by_halves : bool
        Where runs are short, no more of a tile is drawn than the half they touch, or than 16 lanes
        of it.
    """
    real = precision(dtype)
    stored, computed = numpy_support.from_dtype(dtype), numpy_support.from_dtype(np.dtype(real))
    tile, row_position = tile_values(real), lanes.row_position(real)
    half = tile // 2
    size = BLOCK_TILES * tile
    rejecting = kind in REJECTING
    finished = draws.finished(kind, dtype.name)
    last = unfinished if rejecting else finished
    lane_values, half_values = draws.lane_values(kind, real), draws.half_values(kind, real)
    store_lane = make_store(slots(real), LANES, last)
    store_half = make_store(slots(real) // 2, LANES, last)
    fields = len(kind._fields)  # pyright: ignore[reportAttributeAccessIssue]
    line = CACHE_LINE // dtype.itemsize
    half_slots = np.uint64(slots(real) // 2)

    one_tile = stack_array(tile, stored)
    base_values = stack_array(size, computed)
    half_numbers = stack_array(size // half, types.uint64)
    piece_numbers = stack_array(size // half * PIECE, types.int64)

    @inlined
    def draw_tiles(block, first, key, sampler, out):
        """Fill a block with whole tiles from number `first`; they are to be stored in `out`."""
        lane = first * np.uint64(LANES)
        for start in range(0, block.size, tile):
            if rejecting:  # or else the stores, all at the end, wait for memory
                for i in range(start, start + tile, line):
                    prefetch(out, i)
            part = block[start : start + tile]
            for j in range(HALF_LANES):  # two lanes: four vectors of AVX-512 are under way
                near, far = lane + np.uint64(j), lane + np.uint64(j + HALF_LANES)
                store_lane(part, j, lane_values(sampler, near, ZERO, key), sampler)
                store_lane(part, j + HALF_LANES, lane_values(sampler, far, ZERO, key), sampler)
            lane += np.uint64(LANES)

    @inlined
    def draw_half(block, number, odd, key, sampler):
        """Fill a block with the first half of a tile, or the second if `odd`."""
        lane = number * np.uint64(LANES)
        for j in range(HALF_LANES):
            near, far = lane + np.uint64(j), lane + np.uint64(j + HALF_LANES)
            store_half(block, j, half_values(sampler, odd, near, ZERO, key), sampler)
            at = j + HALF_LANES
            store_half(block, at, half_values(sampler, odd, far, ZERO, key), sampler)

    @inlined
    def draw_quarter(block, number, odd, start, key, sampler):
        """Fill a block with half a tile, but only of 16 lanes."""
        lane = number * np.uint64(LANES) + np.uint64(start)
        part = section(block, start, half - start)
        for j in range(HALF_LANES):
            values = half_values(sampler, odd, lane + np.uint64(j), ZERO, key)
            store_half(part, j, values, sampler)

    @inlined
    def located(place, axes, row, run):
        """Return the tile of a run's first element, and how far from the tile's it is."""
        number = lanes.row_number(place.start, place.step, row)
        if place.ids:
            number = words_at(place.ids)[row]
        first, offset = row_position(number, place.row_tiles, place.row_offset)
        for axis in range(3 * (place.axes - 1), -1, -3):
            run, index = divmod(run, axes[axis])
            first += np.uint64(index * axes[axis + 1])
            offset += index * axes[axis + 2]
        return first + np.uint64(place.tile), offset + place.offset

    @inlined
    def chosen(offset, left, room):
        """Return how many values to draw from an offset in a tile, and which of them are wanted.

        That is: the values drawn, half a tile or whole tiles; how many of them come before those
        wanted; and how many these are.
        """
        if offset == 0 and left >= tile:
            whole = min(left, room) // tile * tile
            return whole, 0, whole
        wanted = min(tile - offset, left)
        if by_halves and offset >= half:
            return half, offset - half, wanted
        return half if by_halves and offset + wanted <= half else tile, offset, wanted

    @inlined
    def half_at(numbers, index, key):
        """Return slot, lane and stream of a value of a block of halves of tiles."""
        number, index = numbers[index // np.uint64(half)], index % np.uint64(half)
        slot = (number & ONE) * half_slots + index // np.uint64(LANES)
        return slot, (number >> ONE) * np.uint64(LANES) + index % np.uint64(LANES), key[2]

    redraw: Any = make_redraw(kind, real, size, half_at) if rejecting else None

    @inlined
    def remember(out, at, numbers, pieces, used, drawn, skip, wanted, first, odd):
        """Note what is drawn into a block: its halves of tiles, and where values belong."""
        halves = drawn // half
        own_numbers = section(numbers, used // half, halves)
        for i in range(halves):
            own_numbers[i] = first * TWO + odd + np.uint64(i)
        piece = section(pieces, used // half * PIECE, PIECE)
        piece[0], piece[1], piece[2], piece[3] = at, used + skip, wanted, halves

    @inlined
    def accept(base, used, lower):
        """Fill up a block to a multiple of 64 values that are not rejected; return its size."""
        size = (used + SCAN - 1) // SCAN * SCAN
        for i in range(used, size):
            base[np.uint64(i)] = lower
        return size

    @inlined
    def store_pieces(out, base, used, pieces, sampler):
        """Finish the values of a block that are wanted, and store them."""
        number = 0
        while number < used // half:
            piece = section(pieces, number * PIECE, PIECE)
            target, values = view(out, piece[0], piece[2]), section(base, piece[1], piece[2])
            for i in range(target.size):
                target[i] = finished(values[i], sampler)
            number += piece[3]

    # What draws is called here and nowhere else: LLVM optimises it at every level of the calls.
    def fill(out, begin, end, place_numbers, key, sampler):
        align_stack()
        sampler = kind(*numbers_at(sampler, fields))
        place = Place(*numbers_at(place_numbers, FIELDS))
        axes = moved(place_numbers, FIELDS)
        key = key[0], key[1], key[2]
        row, within = divmod(begin, place.run * place.runs)
        run, column = divmod(within, place.run)
        first, offset, left, at, used = ZERO, 0, 0, 0, 0
        if rejecting:
            base, numbers, pieces = base_values(), half_numbers(), piece_numbers()
        else:
            base = one_tile()
        while begin < end:
            if left == 0:  # on to the next run
                first, offset = located(place, axes, row, run)
                offset += column
                at = row * place.stride + run * place.run + column
                left = min(place.run - column, end - begin)
                column = 0
                run += 1
                if run == place.runs:
                    run = 0
                    row += 1
            first += np.uint64(offset // tile)
            offset %= tile
            drawn, skip, wanted = chosen(offset, left, size - used)
            if rejecting:
                block = section(base, used, drawn)
            else:
                direct = drawn == wanted
                block = view(out, at, drawn) if direct else section(base, 0, drawn)
            odd, lane = ZERO, skip % LANES
            if not by_halves or drawn != half:
                draw_tiles(block, first, key, sampler, moved(out, at - skip))
            else:
                odd, lanes = np.uint64(offset >= half), lane // HALF_LANES * HALF_LANES
                if lane + wanted <= lanes + HALF_LANES:
                    draw_quarter(block, first, odd, lanes, key, sampler)
                else:
                    draw_half(block, first, odd, key, sampler)
            begin += wanted
            left -= wanted
            offset += wanted
            if rejecting:
                remember(out, at, numbers, pieces, used, drawn, skip, wanted, first, odd)
                used += drawn
                if size - used < tile or begin == end:
                    padded = accept(base, used, sampler.lower)
                    redraw(section(base, 0, padded), numbers, key, sampler)
                    store_pieces(out, base, used, pieces, sampler)
                    used = 0
            elif not direct:
                copy_row(moved(out, at), base, skip, wanted)
            at += wanted

    signature = types.void(
        types.CPointer(stored),
        types.int64,
        types.int64,
        types.CPointer(types.int64),
        types.CPointer(types.uint64),
        types.CPointer(computed),
    )
    return fill, signature
