"""Drawing tiles on the CPU: the kernel of `fills_cpu`, for one sampler and one dtype at a time.

Whole tiles are drawn straight into the output; where a run begins or ends inside a tile, the tile
is drawn beside it and the part that belongs to the run is copied. A truncated normal is drawn block
by block into scratch that stays in the cache, where values are redrawn before they are finished.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload
from numba.np import numpy_support
from numba.np.numpy_support import carray
from numba.np.unsafe.ndarray import to_fixed_tuple

from . import draws
from .compiling import (
    INSIDE,
    align_stack,
    apart,
    intrinsic,
    never_inline,
    part,
    restore_arithmetic,
    usual_arithmetic,
)
from .floats import bfloat16_bits, float16_bits, scale_shift_clamp
from .samplers import REJECTING

TILE_BYTES = 512  # of scratch: 32 lanes of four words
TILE_LANES = 32
HALF_TILE = 16
BLOCK_TILES = 16
CACHE_LINE = 64  # bytes
SCAN = 64  # values looked at together for rejection
AT_ONCE = 6  # rejected values listed together: seldom are there more among 64
SIMD = 16  # redraws are padded to a multiple of the widest vector


# Where sampler or precision decides, Numba picks the code by type: these bodies are never run.
def values_per_tile(sampler) -> Any:
    """Return how many values a tile has in the precision of a sampler."""


def lane_values(sampler, lane, attempt, key) -> Any:
    """Return the base values that a sampler draws for a lane at an attempt."""


def value_at(sampler, place, lane, attempt, key) -> Any:
    """Return one of the base values of a lane."""


def put(tile, lane, values, sampler) -> Any:
    """Store the values of a lane into its tile, finished unless they may be rejected."""


def rounded(value, out) -> Any:
    """Return a value as the elements of `out` hold it."""


def scratch(sampler, out) -> Any:
    """Return what drawing needs: a tile like `out`, and for redraws a block and two lists."""


def draw(sampler, block, redraws, first_tile, key) -> Any:
    """Fill a block of whole tiles, the first of which is number `first_tile`."""


@overload(values_per_tile, jit_options=INSIDE)
def _values_per_tile(sampler):
    count = TILE_BYTES // numpy_support.as_dtype(sampler[0]).itemsize
    return lambda sampler: count


def _drawn(drawing, sampler):
    return drawing(sampler.instance_class, numpy_support.as_dtype(sampler[0]).type)


@overload(lane_values, jit_options=INSIDE)
def _lane_values(sampler, lane, attempt, key):
    values = _drawn(draws.lane_values, sampler)
    return lambda sampler, lane, attempt, key: values(sampler, lane, attempt, key)


@overload(value_at, jit_options=INSIDE)
def _value_at(sampler, place, lane, attempt, key):
    value = _drawn(draws.value_at, sampler)
    return lambda sampler, place, lane, attempt, key: value(sampler, place, lane, attempt, key)


@overload(rounded, jit_options=INSIDE)
def _rounded(value, out):
    if out.dtype == types.uint16:
        return lambda value, out: bfloat16_bits(value)
    if out.dtype == types.int16:
        return lambda value, out: float16_bits(value)
    return lambda value, out: value


@part
def finished(value, sampler, out):
    """Return a base value scaled, shifted, clamped and rounded to what `out` holds."""
    value = scale_shift_clamp(value, sampler.scale, sampler.shift, sampler.low, sampler.high)
    return rounded(value, out)


@part
def unfinished(value, sampler, out):
    """Return a base value as it is."""
    return value


@overload(put, jit_options=INSIDE)
def _put(tile, lane, values, sampler):
    last = unfinished if sampler.instance_class in REJECTING else finished
    if len(values) == 2:

        def two(tile, lane, values, sampler):
            tile[lane] = last(values[0], sampler, tile)
            tile[lane + 32] = last(values[1], sampler, tile)

        return two

    def four(tile, lane, values, sampler):
        tile[lane] = last(values[0], sampler, tile)
        tile[lane + 32] = last(values[1], sampler, tile)
        tile[lane + 64] = last(values[2], sampler, tile)
        tile[lane + 96] = last(values[3], sampler, tile)

    return four


def room(size: int, dtype: Any) -> Any:
    """Return a function that makes an array on the stack, which lasts until the kernel ends.

    It begins at a cache line. Memory from an allocator would take Numba's run time to be there.
    """

    @intrinsic
    def pointer(typingctx):
        def codegen(context, builder, signature, args):
            memory = cgutils.alloca_once(builder, context.get_data_type(dtype), size=size)
            memory.align = CACHE_LINE
            return memory

        return types.CPointer(dtype)(), codegen

    return part(lambda: carray(pointer(), size))


@overload(scratch, jit_options=INSIDE)
def _scratch(sampler, out):
    precision = sampler[0]
    per_tile = TILE_BYTES // (precision.bitwidth // 8)
    size = BLOCK_TILES * per_tile
    tile = room(per_tile, out.dtype)
    if sampler.instance_class not in REJECTING:
        return lambda sampler, out: (tile(), None)
    base, redrawn = room(size, precision), room(size + SIMD, precision)
    rejected = room(size + SIMD, types.int64)
    return lambda sampler, out: (tile(), (base(), rejected(), redrawn()))


@overload(draw, jit_options=INSIDE)
def _draw(sampler, block, redraws, first_tile, key):
    if sampler.instance_class not in REJECTING:
        return lambda sampler, block, redraws, first_tile, key: draw_tiles(
            sampler, block, first_tile, key
        )

    def implementation(sampler, block, redraws, first_tile, key):
        base, rejected, redrawn = redraws
        base = base[: block.size]
        per_tile = values_per_tile(sampler)
        for start in range(0, block.size, per_tile):
            for i in range(start, start + per_tile, CACHE_LINE // block.itemsize):
                prefetch(block, i)  # or else the stores, all at the end, wait for memory
            tile = base[start : start + per_tile]
            draw_tiles(sampler, tile, first_tile + start // per_tile, key)
        redraw(sampler, base, rejected, redrawn, first_tile, key)
        for i in range(block.size):
            block[i] = finished(base[i], sampler, block)

    return implementation


@part
def draw_tiles(sampler, block, first_tile, key):
    """Fill a block with the values of attempt 0."""
    per_tile = values_per_tile(sampler)
    for start in range(0, block.size, per_tile):
        tile = block[start : start + per_tile]
        first_lane = np.uint64(first_tile + start // per_tile) * np.uint64(TILE_LANES)
        for j in range(HALF_TILE):  # two lanes: four vectors of a CPU with AVX-512 are under way
            near, far = first_lane + np.uint64(j), first_lane + np.uint64(j + HALF_TILE)
            put(tile, j, lane_values(sampler, near, np.uint64(0), key), sampler)
            put(tile, j + HALF_TILE, lane_values(sampler, far, np.uint64(0), key), sampler)


@part
def redraw(sampler, base, rejected, redrawn, first_tile, key):
    """Replace the values that the sampler rejects, all of a block's together at each attempt."""
    per_tile = values_per_tile(sampler)
    count = find_rejected(base, rejected, sampler.lower, sampler.upper)
    attempt = np.uint64(0)
    while count > 0:
        attempt += np.uint64(1)
        padded = (count + SIMD - 1) // SIMD * SIMD
        for i in range(count, padded):
            rejected[i] = rejected[count - 1]
        for i in range(padded):
            tile, within = divmod(np.uint64(rejected[i]), np.uint64(per_tile))
            place, lane = divmod(within, np.uint64(TILE_LANES))
            lane += (np.uint64(first_tile) + tile) * np.uint64(TILE_LANES)
            redrawn[i] = value_at(sampler, place, lane, attempt, key)
        left = 0
        for i in range(count):
            z = redrawn[i]
            element = rejected[i]
            base[element] = z
            rejected[left] = element
            left += (z < sampler.lower) | (z > sampler.upper)
        count = left


