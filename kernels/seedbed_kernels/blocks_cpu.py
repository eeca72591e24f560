"""Matrix products on the CPU, for matrices kept as blocks of 16 x 16.

Each block is contiguous, so both operands of a product stream through the caches as they lie, and
nothing is packed. An element of a product of two blocks is a chain of 16 fmas, and products are
added up in order: vectors run across a block's columns, so their width changes no bit. Sums of
sums also round less than one long chain.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiling import cpu_has, intrinsic, kernel

SIDE = 16
BLOCK = SIDE * SIDE
WIDE_ROWS = 16  # rows of a float32 block summed at a time where 512-bit registers hold them
NARROW_ROWS = 4  # and elsewhere; half as many in float64


def _rows(context: Any, bits: int) -> int:
    """Return how many rows of a block's sums stay in registers on the CPU compiled for."""
    wide = cpu_has(context, "avx512f", "x86-64-v4")
    return (WIDE_ROWS if wide else NARROW_ROWS) * 32 // bits


def _accumulate(transposed: bool) -> Any:
    """Return an intrinsic that adds sum A[n] B[n], or sum A[n].T B[n], to a block.

    The product of a pair is a chain of fmas that starts at zero; so does the sum over n, which is
    added to the block last.
    """

    @intrinsic
    def accumulate(typingctx, out, at, a, a_at, a_step, b, b_at, b_step, count):
        def codegen(context, builder, signature, args):
            index, lane = ir.IntType(64), ir.IntType(32)
            dtype = signature.args[0].dtype
            vector = ir.VectorType(context.get_value_type(dtype), SIDE)
            align = dtype.bitwidth // 8
            undefined = ir.Constant(vector, ir.Undefined)
            everywhere = ir.Constant(ir.VectorType(lane, SIDE), [0] * SIDE)
            fma = builder.module.declare_intrinsic(
                f"llvm.fma.v{SIDE}f{dtype.bitwidth}",
                fnty=ir.FunctionType(vector, [vector] * 3),
            )

            def place(argument, offset):
                array = context.make_array(signature.args[argument])
                return builder.gep(array(context, builder, args[argument]).data, [offset])

            def row(block, number):
                return builder.bitcast(
                    builder.gep(block, [index(number * SIDE)]), vector.as_pointer()
                )

            target, first_a, first_b = place(0, args[1]), place(2, args[3]), place(5, args[6])
            count = args[8]
            rows = _rows(context, dtype.bitwidth)
            for top in range(0, SIDE, rows):  # as many rows of the block as registers hold
                before = builder.basic_block
                loop = builder.append_basic_block("products")
                after = builder.append_basic_block("sums")
                builder.branch(loop)
                builder.position_at_end(loop)
                n, block_a, block_b = (
                    builder.phi(kind) for kind in (index, first_a.type, first_b.type)
                )
                sums = [builder.phi(vector) for _ in range(rows)]
                new: list[Any] = [ir.Constant(vector, [0.0] * SIDE)] * rows
                for inner in range(SIDE):  # new[i] += A[i, inner] * B[inner, :]
                    right = builder.load(row(block_b, inner), align=align)
                    for i in range(rows):
                        offset = (inner, top + i) if transposed else (top + i, inner)
                        element = builder.gep(block_a, [index(offset[0] * SIDE + offset[1])])
                        left = builder.insert_element(undefined, builder.load(element), lane(0))
                        left = builder.shuffle_vector(left, undefined, everywhere)
                        new[i] = builder.call(fma, [left, right, new[i]])
                new = [builder.fadd(x, y) for x, y in zip(sums, new, strict=True)]
                steps = (
                    (n, index(0), builder.add(n, index(1))),
                    (block_a, first_a, builder.gep(block_a, [args[4]])),
                    (block_b, first_b, builder.gep(block_b, [args[7]])),
                    *((sums[i], ir.Constant(vector, [0.0] * SIDE), new[i]) for i in range(rows)),
                )
                for value, start, following in steps:
                    value.add_incoming(start, before)
                    value.add_incoming(following, loop)
                builder.cbranch(builder.icmp_signed("<", steps[0][2], count), loop, after)
                builder.position_at_end(after)
                for i in range(rows):
                    pointer = row(target, top + i)
                    value = builder.fadd(builder.load(pointer, align=align), new[i])
                    builder.store(value, pointer, align=align)
            return context.get_dummy_value()

        size = types.intp
        return types.void(out, size, a, size, size, b, size, size, size), codegen

    return accumulate


_accumulate_product = _accumulate(transposed=False)
_accumulate_transposed = _accumulate(transposed=True)


@kernel
def add_product(out, at, a, a_at, a_step, b, b_at, b_step, count):
    """Add the sum of A[n] B[n] over `count` > 0 pairs of blocks to a block of `out`.

    Parameters
    ----------
    out : 1-D contiguous array, written
        float32 or float64, as `a` and `b` are.
    at, a_at, b_at : int
        Where in the arrays the block of `out` and the first blocks A and B begin.
    a, b : 1-D contiguous arrays
    a_step, b_step : int
        Elements from one block to the next.
    count : int
    """
    _accumulate_product(out, at, a, a_at, a_step, b, b_at, b_step, count)


@kernel
def add_transposed(out, at, a, a_at, a_step, b, b_at, b_step, count):
    """Add the sum of A[n].T B[n] over `count` > 0 pairs of blocks; see `add_product`."""
    _accumulate_transposed(out, at, a, a_at, a_step, b, b_at, b_step, count)
