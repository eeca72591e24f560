"""Drawing tiles on the CPU: the kernel of `fills_cpu.Filler`, for a sampler and a dtype at a time.

What is asked for are runs of elements that follow each other in the full table, one or several of a
row. Whole tiles are drawn straight into the output, many at a time; of others the half or the whole
is drawn, as much as the run touches. Where values may be rejected, all are drawn in a block that
stays in the cache, and finished and stored once none is left to be drawn again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.np import numpy_support

from . import draws
from .compiling import align_stack, inlined
from .intrinsics_cpu import (
    CACHE_LINE,
    SCAN,
    moved,
    numbers_at,
    prefetch,
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
    step = np.uint64(step)

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


def make_kernel(kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    """Return the kernel that `fills_cpu.Filler` calls, and its signature.

    Parameters
    ----------
    kind : type
        Of the sampler.
    dtype : numpy.dtype
        Of what is stored.
    """
    real = precision(dtype)
    stored, computed = numpy_support.from_dtype(dtype), numpy_support.from_dtype(np.dtype(real))
    tile = tile_values(real)
    half = tile // 2
    size = BLOCK_TILES * tile
    rejecting = kind in REJECTING
    finished = draws.finished(dtype.name)
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
    def draw_tiles(block, first, key, sampler):
        """Fill a block with whole tiles from number `first`."""
        lane = first * np.uint64(LANES)
        for start in range(0, block.size, tile):
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
    def draw(block, first, odd, key, sampler):
        if block.size == half:
            draw_half(block, first, odd, key, sampler)
        else:
            draw_tiles(block, first, key, sampler)

    @inlined
    def located(place, axes, row, run):
        """Return the tile of a run's first element, and how far from the tile's it is."""
        number = np.uint64(place.start) + np.uint64(row) * np.uint64(place.step)
        if place.ids:
            number = words_at(place.ids)[row]
        # number * row_offset might not fit in 64 bits.
        far, near = number // np.uint64(tile), number % np.uint64(tile)
        first = number * np.uint64(place.row_tiles) + far * np.uint64(place.row_offset)
        offset = np.int64(near) * place.row_offset + place.offset
        for axis in range(3 * (place.axes - 1), -1, -3):
            run, index = divmod(run, axes[axis])
            first += np.uint64(index * axes[axis + 1])
            offset += index * axes[axis + 2]
        return first + np.uint64(place.tile), offset

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
        if offset >= half:
            return half, offset - half, wanted
        return (half if offset + wanted <= half else tile), offset, wanted

    @inlined
    def fill_directly(out, drawn, skip, wanted, first, odd, key, sampler):
        """Draw values into the output, or beside it if not all of them are wanted."""
        aside = one_tile()
        direct = wanted == drawn
        block = view(out, 0, drawn) if direct else aside[:drawn]
        draw(block, first, odd, key, sampler)
        if not direct:
            for i in range(wanted):  # a slice assignment would take seconds to compile
                out[i] = aside[skip + i]

    @inlined
    def half_at(numbers, index, key):
        """Return slot, lane and key of a value of a block, of whose halves the numbers are known."""
        number, index = numbers[index // np.uint64(half)], index % np.uint64(half)
        slot = (number & ONE) * half_slots + index // np.uint64(LANES)
        return slot, (number >> ONE) * np.uint64(LANES) + index % np.uint64(LANES), key

    redraw = make_redraw(kind, real, size, half_at) if rejecting else None

    @inlined
    def remember(out, at, block, used, drawn, skip, wanted, first, odd):
        """Note what is drawn into a block: its halves of tiles, and where values belong."""
        _, numbers, pieces = block
        halves = drawn // half
        for i in range(halves):
            numbers[used // half + i] = first * TWO + odd + np.uint64(i)
        piece = pieces[used // half * PIECE :]
        piece[0], piece[1], piece[2], piece[3] = at, used + skip, wanted, halves
        for i in range(0, wanted, line):
            prefetch(out, at + i)  # or else the stores, all at the end, wait for memory

    @inlined
    def finish(out, block, used, key, sampler):
        """Draw rejected values of a block again, and store the values that are wanted."""
        base, numbers, pieces = block
        padded = (used + SCAN - 1) // SCAN * SCAN
        for i in range(used, padded):
            base[i] = sampler.lower
        redraw(base[:padded], numbers, key, sampler)
        number = 0
        while number < used // half:
            piece = pieces[number * PIECE :]
            target, values = view(out, piece[0], piece[2]), base[piece[1] : piece[1] + piece[2]]
            for i in range(target.size):
                target[i] = finished(values[i], sampler)
            number += piece[3]

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
            block = base_values(), half_numbers(), piece_numbers()
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
            odd = np.uint64(offset >= half)
            begin += wanted
            left -= wanted
            if rejecting:
                draw(block[0][used : used + drawn], first, odd, key, sampler)
                remember(out, at, block, used, drawn, skip, wanted, first, odd)
                used += drawn
                if size - used < tile or begin == end:
                    finish(out, block, used, key, sampler)
                    used = 0
            else:
                fill_directly(moved(out, at), drawn, skip, wanted, first, odd, key, sampler)
            at += wanted
            offset += wanted

    signature = types.void(
        types.CPointer(stored),
        types.int64,
        types.int64,
        types.CPointer(types.int64),
        types.CPointer(types.uint64),
        types.CPointer(computed),
    )
    return fill, signature
