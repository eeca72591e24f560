"""Random bits: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011).

The four 32-bit words travel in 64-bit lanes whose upper halves may hold anything: a
multiplication takes the low halves, so masking is needed only there, and x86 (``vpmuludq``) and
CUDA (``mul.wide.u32``) give even that mask for free. Held so, the loop over lanes vectorises.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .compiling import intrinsic, on_cuda, scalar

MULTIPLIER_0 = np.uint64(0xD2511F53)
MULTIPLIER_1 = np.uint64(0xCD9E8D57)
WEYL_0 = np.uint64(0x9E3779B9)  # golden ratio
WEYL_1 = np.uint64(0xBB67AE85)  # sqrt(3) - 1
LOW_32 = np.uint64(0xFFFFFFFF)
U32 = np.uint64(32)
ROUNDS = 10


@intrinsic
def multiply(typingctx, word, multiplier):
    """Return the product of the low 32 bits of two uint64."""

    def codegen(context, builder, signature, args):
        if on_cuda(builder):  # written out: NVVM adds a zero to each upper half otherwise
            kind = ir.FunctionType(ir.IntType(64), [ir.IntType(32)] * 2)
            assembly = ir.InlineAsm(kind, "mul.wide.u32 $0, $1, $2;", "=l,r,r")
            return builder.call(assembly, [builder.trunc(a, ir.IntType(32)) for a in args])
        return builder.mul(*[builder.and_(a, a.type(0xFFFFFFFF)) for a in args])

    return types.uint64(types.uint64, types.uint64), codegen


@scalar
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Return the four output words of a counter under a key.

    Arguments and results are uint64. Only the low 32 bits of a counter word and of a result word
    count; the key words must be below 2**32.
    """
    for _ in range(ROUNDS):
        p0 = multiply(c0, MULTIPLIER_0)
        p1 = multiply(c2, MULTIPLIER_1)
        c0, c1, c2, c3 = (p1 >> U32) ^ c1 ^ k0, p1, (p0 >> U32) ^ c3 ^ k1, p0
        k0 = (k0 + WEYL_0) & LOW_32
        k1 = (k1 + WEYL_1) & LOW_32
    return c0, c1, c2, c3


@scalar
def lane_words(lane, attempt, stream, k0, k1):
    """Return the four words of a lane (uint64) at an attempt of a stream."""
    return philox4x32(lane, lane >> U32, attempt, stream, k0, k1)
