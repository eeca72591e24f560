"""Fills on a CUDA GPU: what `fills_cpu` does, with a warp to a tile.

The 32 threads of a warp are the 32 lanes of a tile, so the stores of each word are contiguous.
Warps stride over the tiles of a row of the window, and, where rows are short, over the rows too.
Lanes with rejected values (of the truncated normals) wait in shared memory until there are enough
of them to keep a whole warp busy with drawing again; nothing is allocated.

A kernel's body runs as plain Python in the CUDA simulator: it calls compiled scalars only.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import draws
from .compiling import scalar
from .cuda_shim import cuda
from .floats import bfloat16_bits, float16_bits, scale_shift_clamp
from .samplers import REJECTING

LANES = 32  # of a tile, and threads of a warp
WARPS = 8  # most in a block
BLOCKS = 16  # most for each multiprocessor
FEWEST = 128  # blocks, as far as there may be so many: Numba warns of fewer
AXES = 6  # outer axes of a window that a launch can take
ROWS = 2**31  # likewise
ALL_LANES = 0xFFFFFFFF
WAITING = 2 * LANES  # places in a warp's queue: fewer than 32 wait before a tile adds up to 32

Key = tuple[np.uint64, np.uint64, np.uint64]
Launch = tuple[int, int]


@scalar
def unrounded(value):
    """Return a value as it is."""
    return value


ROUNDED = {
    "float32": unrounded,
    "float64": unrounded,
    "uint16": bfloat16_bits,
    "int16": float16_bits,
}


@scalar
def row_offset(row, lengths, strides):
    """Return how many elements of the full table lie between a row of a window and its first."""
    offset = np.int64(0)
    for axis in range(len(lengths) - 1, -1, -1):
        if row == 0:  # so are the places on all axes left
            break
        outer = np.uint32(row // lengths[axis])
        offset += np.int64(np.uint32(row - outer * lengths[axis])) * strides[axis]
        row = outer
    return offset


def make_kernel(sampler: type, dtype: str) -> Callable[..., None]:
    """Return the Python function of the kernel for a sampler and the dtype of its output.

    Its parameters are those of `fill_window`, and `first_row`, the row of the window that `begin`
    is in, `rows`, the number of rows that `out` has elements of, and `across`, the number of warps
    that share a row.

    An entry of a warp's queue holds a lane, the index in `out` of its first value, the attempt to
    make, and a bit for each of its values that is wanted.
    """
    real, places = (np.float64, 2) if dtype == "float64" else (np.float32, 4)
    tile_values = LANES * places
    rounded = ROUNDED[dtype]
    rejecting = sampler in REJECTING
    draw = draws.lane_values(sampler, real)
    draw_one = draws.value_at(sampler, real) if rejecting else draw
    queues = (WARPS * WAITING, 2) if rejecting else (1, 2)

    @scalar
    def finished(value, sampler):
        """Return a base value scaled, shifted, clamped and rounded."""
        value, low, high = real(value), sampler.low, sampler.high
        return rounded(scale_shift_clamp(value, sampler.scale, sampler.shift, low, high))

    @scalar
    def rejected(values, sampler):
        """Return a bit for each value of a lane that the sampler rejects."""
        bits = np.uint32(0)
        for place in range(places):
            if values[place] < sampler.lower or values[place] > sampler.upper:
                bits = np.uint32(bits | np.uint32(1 << place))
        return bits

    @cuda.jit(device=True)
    def wait(queue, top, lane, index, attempt, wanted):
        """Put the lanes of which values are wanted on the warp's queue; return its new top."""
        votes = np.uint32(cuda.ballot_sync(ALL_LANES, wanted != 0))
        if wanted != 0:
            before = np.uint32(cuda.popc(np.uint32(votes & np.uint32((1 << cuda.laneid) - 1))))
            slot = np.uint32(top + before)
            queue[slot, 0] = lane
            queue[slot, 1] = np.uint64(index << 24 | np.int64(np.uint32(attempt << 4 | wanted)))
        return np.uint32(top + np.uint32(cuda.popc(votes)))

    @cuda.jit(device=True)
    def redraw(out, key, sampler, queue, bottom, top):
        """Draw one value again for each of the last lanes of the queue; return its new top."""
        count = min(np.uint32(top - bottom), np.uint32(LANES))
        top = np.uint32(top - count)
        lane, index, attempt, wanted = np.uint64(0), np.int64(0), np.uint32(0), np.uint32(0)
        cuda.syncwarp()  # all have queued, and stored what is stored again below
        if cuda.laneid < count:
            slot = np.uint32(top + np.uint32(cuda.laneid))
            lane = queue[slot, 0]
            index = np.int64(queue[slot, 1]) >> 24
            attempt = np.uint32(np.uint32(queue[slot, 1] & np.uint64(0xFFFFFF)) >> np.uint32(4))
            wanted = np.uint32(queue[slot, 1] & np.uint64(15))
        cuda.syncwarp()  # all have read their slots
        place = cuda.ffs(wanted) - 1
        value = draw_one(sampler, place, lane, np.uint64(attempt), key)
        if value < sampler.lower or value > sampler.upper:
            attempt = np.uint32(attempt + np.uint32(1))
        else:
            attempt = np.uint32(1)
            if wanted != 0:
                out[np.uint64(index + LANES * place)] = finished(value, sampler)
                wanted = np.uint32(wanted & np.uint32(wanted - np.uint32(1)))
        return wait(queue, top, lane, index, attempt, wanted)

    def kernel(out, begin, base, first_row, rows, lengths, strides, run, key, sampler, across):
        queue = cuda.shared.array(queues, np.uint64)
        bottom = top = np.uint32(cuda.threadIdx.x // LANES * WAITING)
        thread = np.int64(cuda.laneid)
        warp = np.uint32(cuda.grid(1) // LANES)
        warps = np.uint32(cuda.gridsize(1) // LANES)
        end = begin + out.size
        row, row_step = np.uint32(warp // across), np.uint32(warps // across)
        if row >= row_step:  # a warp too many
            row = rows
        while row < rows:
            # Positions in the window: of the row, and of what is asked of it. Then its elements.
            position = np.int64(np.uint32(first_row + row)) * run
            start, stop = max(position, begin), min(position + run, end)
            offset = row_offset(np.uint32(first_row + row), lengths, strides)
            first = base + offset + (start - position)
            last = first + (stop - start)
            shift = start - begin - first  # from an element to its index in `out`
            tile = np.int64(np.uint64(first) // np.uint64(tile_values)) + np.int64(warp % across)
            element = tile * tile_values
            while element < last:
                lane = np.uint64(element) // np.uint64(places) + np.uint64(thread)
                values = draw(sampler, lane, np.uint64(0), key)
                index = element + thread + shift
                wanted = np.uint32((1 << places) - 1)
                if element >= first and element + tile_values <= last:
                    for place in range(places):
                        out[np.uint64(index + LANES * place)] = finished(values[place], sampler)
                else:
                    wanted = np.uint32(0)
                    for place in range(places):
                        if first <= element + thread + LANES * place < last:
                            out[np.uint64(index + LANES * place)] = finished(values[place], sampler)
                            wanted = np.uint32(wanted | np.uint32(1 << place))
                if rejecting:
                    wanted = np.uint32(wanted & rejected(values, sampler))
                    top = wait(queue, top, lane, index, np.uint32(1), wanted)
                    while np.uint32(top - bottom) >= LANES:
                        top = redraw(out, key, sampler, queue, bottom, top)
                element += np.int64(across) * tile_values
            row = np.uint32(row + row_step)
        if rejecting:
            while top > bottom:
                top = redraw(out, key, sampler, queue, bottom, top)

    return kernel


@functools.cache
def _kernel(sampler: type, dtype: str) -> Any:
    return cuda.jit(make_kernel(sampler, dtype))


def fill(
    out: Any, first: int, key: Key, sampler: Any, stream: Any = 0, launch: Launch | None = None
) -> None:
    """Fill a contiguous run.

    Parameters
    ----------
    out : 1-D contiguous device array, written
        float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    first : int
        Number of the first element in the C order of the full table.
    key : tuple of three uint64
        Low and high word of the seed, and the stream.
    sampler : one of the classes of `samplers`
        float64 parameters for float64 output, float32 parameters for all others.
    stream : CUDA stream, optional
        Where the kernel is queued; this function does not wait for it.
    launch : tuple of two int, optional
        Blocks, and warps (at most 8) in each. Values do not depend on it.
    """
    fill_window(out, 0, first, (), (), out.size, key, sampler, stream, launch)


def fill_window(
    out: Any,
    begin: int,
    base: int,
    shape: Sequence[int],
    strides: Sequence[int],
    run: int,
    key: Key,
    sampler: Any,
    stream: Any = 0,
    launch: Launch | None = None,
) -> None:
    """Fill elements `begin` and following of a window, in the window's own C order.

    Parameters
    ----------
    out : 1-D contiguous device array, written
        As in `fill`.
    begin : int
        Position in the window of the first element of `out`.
    base : int
        Number, in the full table, of the window's first element.
    shape, strides : sequences of int
        Outer axes of the window: lengths, and steps in elements of the full table.
    run : int
        Elements that follow each other in the full table: the window's inner axes.
    key, sampler, stream, launch
        As in `fill`.
    """
    if out.size == 0:
        return
    end = begin + out.size
    if len(shape) > AXES or math.prod(shape) > ROWS:
        halves = (0, shape[0] // 2, shape[0]) if shape[0] > 1 else (0, 1)
        inner = math.prod(shape[1:]) * run
        for start, stop in itertools.pairwise(halves):
            part = max(begin, start * inner), min(end, stop * inner)
            if part[0] < part[1]:
                axes = (stop - start, *shape[1:]) if stop - start > 1 else shape[1:]
                fill_window(
                    out[part[0] - begin : part[1] - begin],
                    part[0] - start * inner,
                    base + start * strides[0],
                    axes,
                    strides[len(strides) - len(axes) :],
                    run,
                    key,
                    sampler,
                    stream,
                    launch,
                )
        return

    first_row = begin // run
    rows = (end - 1) // run - first_row + 1
    tile_values = LANES * (2 if out.dtype == np.float64 else 4)
    tiles = (min(run, out.size) + tile_values - 2) // tile_values + 1  # of a row, at most
    blocks, warps = launch or (_blocks(-(-rows * tiles // WARPS)), WARPS)
    padding = AXES - len(shape)
    _kernel(type(sampler), out.dtype.name)[blocks, warps * LANES, stream](
        out,
        np.int64(begin),
        np.int64(base),
        np.uint32(first_row),
        np.uint32(rows),
        tuple(np.uint32(length) for length in (*[1] * padding, *shape)),
        tuple(np.int64(stride) for stride in (*[0] * padding, *strides)),
        np.int64(run),
        key,
        sampler,
        np.uint32(min(tiles, blocks * warps)),
    )


def make_constant_kernel() -> Callable[..., None]:
    """Return the Python function of the kernel of `constant`."""

    def kernel(out, even, odd):
        index, step = np.uint64(cuda.grid(1)), np.uint64(cuda.gridsize(1))
        size = np.uint64(out.size)
        while index < size:
            out[index] = odd if index & np.uint64(1) else even
            index += step

    return kernel


@functools.cache
def _constant_kernel() -> Any:
    return cuda.jit(make_constant_kernel())


def constant(out: Any, even: Any, odd: Any, stream: Any = 0, launch: Launch | None = None) -> None:
    """Fill an array with one value, or with two by turns (the halves of a complex128).

    Parameters
    ----------
    out : 1-D contiguous device array, written
        uint8, uint16, uint32 or uint64: the bits of whatever the elements are.
    even, odd : scalars of the dtype of `out`
        The bits of the values.
    stream, launch
        As in `fill`.
    """
    if out.size:
        blocks, warps = launch or (_blocks(-(-out.size // (LANES * WARPS))), WARPS)
        _constant_kernel()[blocks, warps * LANES, stream](out, even, odd)


def _blocks(useful: int) -> int:
    most = BLOCKS * cuda.get_current_device().MULTIPROCESSOR_COUNT
    return min(max(useful, FEWEST), most)