@intrinsic
def prefetch(typingctx, block, place):
    """Bring the cache line of block[place] near, to be written."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        line = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch.p0",
            fnty=ir.FunctionType(ir.VoidType(), [line.type, number, number, number]),
        )
        to_write, nearest, data = number(1), number(3), number(1)
        builder.call(hint, [line, to_write, nearest, data])
        return context.get_dummy_value()

    return types.void(block, types.intp), codegen


@intrinsic
def outside(typingctx, block, start, lower, upper):
    """Return the 64-bit mask of those of block[start : start + 64] not in [lower, upper]."""

    def codegen(context, builder, signature, args):
        array_type = signature.args[0]
        array = context.make_array(array_type)(context, builder, args[0])
        vector = ir.VectorType(context.get_value_type(array_type.dtype), SCAN)
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
        values = builder.load(pointer, align=array_type.dtype.bitwidth // 8)

        def spread(scalar):
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), SCAN), [0] * SCAN)
            undefined = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
            return builder.shuffle_vector(first, undefined, lanes)

        below = builder.fcmp_ordered("<", values, spread(args[2]))
        above = builder.fcmp_ordered(">", values, spread(args[3]))
        return builder.bitcast(builder.or_(below, above), ir.IntType(SCAN))

    return types.uint64(block, types.intp, lower, upper), codegen


@intrinsic
def trailing_zeros(typingctx, mask):
    """Return the index of the lowest set bit of a uint64; 64 if there is none."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def count_ones(typingctx, mask):
    """Return the number of set bits of a uint64."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@part
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


@part
def fill_run(out, first, key, sampler, work):
    """Fill `out` with the elements that follow each other from number `first`."""
    one_tile, redraws = work
    per_tile = values_per_tile(sampler)
    done = 0
    while done < out.size:
        tile, skip = divmod(first + done, per_tile)
        left = out.size - done
        whole = skip == 0 and left >= per_tile
        if whole:
            count = min(BLOCK_TILES, left // per_tile) * per_tile
            block = out[done : done + count]
        else:
            count = min(per_tile - skip, left)
            block = one_tile
        draw(sampler, block, redraws, tile, key)
        if not whole:
            for i in range(count):  # a slice assignment would take seconds to compile
                out[done + i] = one_tile[skip + i]
        done += count


def window_kernel(kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    """Return the kernel that `fills_cpu.Filler` calls, and its signature.

    Parameters
    ----------
    kind : type
        Of the sampler.
    dtype : numpy.dtype
        Of what is stored.
    """
    stored = numpy_support.from_dtype(dtype)
    real = types.float64 if dtype == np.float64 else types.float32
    fields = len(kind._fields)  # pyright: ignore[reportAttributeAccessIssue]

    @apart
    def fill(out, size, begin, window, key, sampler):
        never_inline()
        align_stack()
        out = carray(out, size)
        numbers = to_fixed_tuple(carray(sampler, fields), fields)  # pyright: ignore[reportCallIssue]
        sampler = kind(*numbers)
        key = key[0], key[1], key[2]
        base, run, axes = window[0], window[1], window[2]
        work = scratch(sampler, out)
        done = 0
        while done < size:
            row, column = divmod(begin + done, run)
            first = base + column
            for axis in range(axes - 1, -1, -1):
                row, index = divmod(row, window[3 + axis])
                first += index * window[3 + axes + axis]
            count = min(run - column, size - done)
            fill_run(out[done : done + count], first, key, sampler, work)
            done += count

    def fill_window(out, size, begin, window, key, sampler):
        before = usual_arithmetic()
        fill(out, size, begin, window, key, sampler)
        restore_arithmetic(before)

    integer = types.int64
    signature = types.void(
        types.CPointer(stored),
        integer,
        integer,
        types.CPointer(integer),
        types.CPointer(types.uint64),
        types.CPointer(real),
    )
    return fill_window, signature
