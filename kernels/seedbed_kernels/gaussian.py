"""Distributions on unit floats: the Box-Muller transform (1958), without libm.

Logarithm, sine and cosine are minimax polynomials evaluated by `fma`, so that every target gives
the same bits. Largest errors over all inputs are stated with each and checked by the tests.
"""

import hashlib
from typing import Any

import numpy as np
from llvmlite import ir

from .compiling import intrinsic, on_cuda, scalar
from .floats import (
    F32,
    F64,
    bits_float32,
    bits_float64,
    float32_bits,
    float64_bits,
    fma,
    half_turn_float32_closed_closed,
    half_turn_float64_closed_closed,
    unit_float32_open_closed,
    unit_float64_open_closed,
)


def in_constant_memory(builder: Any, constants: list[Any]) -> list[Any]:
    """Return float64 constants read from a GPU's constant memory.

    There a load is one instruction; a constant of 64 bits in the code is two.
    """
    kind = ir.ArrayType(ir.DoubleType(), len(constants))
    held = np.array([each.constant for each in constants]).tobytes()
    name = f"constants_{hashlib.sha256(held).hexdigest()}"  # modules that are linked may share it
    table = builder.module.globals.get(name)
    if table is None:
        table = ir.GlobalVariable(builder.module, kind, name, addrspace=4)
        table.initializer = kind(constants)  # pyright: ignore[reportAttributeAccessIssue]
        table.align = 8  # pyright: ignore[reportAttributeAccessIssue]
        table.linkage = "linkonce_odr"  # not "internal": LLVM would put the constants back
    index = ir.IntType(32)
    return [builder.load(builder.gep(table, [index(0), index(i)])) for i in range(len(constants))]


def polynomial(*coefficients: np.floating) -> Any:
    """Return a function for a polynomial, lowest power first, by Horner's rule with fma.

    It is written out in LLVM code: a loop over the coefficients is unrolled on some targets only.
    """

    @intrinsic
    def value(typingctx, x):
        def codegen(context, builder, signature, args):
            constants = [ir.Constant(args[0].type, float(c)) for c in coefficients]
            if on_cuda(builder) and isinstance(args[0].type, ir.DoubleType):
                constants = in_constant_memory(builder, constants)
            result = constants[-1]
            for constant in reversed(constants[:-1]):
                result = builder.fma(result, args[0], constant)
            return result

        return x(x), codegen

    return value


# Minimax polynomials: -2 ln(1 + f) / f on sqrt(1/2) <= 1 + f <= sqrt(2), and
# sin(pi t) / t and cos(pi t) in t * t on |t| <= 1/2.
log_ratio_float32 = polynomial(
    F32(-2.0),
    F32(0.99999976),
    F32(-0.66668373),
    F32(0.5000415),
    F32(-0.3991366),
    F32(0.33124825),
    F32(-0.2990464),
    F32(0.28733477),
    F32(-0.17444193),
)
sin_ratio_float32 = polynomial(
    F32(3.1415927),
    F32(-5.16771),
    F32(2.5500698),
    F32(-0.5982421),
    F32(0.07756039),
)
cos_pi_float32 = polynomial(
    F32(1.0),
    F32(-4.934802),
    F32(4.058709),
    F32(-1.3352121),
    F32(0.23493756),
    F32(-0.024396716),
)
log_ratio_float64 = polynomial(
    F64(-2.0),
    F64(0.9999999999999685),
    F64(-0.6666666666666242),
    F64(0.5000000000155644),
    F64(-0.40000000002452),
    F64(0.3333333310983735),
    F64(-0.2857142812440032),
    F64(0.2500001430386271),
    F64(-0.22222257797825432),
    F64(0.19999524552251557),
    F64(-0.18180366428391528),
    F64(0.16675160214066334),
    F64(-0.15417158928775143),
    F64(0.1421208328974906),
    F64(-0.12933447561662986),
    F64(0.1262201453583964),
    F64(-0.14189328205155216),
    F64(0.13387285812734387),
    F64(-0.06138270581701537),
)
sin_ratio_float64 = polynomial(
    F64(3.141592653589793),
    F64(-5.167712780049969),
    F64(2.550164039877294),
    F64(-0.5992645293187382),
    F64(0.0821458865698926),
    F64(-0.007370430478762461),
    F64(0.0004662996887731736),
    F64(-2.1903185420805378e-05),
    F64(7.69472732830679e-07),
)
cos_pi_float64 = polynomial(
    F64(1.0),
    F64(-4.934802200544676),
    F64(4.058712126416498),
    F64(-1.3352627688434646),
    F64(0.23533063012980845),
    F64(-0.025806888739358047),
    F64(0.0019295562836343031),
    F64(-0.00010456658087273931),
    F64(4.149591867063527e-06),
)
MINUS_2_LN_2_F64 = F64(-1.3862943611198906)
MINUS_2_LN_2_F32 = F32(MINUS_2_LN_2_F64 * 2.0**-23)  # for an exponent times 2**23
ONE_F32 = F32(1.0)
ONE_F64 = F64(1.0)
SQRT_HALF_BITS_F32 = np.int32(0x3F3504F3)
SQRT_HALF_BITS_F64 = np.int64(0x3FE6A09E667F3BCD)
# One Newton step; the minimum is for a zero, of either sign, whose root is itself.
SQRT_PTX = """{
.reg .f32 inverse, root, half, rest;
abs.f32 inverse, $1;
rsqrt.approx.ftz.f32 inverse, inverse;
min.f32 inverse, inverse, 0f5F000000;
mul.rn.f32 root, $1, inverse;
mul.rn.f32 half, inverse, 0f3F000000;
neg.f32 rest, root;
fma.rn.f32 rest, rest, root, $1;
fma.rn.f32 $0, rest, half, root;
}"""
EXPONENT_F32 = np.int32(-(2**23))  # and the sign
SIGN_F32 = np.int32(-(2**31))
SIGN_F64 = np.int64(-(2**63))
MANTISSA_F64 = np.int64(52)


