"""Drawing rows of keys on the CPU: the kernel of `fills_cpu.KeyedFiller`.

A lane is a key and a group of neighbouring columns, and lanes do not depend on each other. Those of
some rows are listed, row by row, and drawn in vectors, whichever rows they belong to.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.np import numpy_support

from . import draws
from .compiling import align_stack, inlined
from .intrinsics_cpu import (
    SCAN,
    copy_row,
    moved,
    numbers_at,
    section,
    stack_array,
    store_ramp,
    view,
    words_at,
)
from .layout import FIRST_KEYED_STREAM, KeyedPlace, precision, slots
from .redraws_cpu import make_redraw
from .samplers import REJECTING
from .tiles_cpu import make_store, unfinished

BLOCK = 256  # lanes
TOGETHER = 32  # lanes
HALF = TOGETHER // 2
VECTOR = 8  # numbers stored at once as lanes are listed
FIELDS = len(KeyedPlace._fields)
ZERO = np.uint64(0)
THIRTY_TWO = np.uint64(32)


def make_kernel(kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    """Return the kernel that `fills_cpu.KeyedFiller` calls, and its signature.

    Parameters
    ----------
    kind : type
        Of the sampler.
    dtype : numpy.dtype
        Of what is stored.
    """
    real = precision(dtype)
    stored, computed = numpy_support.from_dtype(dtype), numpy_support.from_dtype(np.dtype(real))
    group = slots(real)
    padding = max(TOGETHER, SCAN // group)
    rejecting = kind in REJECTING
    finished = draws.finished(kind, dtype.name)
    lane_values = draws.lane_values(kind, real)
    store_lane = make_store(group, 1, unfinished if rejecting else finished)
    fields = len(kind._fields)  # pyright: ignore[reportAttributeAccessIssue]
    words = stack_array(BLOCK + VECTOR, types.uint32)
    stored_array = stack_array(BLOCK * group, stored)
    base_array = stack_array(BLOCK * group, computed)

    @inlined
    def list_some(lanes, start, own_key, stream):
        """List one key with streams that follow each other; too many, the next overwrites."""
        store_ramp(lanes[0], start, np.uint32(own_key), 0, VECTOR)
        store_ramp(lanes[1], start, np.uint32(own_key >> THIRTY_TWO), 0, VECTOR)
        store_ramp(lanes[2], start, np.uint32(stream), 1, VECTOR)

    @inlined
    def list_lanes(lanes, keys, count, first_stream, groups):
        """List the lanes of some keys and groups of columns; return how many, padded."""
        start = 0
        for i in range(count):
            own_key = keys[i]
            list_some(lanes, start, own_key, first_stream)
            for g in range(VECTOR, groups, VECTOR):
                list_some(lanes, start + g, own_key, first_stream + g)
            start += groups
        size = (start + padding - 1) // padding * padding
        for i in range(start, size, VECTOR):
            list_some(lanes, i, keys[0], first_stream)
        return size

    @inlined
    def lane(lanes, index, key):
        """Return number and key of a lane of the list, as dense tables have them."""
        low, high, stream = lanes
        number = np.uint64(low[index]) | np.uint64(high[index]) << THIRTY_TWO
        return number, (key[0], key[1], np.uint64(stream[index]))

    @inlined
    def value_at(lanes, index, key):
        """Return slot, lane and stream of a value of a block."""
        number, own_key = lane(lanes, index // np.uint64(group), key)
        return index % np.uint64(group), number, own_key[2]

    redraw: Any = make_redraw(kind, real, BLOCK * group, value_at) if rejecting else None

    @inlined
    def draw(block, lanes, key, sampler):
        """Fill a block with the values of lanes, one lane's after the other's."""
        low, high, stream = lanes
        for start in range(0, block.size // group, TOGETHER):
            part = section(block, start * group, TOGETHER * group)
            some = (
                section(low, start, TOGETHER),
                section(high, start, TOGETHER),
                section(stream, start, TOGETHER),
            )
            for i in range(HALF):  # two lanes: four vectors of AVX-512 are under way
                near, near_key = lane(some, i, key)
                far, far_key = lane(some, i + HALF, key)
                drawn = lane_values(sampler, near, ZERO, near_key)
                store_lane(part, i * group, drawn, sampler)
                drawn = lane_values(sampler, far, ZERO, far_key)
                store_lane(part, (i + HALF) * group, drawn, sampler)

    def fill(out, begin, end, place_numbers, key, sampler):
        align_stack()
        sampler = kind(*numbers_at(sampler, fields))
        place = KeyedPlace(*numbers_at(place_numbers, FIELDS))
        keys, key = words_at(place.keys), (key[0], key[1])
        lanes, aside, base = (words(), words(), words()), stored_array(), base_array()
        row, column = divmod(begin, place.width)
        while begin < end:
            # Some whole rows, or what is wanted of one and fits.
            first = place.column + column
            skip = first % group
            width = min(place.width - column, end - begin, BLOCK * group - skip)
            groups = (skip + width + group - 1) // group
            rows = 1
            if width == place.width:
                rows = min((end - begin) // width, BLOCK // groups)
            stream = FIRST_KEYED_STREAM + first // group
            size = list_lanes(lanes, moved(keys, row), rows, stream, groups)
            corner = moved(out, row * place.stride + column)
            dense = rows == 1 or place.stride == width
            direct = dense and width == groups * group and size == rows * groups
            block = view(corner, 0, size * group) if direct else section(aside, 0, size * group)
            if rejecting:
                draw(section(base, 0, block.size), lanes, key, sampler)
                redraw(section(base, 0, block.size), lanes, key, sampler)
                for i in range(block.size):
                    block[i] = finished(base[np.uint64(i)], sampler)
            else:
                draw(block, lanes, key, sampler)
            if not direct:
                for i in range(rows):
                    start = i * groups * group + skip
                    copy_row(moved(corner, i * place.stride), aside, start, width)
            begin += rows * width
            column += width
            if column == place.width:
                row, column = row + rows, 0

    signature = types.void(
        types.CPointer(stored),
        types.int64,
        types.int64,
        types.CPointer(types.int64),
        types.CPointer(types.uint64),
        types.CPointer(computed),
    )
    return fill, signature
