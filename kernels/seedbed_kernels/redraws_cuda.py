"""Drawing rejected values again on a CUDA GPU: what `redraws_cpu` does, within each warp.

Lanes with rejected values wait in shared memory until there are enough of them to keep a whole warp
busy with drawing again; nothing is allocated. An entry of a warp's queue holds a lane, the index in
the output of its first value, the attempt to make, a bit for each of its values that is wanted, and
for rows of keys the lane's stream.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import draws
from .compiling import scalar
from .cuda_shim import cuda
from .launch_cuda import WARPS
from .layout import LANES, precision, slots
from .samplers import REJECTING

ALL_LANES = 0xFFFFFFFF
WAITING = 2 * LANES  # slots of a warp's queue: fewer than 32 wait before a tile adds up to 32


def queue_shape(sampler: type, keyed: bool) -> tuple[int, int]:
    """Return the shape of a block's queues, in uint64."""
    return (WARPS * WAITING if sampler in REJECTING else 1), (3 if keyed else 2)


def make_rejected(sampler: type, dtype: str) -> Callable[..., Any]:
    """Return a scalar that returns a bit for each value of a lane that the sampler rejects."""
    real = precision(np.dtype(dtype))
    count = slots(real)

    @scalar
    def rejected(values, sampler):
        bits = np.uint32(0)
        for slot in range(count):
            if draws.rejects(real(values[slot]), sampler):
                bits = np.uint32(bits | np.uint32(1 << slot))
        return bits

    return rejected


def make_redraw(sampler: type, dtype: str, native: bool, keyed: bool) -> tuple[Any, Any]:
    """Return two device functions: one puts lanes on a warp's queue, one draws them again.

    Parameters
    ----------
    sampler : type
        One of `samplers.REJECTING`.
    dtype : str
        Of what is stored.
    native : bool
        Whether the GPU rounds to bfloat16 itself.
    keyed : bool
        Whether a lane's values follow each other in the output, and lanes have streams of their
        own; else they lie 32 apart, and the key has the stream.
    """
    step = 1 if keyed else LANES
    finished = draws.finished(sampler, dtype, native)
    value_at = draws.value_at(sampler, precision(np.dtype(dtype)))

    @cuda.jit(device=True)
    def wait(queue, top, lane, stream, index, attempt, wanted):
        """Put the lanes of which values are wanted on the warp's queue; return its new top."""
        votes = np.uint32(cuda.ballot_sync(ALL_LANES, wanted != 0))
        if wanted != 0:
            before = np.uint32(cuda.popc(np.uint32(votes & np.uint32((1 << cuda.laneid) - 1))))
            slot = np.uint32(top + before)
            queue[slot, 0] = lane
            queue[slot, 1] = np.uint64(index << 24 | np.int64(np.uint32(attempt << 4 | wanted)))
            if keyed:
                queue[slot, 2] = stream
        return np.uint32(top + np.uint32(cuda.popc(votes)))

    @cuda.jit(device=True)
    def redraw(out, key, sampler, queue, bottom, top):
        """Draw one value again for each of the last lanes of the queue; return its new top."""
        count = min(np.uint32(top - bottom), np.uint32(LANES))
        top = np.uint32(top - count)
        lane, index, attempt, wanted = np.uint64(0), np.int64(0), np.uint32(0), np.uint32(0)
        stream = key[2]
        cuda.syncwarp()  # all have queued, and stored what is stored again below
        if cuda.laneid < count:
            slot = np.uint32(top + np.uint32(cuda.laneid))
            lane = queue[slot, 0]
            index = np.int64(queue[slot, 1]) >> 24
            attempt = np.uint32(np.uint32(queue[slot, 1] & np.uint64(0xFFFFFF)) >> np.uint32(4))
            wanted = np.uint32(queue[slot, 1] & np.uint64(15))
            if keyed:
                stream = queue[slot, 2]
        cuda.syncwarp()  # all have read their slots
        slot = cuda.ffs(wanted) - 1
        value = value_at(sampler, slot, lane, np.uint64(attempt), (key[0], key[1], stream))
        if draws.rejects(value, sampler):
            attempt = np.uint32(attempt + np.uint32(1))
        else:
            attempt = np.uint32(1)
            if wanted != 0:
                out[np.uint64(index + step * slot)] = finished(value, sampler)
                wanted = np.uint32(wanted & np.uint32(wanted - np.uint32(1)))
        return wait(queue, top, lane, stream, index, attempt, wanted)

    return wait, redraw