@intrinsic
def square_root(typingctx, x):
    """Return the square root, rounded once.

    float32 on CUDA: x must be zero or at least 2**-100. There these are the very instructions of
    ``sqrt.rn.f32`` less its branch for other values, whose call costs a kernel its registers.
    """

    def codegen(context, builder, signature, args):
        real = args[0].type
        kind = ir.FunctionType(real, [real])
        if on_cuda(builder) and isinstance(real, ir.FloatType):
            return builder.call(ir.InlineAsm(kind, SQRT_PTX, "=f,f"), args)
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [real]), args)

    return x(x), codegen


@scalar
def minus_two_log_float32(u):
    """Return -2 ln(u) for u in (0, 1]."""
    bits = float32_bits(u)
    exponent = np.int32(np.int32(bits - SQRT_HALF_BITS_F32) & EXPONENT_F32)  # times 2**23
    f = bits_float32(np.int32(bits - exponent)) - ONE_F32
    return fma(F32(exponent), MINUS_2_LN_2_F32, f * log_ratio_float32(f))


@scalar
def minus_two_log_float64(u):
    """Return -2 ln(u) for u in (0, 1]."""
    bits = float64_bits(u)
    exponent = (bits - SQRT_HALF_BITS_F64) >> MANTISSA_F64
    f = bits_float64(bits - (exponent << MANTISSA_F64)) - ONE_F64
    return fma(F64(exponent), MINUS_2_LN_2_F64, f * log_ratio_float64(f))


@scalar
def box_muller_float32(radius_word, angle_word):
    """Return two independent standard normal values from two words.

    The angle is uniform on the right half circle; the top bit of its word mirrors it to the left.
    """
    u = unit_float32_open_closed(radius_word)
    t = half_turn_float32_closed_closed(angle_word)
    y = t * t
    radius = square_root(minus_two_log_float32(u))
    sign = np.int32(angle_word) & SIGN_F32
    cosine = bits_float32(np.int32(float32_bits(cos_pi_float32(y)) ^ sign))
    return radius * cosine, radius * (t * sin_ratio_float32(y))


@scalar
def box_muller_float64(radius_high, radius_low, angle_high, angle_low):
    """Return two independent standard normal values from four words; see the float32 twin."""
    u = unit_float64_open_closed(radius_high, radius_low)
    t = half_turn_float64_closed_closed(angle_high, angle_low)
    y = t * t
    radius = square_root(minus_two_log_float64(u))
    sign = np.int64(angle_high << np.uint64(32)) & SIGN_F64
    cosine = float64_bits(cos_pi_float64(y)) ^ sign
    return radius * bits_float64(cosine), radius * (t * sin_ratio_float64(y))
