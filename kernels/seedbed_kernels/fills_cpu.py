"""Fills on the CPU: runs of a table, for one sampler and one dtype at a time.

A run is drawn block by block: whole tiles into a scratch block that stays in the L1 cache, redraws
there too (truncated normal), and from there scaled, clamped and rounded into the output.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import numpy_support
from numba.extending import intrinsic, overload

from .compiling import kernel, scalar
from .floats import bfloat16_bits, float16_bits, scale_shift_clamp
from .gaussian import (
    normal_float32_at,
    normal_float64_at,
    normals_float32,
    normals_float64,
    uniforms_float32,
    uniforms_float64,
)
from .philox import lane_words
from .samplers import Normal, TruncatedNormal, Uniform

REVISION = 1  # raise when a scalar changes: Numba's cache looks at this file only
TILE_BYTES = 512  # of scratch: 32 lanes of four words
TILE_LANES = 32
BLOCK_BYTES = 32 * TILE_BYTES
SCAN = 64  # values looked at together for rejection
SIMD = 16  # redraws are padded to a multiple of the widest vector

LANE_VALUES = {
    (Uniform, types.float32): uniforms_float32,
    (Uniform, types.float64): uniforms_float64,
    (Normal, types.float32): normals_float32,
    (Normal, types.float64): normals_float64,
    (TruncatedNormal, types.float32): normals_float32,
    (TruncatedNormal, types.float64): normals_float64,
}
NORMAL_AT = {types.float32: normal_float32_at, types.float64: normal_float64_at}


# Where sampler or precision decides, Numba picks the code by type: these bodies are never run.
def lane_values(sampler, w0, w1, w2, w3):
    """Return the values that a sampler makes of a lane's four words."""


def put(tile, lane, values):
    """Store the values of a lane into its tile."""


def normal_at(block, value, w0, w1, w2, w3):
    """Return value number `value` of a lane, standard normal, in the precision of `block`."""


def redraw(sampler, block, rejected, redrawn, first_tile, key):
    """Replace the values of a block that its sampler rejects."""


def scratch(sampler):
    """Return the arrays that drawing needs: a block, and its rejected and redrawn values."""


def rounded(value, out):
    """Return a value as the elements of `out` hold it."""


@overload(lane_values)
def _lane_values(sampler, w0, w1, w2, w3):
    values = LANE_VALUES[sampler.instance_class, sampler[0]]
    return lambda sampler, w0, w1, w2, w3: values(w0, w1, w2, w3)


@overload(put)
def _put(tile, lane, values):
    if len(values) == 4:

        def four(tile, lane, values):
            tile[lane], tile[lane + 32], tile[lane + 64], tile[lane + 96] = values

        return four

    def two(tile, lane, values):
        tile[lane], tile[lane + 32] = values

    return two


@overload(normal_at)
def _normal_at(block, value, w0, w1, w2, w3):
    at = NORMAL_AT[block.dtype]
    return lambda block, value, w0, w1, w2, w3: at(value, w0, w1, w2, w3)


@overload(scratch)
def _scratch(sampler):
    dtype = numpy_support.as_dtype(sampler[0])
    size = BLOCK_BYTES // dtype.itemsize

    def implementation(sampler):
        return np.empty(size, dtype), np.empty(size + SIMD, np.int64), np.empty(size + SIMD, dtype)

    return implementation


@overload(rounded)
def _rounded(value, out):
    if out.dtype == types.uint16:
        return lambda value, out: bfloat16_bits(value)
    if out.dtype == types.int16:
        return lambda value, out: float16_bits(value)
    return lambda value, out: value


