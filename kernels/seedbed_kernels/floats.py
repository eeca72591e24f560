"""Unit floats: from random words to floating point, and from float32 to the 16-bit formats.

Everything here is exact or correctly rounded, so every target gives the same bits: integer
operations, conversions, powers of two, and `fma` written out, because a target that contracts
``a * b + c`` on its own (CUDA) would differ from one that does not (Numba on a CPU).

Names say the interval: ``closed`` and ``open`` for its lower, then its upper end.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .compiling import cpu_has, intrinsic, on_arm64, on_cuda, scalar

F32 = np.float32
F64 = np.float64
TWO_M24 = F32(2.0**-24)
TWO_M32 = F32(2.0**-32)
TWO_M33 = F32(2.0**-33)
TWO_M31_F64 = F64(2.0**-31)
TWO_M32_F64 = F64(2.0**-32)
TWO_M53_F64 = F64(2.0**-53)
TWO_M63_F64 = F64(2.0**-63)
TWO_M64_F64 = F64(2.0**-64)
TWO_M65_F64 = F64(2.0**-65)
HALF_F64 = F64(0.5)
HALF_F32 = F32(0.5)
HALF_BITS_F32 = np.int32(0x3F000000)
SMALLEST_NORMAL_FLOAT16 = np.int32(0x38800000)  # 2**-14 as float32
TWO_52_F64 = F64(2.0**52)
TWO_52_BITS = np.uint64(0x4330000000000000)
LOW_31 = np.uint64(0x7FFFFFFF)
LOW_32 = np.uint64(0xFFFFFFFF)


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c rounded once; all three of one floating type."""
    if not (a == b == c and isinstance(a, types.Float)):
        return None

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, b, c), codegen


@intrinsic
def divide(typingctx, a, b):
    """Return a / b, rounded once, without Python's error for a zero; both of one floating type."""
    if not (a == b and isinstance(a, types.Float)):
        return None

    def codegen(context, builder, signature, args):
        return builder.fdiv(*args)

    return a(a, b), codegen


def _bitcast(source, target):
    """Return an intrinsic that reads the bits of one type as another of the same width."""

    @intrinsic
    def cast(typingctx, value):
        if value != source:
            return None

        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))

        return target(value), codegen

    return cast


float32_bits = _bitcast(types.float32, types.int32)
bits_float32 = _bitcast(types.int32, types.float32)
float64_bits = _bitcast(types.float64, types.int64)
bits_float64 = _bitcast(types.int64, types.float64)


@intrinsic
def upper_24_bits(typingctx, word):
    """Return the upper 24 bits of a word (uint64) as an int32."""

    def codegen(context, builder, signature, args):
        (word,), narrow = args, ir.IntType(32)
        if on_cuda(builder):  # one instruction; NVVM makes two of the other
            return builder.lshr(builder.trunc(word, narrow), narrow(8))
        clean = builder.and_(word, word.type(0xFFFFFFFF))
        return builder.trunc(builder.lshr(clean, word.type(8)), narrow)

    return types.int32(types.uint64), codegen


@scalar
def unit_float32_closed_open(word):
    """Return u in [0, 1), a multiple of 2**-24, from the upper 24 bits of a word."""
    return F32(upper_24_bits(word)) * TWO_M24


@scalar
def unit_float32_open_closed(word):
    """Return u in [2**-33, 1]: the word plus one half, in units of 2**-32."""
    return fma(F32(np.uint32(word)), TWO_M32, TWO_M33)


@scalar
def half_turn_float32_closed_closed(word):
    """Return t in [-1/2, 1/2] from the lower 31 bits of a word."""
    return F32(np.int32(word << np.uint64(1))) * TWO_M32


@scalar
def word_float64(word):
    """Return a word below 2**32 as float64, exactly, by writing it into the mantissa of 2**52."""
    return bits_float64(np.int64(word | TWO_52_BITS)) - TWO_52_F64


@scalar
def unit_float64_closed_open(high, low):
    """Return u in [0, 1), a multiple of 2**-53: all of `high` and the upper 21 bits of `low`."""
    tail = word_float64((low & LOW_32) >> np.uint64(11)) * TWO_M53_F64
    return fma(word_float64(high & LOW_32), TWO_M32_F64, tail)


