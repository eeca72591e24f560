"""Drawing tiles on a CUDA GPU: what `tiles_cpu` does, with a warp to a tile.

The 32 threads of a warp are the 32 lanes of a tile, so the stores of each slot are contiguous.
Warps stride over the tiles of a run and, where runs are short, over the runs, too.
"""

# Numba drops the branches that a sampler never takes.
# pyright: reportPossiblyUnboundVariable=false

from collections.abc import Callable
from typing import Any

import numpy as np

from . import draws, lanes
from .compiling import scalar
from .cuda_shim import cuda
from .layout import LANES, precision, slots, tile_values
from .redraws_cuda import WAITING, make_redraw, make_rejected, queue_shape
from .samplers import REJECTING


def make_run_position(real: Any) -> Callable[..., Any]:
    """Return a scalar that returns where a run begins: its tile, and the offset there.

    Its parameters are the row's number (uint64), the run's in the row (uint32), the numbers of the
    place, the axes over the runs of a row, and how many elements are left out at the beginning.
    """
    size, row_position = tile_values(real), lanes.row_position(real)

    @scalar
    def run_position(number, run, place, lengths, tiles, offsets, left_out):
        tile, offset = row_position(number, place[4], place[5])
        tile += np.uint64(place[0])
        offset += place[1] + left_out
        for axis in range(len(lengths) - 1, -1, -1):
            if run == 0:  # so are the indices of all axes left
                break
            outer = np.uint32(run // lengths[axis])
            index = np.int64(np.uint32(run - outer * lengths[axis]))
            tile += np.uint64(index * tiles[axis])
            offset += index * offsets[axis]
            run = outer
        whole = np.uint64(offset) // np.uint64(size)
        return tile + whole, offset - np.int64(whole) * size

    return run_position


def make_kernel(sampler: type, dtype: str, native: bool) -> Callable[..., None]:
    """Return the Python function of the kernel that `fills_cuda.Filler` and `RowFiller` launch.

    Its parameters are the output, the numbers of the rows (or none of them), the first position in
    the place and the one after the last, the numbers of a `Place` (its tile, offset, run, runs,
    row_tiles, row_offset, start, step and stride), the axes of the window in a row (lengths, tiles,
    offsets), the first run of the place that elements are wanted of, the number of such runs, the
    key, the sampler, and `across`, the number of warps that share a run.
    """
    real = precision(np.dtype(dtype))
    count, tile_size = slots(real), tile_values(real)
    rejecting = sampler in REJECTING
    draw, finished = draws.lane_values(sampler, real), draws.finished(sampler, dtype, native)
    run_position = make_run_position(real)
    queues = queue_shape(sampler, keyed=False)
    if rejecting:
        rejected = make_rejected(sampler, dtype)
        wait, redraw = make_redraw(sampler, dtype, native, keyed=False)

        @cuda.jit(device=True)
        def again(out, key, sampler, queue, bottom, top, lane, index, values, wanted):
            """Have those values of a lane that are wanted and rejected drawn again."""
            wanted = np.uint32(wanted & rejected(values, sampler))
            top = wait(queue, top, lane, key[2], index, np.uint32(1), wanted)
            while np.uint32(top - bottom) >= LANES:
                top = redraw(out, key, sampler, queue, bottom, top)
            return top

    def kernel(
        out, ids, begin, end, place, lengths, tiles, offsets, first_run, runs, key, sampler, across
    ):
        queue = cuda.shared.array(queues, np.uint64)
        bottom = top = np.uint32(cuda.threadIdx.x // LANES * WAITING)
        thread = np.int64(cuda.laneid)
        warp = np.uint32(cuda.grid(1) // LANES)
        warps = np.uint32(cuda.gridsize(1) // LANES)
        share = np.int64(np.uint32(warp % across))
        number, step = np.uint32(warp // across), np.uint32(warps // across)
        if number >= step:  # a warp too many
            number = runs
        while number < runs:
            # Positions in the place: of the run, and of what is asked of it. Then its elements.
            run = np.uint32(first_run + number)
            row = np.uint32(run // np.uint32(place[3]))
            position = np.int64(run) * place[2]
            start, stop = max(position, begin), min(position + place[2], end)
            size = stop - start
            run = np.uint32(run - row * np.uint32(place[3]))
            row_id = lanes.row_number(place[6], place[7], row)
            if ids.size:
                row_id = ids[row]
            tile, offset = run_position(
                row_id, run, place, lengths, tiles, offsets, start - position
            )
            # Of the warp's tile: the lane, and where its first value is: among those that are
            # wanted, and this lane's in the output.
            lane = (np.uint64(tile) + np.uint64(share)) * np.uint64(LANES) + np.uint64(thread)
            index = share * tile_size - offset
            shift = np.int64(row) * place[8] + np.int64(run) * place[2] + (start - position)
            shift += thread
            inside = np.uint64(max(size - tile_size + 1, 0))
            while index < size:
                while np.uint64(index) < inside:  # nor is it negative
                    first = index + shift
                    values = draw(sampler, lane, np.uint64(0), key)
                    for slot in range(count):
                        out[np.uint64(first + LANES * slot)] = finished(values[slot], sampler)
                    if rejecting:
                        wanted = np.uint32((1 << count) - 1)
                        top = again(
                            out, key, sampler, queue, bottom, top, lane, first, values, wanted
                        )
                    lane += np.uint64(across) * np.uint64(LANES)
                    index += np.int64(across) * tile_size
                if index < size:  # a tile that is wanted in part
                    first = index + shift
                    values = draw(sampler, lane, np.uint64(0), key)
                    wanted = np.uint32(0)
                    for slot in range(count):
                        if 0 <= index + thread + LANES * slot < size:
                            out[np.uint64(first + LANES * slot)] = finished(values[slot], sampler)
                            wanted = np.uint32(wanted | np.uint32(1 << slot))
                    if rejecting:
                        top = again(
                            out, key, sampler, queue, bottom, top, lane, first, values, wanted
                        )
                    lane += np.uint64(across) * np.uint64(LANES)
                    index += np.int64(across) * tile_size
            number = np.uint32(number + step)
        if rejecting:
            while top > bottom:
                top = redraw(out, key, sampler, queue, bottom, top)

    return kernel
