"""Drawing rejected values again on the CPU: all of a block's together at each attempt.

The values rejected are listed without a branch that could be guessed wrong, and drawn in vectors,
whichever lanes they belong to.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.np import numpy_support

from . import draws
from .compiling import inlined
from .intrinsics_cpu import SCAN, count_ones, outside, stack_array, trailing_zeros

AT_ONCE = 6  # rejected values listed together: seldom are there more among 64
SIMD = 16  # redraws are padded to a multiple of the widest vector


@inlined
def find_rejected(base, rejected, lower, upper):
    """List the indices of the values not in [lower, upper]; return how many there are."""
    count = 0
    for start in range(0, base.size, SCAN):
        mask = outside(base, start, lower, upper)
        end = count + count_ones(mask)
        while mask:  # a fixed number each time: guessing the true one costs more
            for i in range(AT_ONCE):
                rejected[count + i] = start + trailing_zeros(mask)
                mask &= mask - np.uint64(1)
            count += AT_ONCE
        count = end
    return count


def make_redraw(sampler: type, real: Any, size: int, located: Callable[..., Any]) -> Any:
    """Return a function that replaces the values of a block that the sampler rejects.

    Parameters
    ----------
    sampler : type
        One of `samplers.REJECTING`.
    real : np.float32 or np.float64
        The precision computed in.
    size : int
        Most values in a block, which holds a multiple of 64 values.
    located : inlined function
        ``(where, index, key)``: the slot, lane and stream of the value at an index (uint64) of the
        block; `where` is whatever it needs for that.
    """
    value_at = draws.value_at(sampler, real)
    indices = stack_array(size + SIMD, types.int64)
    values = stack_array(size + SIMD, numpy_support.from_dtype(np.dtype(real)))
    words = stack_array(size + SIMD, types.uint64)

    @inlined
    def redraw(base, where, key, sampler):
        rejected, redrawn = indices(), values()
        slots, lanes, streams = words(), words(), words()
        count = find_rejected(base, rejected, sampler.lower, sampler.upper)
        attempt = np.uint64(0)
        while count > 0:
            attempt += np.uint64(1)
            padded = (count + SIMD - 1) // SIMD * SIMD
            for i in range(count, padded):
                rejected[i] = rejected[count - 1]
            for i in range(padded):  # apart from drawing: LLVM makes no vectors of both together
                slots[i], lanes[i], streams[i] = located(where, np.uint64(rejected[i]), key)
            for i in range(padded):
                own_key = key[0], key[1], streams[i]
                redrawn[i] = value_at(sampler, slots[i], lanes[i], attempt, own_key)
            left = 0
            for i in range(count):
                z, index = redrawn[i], rejected[i]
                base[index] = z
                rejected[left] = index
                left += draws.rejects(z, sampler)
            count = left

    return redraw
