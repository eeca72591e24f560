"""What the CPU's kernels need of LLVM: memory on the stack, pointers, prefetching, bit masks.

Kernels have a C interface and nothing of Numba's run time, so memory is the stack's or the
caller's, and arrays are views of pointers.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

from .compiling import inlined, intrinsic

CACHE_LINE = 64  # bytes
SCAN = 64  # values looked at together for rejection


def _array(context: Any, builder: Any, kind: Any, pointer: Any, size: Any) -> Any:
    """Return the LLVM value of a contiguous array of memory that nobody owns."""
    array = context.make_array(kind)(context, builder)
    itemsize = ir.IntType(64)(kind.dtype.bitwidth // 8)
    populate_array(array, pointer, [size], [itemsize], itemsize, meminfo=None)
    return array._getvalue()


def stack_array(size: int, dtype: Any) -> Any:
    """Return a function that makes an array on the stack, which lasts until the kernel ends.

    It begins at a cache line.
    """

    @intrinsic
    def array(typingctx):
        def codegen(context, builder, signature, args):
            memory = cgutils.alloca_once(builder, context.get_data_type(dtype), size=size)
            memory.align = CACHE_LINE
            return _array(context, builder, signature.return_type, memory, ir.IntType(64)(size))

        return types.Array(dtype, 1, "C")(), codegen

    return array


@intrinsic
def moved(typingctx, pointer, count):
    """Return a pointer moved by some elements."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic
def words_at(typingctx, address):
    """Return an address as a pointer to uint64."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint64)(types.int64), codegen


@intrinsic
def numbers_at(typingctx, pointer, count):
    """Return the first numbers of a pointer's, a constant count, as a tuple."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    size = count.literal_value

    def codegen(context, builder, signature, args):
        indices = (ir.IntType(64)(i) for i in range(size))
        loaded = [builder.load(builder.gep(args[0], [i])) for i in indices]
        return context.make_tuple(builder, signature.return_type, loaded)

    return types.UniTuple(pointer.dtype, size)(pointer, count), codegen


@intrinsic
def view(typingctx, pointer, start, size):
    """Return the elements from number `start` of a pointer's as an array."""

    def codegen(context, builder, signature, args):
        first = builder.gep(args[0], [args[1]])
        return _array(context, builder, signature.return_type, first, args[2])

    return types.Array(pointer.dtype, 1, "C")(pointer, types.int64, types.int64), codegen


@intrinsic
def section(typingctx, array, start, size):
    """Return the elements from number `start` of an array; unlike a slice, unchecked."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        first = builder.gep(data, [args[1]])
        return _array(context, builder, signature.return_type, first, args[2])

    return array(array, types.int64, types.int64), codegen


@intrinsic
def copy_values(typingctx, out, block, start, count):
    """Copy a constant count of values from an array to a pointer, by one load and one store."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    size = count.literal_value

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(args[0].type.pointee, size).as_pointer()
        array = context.make_array(signature.args[1])(context, builder, args[1])
        align = signature.args[1].dtype.bitwidth // 8
        source = builder.bitcast(builder.gep(array.data, [args[2]]), vector)
        target = builder.bitcast(args[0], vector)
        builder.store(builder.load(source, align=align), target, align=align)
        return context.get_dummy_value()

    return types.void(out, block, types.int64, count), codegen


@inlined
def copy_row(out, block, start, size):
    """Copy values from an array to a pointer; a general loop would be slow for a few."""
    i = 0
    while i + 16 <= size:
        copy_values(moved(out, i), block, start + i, 16)
        i += 16
    while i + 4 <= size:
        copy_values(moved(out, i), block, start + i, 4)
        i += 4
    while i < size:
        copy_values(moved(out, i), block, start + i, 1)
        i += 1


@intrinsic
def store_ramp(typingctx, block, start, first, step, count):
    """Store first, first + step, … to a constant count of elements, by one store; step is constant.

    LLVM unrolls so short a loop, and then does not make a vector of it.
    """
    if not (isinstance(step, types.IntegerLiteral) and isinstance(count, types.IntegerLiteral)):
        return None
    steps = [step.literal_value * i for i in range(count.literal_value)]

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        vector = ir.VectorType(args[2].type, len(steps))
        undefined, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
        everywhere = ir.Constant(ir.VectorType(index, len(steps)), [0] * len(steps))
        values = builder.insert_element(undefined, args[2], index(0))
        values = builder.shuffle_vector(values, undefined, everywhere)
        values = builder.add(values, ir.Constant(vector, steps))
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
        builder.store(values, pointer, align=args[2].type.width // 8)
        return context.get_dummy_value()

    return types.void(block, types.int64, block.dtype, step, count), codegen


@intrinsic
def prefetch(typingctx, pointer, index):
    """Bring the cache line of pointer[index] near, to be written."""

    def codegen(context, builder, signature, args):
        line = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch.p0",
            fnty=ir.FunctionType(ir.VoidType(), [line.type, number, number, number]),
        )
        to_write, nearest, data = number(1), number(3), number(1)
        builder.call(hint, [line, to_write, nearest, data])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


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