@scalar
def unit_float64_open_closed(high, low):
    """Return u in [2**-65, 1]: the 64 bits plus one half, in units of 2**-64."""
    tail = fma(word_float64(low & LOW_32), TWO_M64_F64, TWO_M65_F64)
    return fma(word_float64(high & LOW_32), TWO_M32_F64, tail)


@scalar
def half_turn_float64_closed_closed(high, low):
    """Return t in [-1/2, 1/2]: the lower 31 bits of `high`, then all of `low`."""
    head = fma(word_float64(high & LOW_31), TWO_M31_F64, -HALF_F64)
    return fma(word_float64(low & LOW_32), TWO_M63_F64, head)


def _flags(builder, value):
    """Let CUDA take its max and min: they differ from these only for a bound of -0.

    Not in float64, which has no such instructions: they would be eight for the three of a choice.
    """
    single = isinstance(value.type, ir.FloatType)
    return ("nnan", "nsz") if single and on_cuda(builder) else ()


@intrinsic
def at_least(typingctx, value, low):
    """Return `value`, or `low` if the value is not greater; `low` must not be -0."""

    def codegen(context, builder, signature, args):
        value, low = args
        greater = builder.fcmp_ordered(">", value, low, flags=_flags(builder, value))
        return builder.select(greater, value, low)

    return value(value, low), codegen


@intrinsic
def at_most(typingctx, value, high):
    """Return `value`, or `high` if that is less; `high` must not be -0."""

    def codegen(context, builder, signature, args):
        value, high = args
        less = builder.fcmp_ordered("<", high, value, flags=_flags(builder, value))
        return builder.select(less, high, value)

    return value(value, high), codegen


@scalar
def scale_shift_clamp(base, scale, shift, low, high):
    """Return ``base * scale + shift``, rounded once, kept in [low, high]; no bound is -0."""
    return at_most(at_least(fma(base, scale, shift), low), high)


@intrinsic
def rounded_to_bfloat16(typingctx, value):
    """Return the bits of a float32 rounded to bfloat16 by the GPU, if it is an 8.0 or later."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(16), [ir.FloatType()])
        assembly = ir.InlineAsm(kind, "cvt.rn.bf16.f32 $0, $1;", "=h,f")
        return builder.call(assembly, args)

    return types.uint16(types.float32), codegen


# Numba widens integer arithmetic to 64 bits; the casts below keep it, and its vectors, at 32.
@scalar
def bfloat16_bits(value):
    """Return a finite float32 rounded to the nearest bfloat16, ties to even, as its bits."""
    bits = float32_bits(value)
    odd = np.int32((bits >> 16) & 1)
    return np.uint16(np.int32(bits + np.int32(0x7FFF) + odd) >> 16)


@intrinsic
def has_float16(typingctx):
    """Return whether the processor itself rounds to float16."""

    def codegen(context, builder, signature, args):
        found = on_cuda(builder) or on_arm64(context)  # every one of these does
        found = found or cpu_has(context, "f16c", "x86-64-v3", "x86-64-v4")
        return ir.Constant(ir.IntType(1), found)

    return types.boolean(), codegen


@intrinsic
def rounded_to_float16(typingctx, value):
    """Return the bits of a float32 rounded to float16 by the processor."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return types.int16(types.float32), codegen


@scalar
def float16_bits(value):
    """Return a float32 below 65520 in size rounded to the nearest float16, ties to even."""
    if has_float16():
        return rounded_to_float16(value)
    bits = float32_bits(value)
    sign = np.int32((bits >> 16) & 0x8000)
    magnitude = np.int32(bits & 0x7FFFFFFF)
    # Normal: round off 13 bits and rebias the exponent from 127 to 15.
    odd = np.int32((magnitude >> 13) & 1)
    normal = np.int32(np.int32(magnitude + np.int32(0xFFF - (112 << 23)) + odd) >> 13)
    # Subnormal: adding 1/2 lets the float adder round at 2**-24, the spacing of such float16.
    subnormal = np.int32(float32_bits(bits_float32(magnitude) + HALF_F32) - HALF_BITS_F32)
    return np.int16((normal if magnitude >= SMALLEST_NORMAL_FLOAT16 else subnormal) | sign)


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
"""From the precision computed in to what an array of a kernel holds, by the name of its dtype."""