@overload(redraw)
def _redraw(sampler, block, rejected, redrawn, first_tile, key):
    if sampler.instance_class is not TruncatedNormal:
        return lambda sampler, block, rejected, redrawn, first_tile, key: None


    def implementation(sampler, block, rejected, redrawn, first_tile, key):
        k0, k1, stream = key
        per_tile = TILE_BYTES // block.itemsize
        count = find_rejected(block, rejected, sampler.lower, sampler.upper)
        attempt = np.uint64(0)
        while count > 0:
            attempt += np.uint64(1)
            padded = (count + SIMD - 1) // SIMD * SIMD
            for i in range(count, padded):
                rejected[i] = rejected[count - 1]
            for i in range(padded):
                element = rejected[i]
                lane = np.uint64((first_tile + element // per_tile) * TILE_LANES + element % TILE_LANES)
                words = lane_words(lane, attempt, stream, k0, k1)
                redrawn[i] = normal_at(block, (element % per_tile) // TILE_LANES, *words)
            left = 0
            for i in range(count):
                z = redrawn[i]
                element = rejected[i]
                block[element] = z
                rejected[left] = element
                left += (z < sampler.lower) | (z > sampler.upper)
            count = left

    return implementation


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
    """Return the index of the lowest set bit of a uint64 that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@scalar
def find_rejected(block, rejected, lower, upper):
    """List the indices of the values not in [lower, upper]; return how many there are."""
    count = 0
    for start in range(0, block.size, SCAN):
        mask = outside(block, start, lower, upper)
        while mask:
            rejected[count] = start + trailing_zeros(mask)
            count += 1
            mask &= mask - np.uint64(1)
    return count


@scalar
def draw_tiles(sampler, block, first_tile, key):
    """Fill a block of whole tiles with the values of attempt 0."""
    k0, k1, stream = key
    per_tile = TILE_BYTES // block.itemsize
    for start in range(0, block.size, per_tile):
        tile = block[start : start + per_tile]
        first_lane = np.uint64(first_tile + start // per_tile) * np.uint64(TILE_LANES)
        for j in range(TILE_LANES):
            words = lane_words(first_lane + np.uint64(j), np.uint64(0), stream, k0, k1)
            put(tile, j, lane_values(sampler, *words))


@scalar
def fill_run(out, first, key, sampler, block, rejected, redrawn):
    """Fill `out` with the elements that follow each other from number `first`."""
    per_tile = TILE_BYTES // block.itemsize
    done = 0
    while done < out.size:
        first_tile, skip = divmod(first + done, per_tile)
        count = min(block.size - skip, out.size - done)
        tiles = block[: (skip + count + per_tile - 1) // per_tile * per_tile]
        draw_tiles(sampler, tiles, first_tile, key)
        redraw(sampler, tiles, rejected, redrawn, first_tile, key)
        part = out[done : done + count]
        values = tiles[skip : skip + count]
        for i in range(count):
            part[i] = rounded(
                scale_shift_clamp(
                    values[i], sampler.scale, sampler.shift, sampler.low, sampler.high
                ),
                out,
            )
        done += count


@kernel
def fill(out, first, key, sampler):
    """Fill a contiguous run.

    Parameters
    ----------
    out : 1-D contiguous array, written
        float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    first : int
        Number of the first element in the C order of the full table.
    key : tuple of three uint64
        Low and high word of the seed, and the stream.
    sampler : Uniform, Normal or TruncatedNormal
        float64 parameters for float64 output, float32 parameters for all others.
    """
    block, rejected, redrawn = scratch(sampler)
    fill_run(out, first, key, sampler, block, rejected, redrawn)


@kernel
def fill_window(out, begin, base, shape, strides, run, key, sampler):
    """Fill elements `begin` and following of a window, in the window's own C order.

    Parameters
    ----------
    out : 1-D contiguous array, written
        As in `fill`.
    begin : int
        Position in the window of the first element of `out`.
    base : int
        Number, in the full table, of the window's first element.
    shape, strides : 1-D int64 arrays
        Outer axes of the window: lengths, and steps in elements of the full table.
    run : int
        Elements that follow each other in the full table: the window's inner axes.
    key, sampler
        As in `fill`.
    """
    block, rejected, redrawn = scratch(sampler)
    done = 0
    while done < out.size:
        row, column = divmod(begin + done, run)
        first = base + column
        for axis in range(shape.size - 1, -1, -1):
            row, index = divmod(row, shape[axis])
            first += index * strides[axis]
        count = min(run - column, out.size - done)
        part = out[done : done + count]
        fill_run(part, first, key, sampler, block, rejected, redrawn)
        done += count
