"""Haar-distributed orthonormal columns on the CPU: Q of a Gaussian matrix that is never formed.

Each reflector of the Householder QR of a Gaussian matrix is made of a fresh Gaussian vector,
independent of those before it (Stewart, *The efficient generation of random orthogonal matrices*,
1980). So the vectors are drawn, and Q is formed from them.
"""

import math

import numpy as np

from . import arithmetic
from .blocks_cpu import SIDE
from .compact_wy_cpu import Run, ceil_div, grain, run_here, transpose, write_q
from .compiling import kernel
from .fills_cpu import Filler, packed_key
from .memory import empty
from .samplers import Normal

DRAWN = 128  # blocks of a slab drawn by one task
DRAW_FLOPS = 200.0  # as long as drawing one value takes


@kernel
def arrange(v, squares, drawn, slab, part):
    """Put vectors into the blocks of a slab, and sum their squares.

    Parameters
    ----------
    v : (slabs, blocks, 16, 16) array, written
        float32 or float64. Blocks above the diagonal stay as they are.
    squares : (parts, 16 * slabs) float64 array, written
        Sum of squares of each vector over the rows of a part.
    drawn : (vectors, rows) array
        The slab's vectors, in the part's rows; these begin with the diagonal block at the earliest.
    slab, part : int
    """
    blocks = v.shape[1]
    first, last = max(slab, part * DRAWN), min((part + 1) * DRAWN, blocks)
    sums, padded = np.empty(SIDE), np.zeros((SIDE, DRAWN * SIDE), v.dtype)
    for lane in range(SIDE):
        row = padded[lane]
        if lane < drawn.shape[0]:
            start = lane if first == slab else 0  # a vector begins with the diagonal
            for i in range(start, drawn.shape[1]):  # a slice would take a second to compile
                row[i] = drawn[lane, i]
        for j in range(SIDE):
            sums[j] = 0.0
        for i in range(0, (last - first) * SIDE, SIDE):
            for j in range(SIDE):
                x = np.float64(row[i + j])
                sums[j] += x * x
        total = 0.0
        for j in range(SIDE):
            total += sums[j]
        squares[part, slab * SIDE + lane] = total
    for block in range(first, last):
        transpose(padded[:, (block - first) * SIDE :], v[slab, block])


def draw(
    v: np.ndarray,
    squares: np.ndarray,
    shape: tuple[int, int],
    key: bytes,
    filler: Filler,
    begin: int,
    end: int,
) -> None:
    """Draw the Gaussian vectors that the reflectors are made of: tasks `begin` to `end`.

    There is a task for each part of each slab; the other parameters are as above.
    """
    rows, columns = shape
    slabs, blocks = v.shape[:2]
    memory = np.empty(SIDE * min(DRAWN, blocks) * SIDE, v.dtype)
    for task in range(begin, end):
        part, slab = divmod(task, slabs)
        first, last = max(slab, part * DRAWN), min((part + 1) * DRAWN, blocks)
        size = min(SIDE, columns - slab * SIDE), max(min(last * SIDE, rows) - first * SIDE, 0)
        count = size[0] * size[1]
        if count:
            base = slab * SIDE * rows + first * SIDE
            place = filler.window(base, size[:1], (rows,), size[1])
            filler(memory, 0, count, place, key)
        arrange(v, squares, memory[:count].reshape(size), slab, part)


@kernel
def reflect(v, squares, rows, columns, half, signs):
    """Turn vectors x into reflectors v = x ± |x| e, the sign that of x's first element.

    Parameters
    ----------
    v, squares
        As `draw` leaves them; `v` is written.
    rows, columns : int
        Of the tall matrix: rows of V and reflectors; the slabs are padded with zeros.
    half : (16 * slabs,) float64 array, written
        Half the squared norms of the reflectors as they are stored, 1 for zero ones.
    signs : (16 * slabs,) float64 array, written
        Of Q's columns, such that R's diagonal, ∓|x| before, is positive.
    """
    for k in range(half.size):
        half[k] = signs[k] = 1.0
        slab, lane = divmod(k, SIDE)
        total = 0.0
        for part in range(squares.shape[0]):
            total += squares[part, k]
        if k < columns and total > 0.0:
            first = np.float64(v[slab, slab, lane, lane])
            diagonal = -math.copysign(math.sqrt(total), first)
            signs[k] = math.copysign(1.0, diagonal)
            v[slab, slab, lane, lane] = first - diagonal
            head = np.float64(v[slab, slab, lane, lane])
            half[k] = 0.5 * ((total - first * first) + head * head)
            if k == rows - 1:  # a single element: any vector reflects it, this one exactly
                v[slab, slab, lane, lane] = 1.0
                half[k] = 0.5


@arithmetic.usual()
def haar(
    out: np.ndarray,
    corner: tuple[int, int],
    shape: tuple[int, int],
    key: tuple[np.uint64, np.uint64, np.uint64],
    gain: float = 1.0,
    run: Run = run_here,
) -> None:
    """Write a window of gain times a tall matrix with Haar-distributed orthonormal columns.

    Parameters
    ----------
    out : 2-D array, written
        C-contiguous, or the transpose of such: float32, float64, or the bits of bfloat16 (as
        uint16) or float16 (as int16), which are rounded from float32.
    corner : (int, int)
        First row and column of the window; its size is that of `out`.
    shape : (int, int)
        Of the whole matrix: rows, and no more columns than rows.
    key : tuple of three uint64
        Low and high word of the seed, and the stream.
    gain : float
    run : callable
        Runs tasks on threads, see `compact_wy_cpu.Run`; the calling thread by default. The result
        is the same bits either way.

    Examples
    --------
    >>> q = np.empty((5, 3), np.float32)
    >>> haar(q, (0, 0), (5, 3), (np.uint64(7), np.uint64(0), np.uint64(0)))
    >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-6))
    True
    """
    if out.size == 0:
        return
    run = arithmetic.on_threads(run)
    dtype = np.dtype(np.float64 if out.dtype == np.float64 else np.float32)
    rows, columns = shape
    slabs = ceil_div(corner[1] + out.shape[1], SIDE)  # a column needs no reflector after its own
    blocks = ceil_div(rows, SIDE)
    parts = ceil_div(blocks, DRAWN)
    v = empty((slabs, blocks, SIDE, SIDE), dtype)
    squares = np.empty((parts, slabs * SIDE))
    sampler = Normal(dtype.type(1), dtype.type(0))
    filler, packed = Filler(sampler, dtype), packed_key(key)
    tasks = slabs * parts
    run(
        lambda begin, end: draw(v, squares, shape, packed, filler, begin, end),
        tasks,
        grain(tasks, DRAW_FLOPS * SIDE * slabs * rows),
    )
    half, signs = np.empty(slabs * SIDE), np.empty(slabs * SIDE)
    reflect(v, squares, rows, columns, half, signs)
    write_q(out, corner, v, half, signs, gain, run)
