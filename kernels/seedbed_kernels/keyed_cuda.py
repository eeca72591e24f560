"""Drawing rows of keys on a CUDA GPU: what `keyed_cpu` does, with a thread to a lane.

A thread draws a group of neighbouring columns and, where all of them are wanted and the memory of
the row allows it, stores them at once. Threads that are neighbours have groups that are neighbours.
"""

# Numba drops the branches that a sampler never takes.
# pyright: reportPossiblyUnboundVariable=false

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types

from . import draws
from .compiling import intrinsic
from .cuda_shim import cuda
from .layout import FIRST_KEYED_STREAM, LANES, precision, slots
from .redraws_cuda import WAITING, make_redraw, make_rejected, queue_shape
from .samplers import REJECTING


@intrinsic
def store_together(typingctx, out, index, values):
    """Store values that follow each other at once; their place must be aligned for all together."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind, count = context.get_value_type(out.dtype), len(values)
        vector = ir.Constant(ir.VectorType(kind, count), ir.Undefined)
        for i in range(count):
            value = builder.extract_value(args[2], i)
            vector = builder.insert_element(vector, value, ir.IntType(32)(i))
        first = builder.gep(data, [args[1]])
        pointer = builder.bitcast(first, vector.type.as_pointer(first.type.addrspace))
        builder.store(vector, pointer, align=count * out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(out, index, values), codegen


def make_kernel(sampler: type, dtype: str, native: bool) -> Callable[..., None]:
    """Return the Python function of the kernel that `fills_cuda.KeyedFiller` launches.

    Its parameters are the output, the keys, the first position in the rows and the one after the
    last, the first column and the number of columns, elements of the output from one row to the
    next, whether groups are aligned there, the first row and the number of rows, the key and the
    sampler.
    """
    real = precision(np.dtype(dtype))
    group = slots(real)
    rejecting = sampler in REJECTING
    draw, finished = draws.lane_values(sampler, real), draws.finished(sampler, dtype, native)
    lane_finished = draws.lane_finished(sampler, dtype, native)
    queues = queue_shape(sampler, keyed=True)
    if rejecting:
        rejected = make_rejected(sampler, dtype)
        wait, redraw = make_redraw(sampler, dtype, native, keyed=True)

    def kernel(
        out, keys, begin, end, column, width, stride, aligned, first_row, rows, key, sampler
    ):
        queue = cuda.shared.array(queues, np.uint64)
        bottom = top = np.uint32(cuda.threadIdx.x // LANES * WAITING)
        first_group = column // group
        groups = (column + width - 1) // group - first_group + 1
        total, step = rows * groups, np.int64(cuda.gridsize(1))
        row_step, group_step = step // groups, step % groups
        number = np.int64(cuda.grid(1))
        row, own_group = number // groups, number % groups
        while number - cuda.laneid < total or top > bottom:  # warps do not part
            if rejecting and (np.uint32(top - bottom) >= LANES or number - cuda.laneid >= total):
                top = redraw(out, key, sampler, queue, bottom, top)
            else:
                there = number < total
                first = (first_group + own_group) * group - column  # of the group, in its row
                position = (first_row + row) * width + first
                index = (first_row + row) * stride + first
                lane, wanted = np.uint64(0), np.uint32(0)
                if there:
                    lane = np.uint64(keys[first_row + row])
                stream = np.uint64(FIRST_KEYED_STREAM + first_group + own_group)
                values = draw(sampler, lane, np.uint64(0), (key[0], key[1], stream))
                ends = max(-first, begin - position), min(width - first, end - position)
                if there and ends[0] <= 0 and ends[1] >= group and aligned:
                    wanted = np.uint32((1 << group) - 1)
                    store_together(out, index, lane_finished(values, sampler))
                elif there:
                    for slot in range(group):
                        if ends[0] <= slot < ends[1]:
                            out[np.uint64(index + slot)] = finished(values[slot], sampler)
                            wanted = np.uint32(wanted | np.uint32(1 << slot))
                if rejecting:
                    wanted = np.uint32(wanted & rejected(values, sampler))
                    top = wait(queue, top, lane, stream, index, np.uint32(1), wanted)
                number += step
                row += row_step
                own_group += group_step
                if own_group >= groups:
                    own_group -= groups
                    row += 1

    return kernel
