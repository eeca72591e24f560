"""Householder QR of a given matrix on the CPU.

The matrix is reduced slab by slab of 16 columns: a slab by one reflector after the other, the slabs
after it by all 16 at once. `compact_wy_cpu` says how matrices are kept, and forms Q.
"""

import math

import numpy as np

from . import arithmetic
from .blocks_cpu import BLOCK, SIDE, add_product, add_transposed
from .compact_wy_cpu import (
    CHUNK,
    Run,
    ceil_div,
    clear,
    grain,
    invert_block,
    run_here,
    write_q,
)
from .compiling import kernel


@kernel
def factor(a, v, half, signs, inverse, slab, columns):
    """Reduce a slab of A by a reflector for each of its first columns.

    Parameters
    ----------
    a : (slabs, blocks, 16, 16) array, written
        The slab gets R, but for its signs, down to the diagonal.
    v : (slabs, blocks, 16, 16) array of zeros, written
        Reflectors, each times a power of two.
    half, signs : (16 * slabs,) float64 arrays, written
        As `write_q` takes them.
    inverse : (256,) float64 array, written
        Of the slab's diagonal block of S.
    slab : int
    columns : int
        Reflectors in all.
    """
    blocks = a.shape[1]
    sums, block_sums = np.empty(SIDE), np.empty(SIDE)
    for lane in range(SIDE):
        k = slab * SIDE + lane
        half[k] = signs[k] = 1.0
        largest = 0.0
        for block in range(slab, blocks):
            for i in range(lane if block == slab else 0, SIDE):
                largest = max(largest, abs(np.float64(a[slab, block, i, lane])))
        if k >= columns or largest == 0.0:
            continue
        exponent = -math.frexp(largest)[1]
        scale = math.ldexp(1.0, min(exponent, 1000))  # in two steps, each exact
        further = math.ldexp(1.0, max(exponent - 1000, 0))
        squares = 0.0
        for block in range(slab, blocks):
            block_squares = 0.0
            for i in range(lane if block == slab else 0, SIDE):
                x = np.float64(a[slab, block, i, lane]) * scale * further
                v[slab, block, i, lane] = x
                block_squares += x * x
            squares += block_squares
        first = np.float64(v[slab, slab, lane, lane])
        diagonal = -math.copysign(math.sqrt(squares), first)
        signs[k] = math.copysign(1.0, diagonal)
        v[slab, slab, lane, lane] = first - diagonal
        head = np.float64(v[slab, slab, lane, lane])
        half[k] = 0.5 * ((squares - first * first) + head * head)
        for j in range(SIDE):
            sums[j] = 0.0
        for block in range(slab, blocks):
            for j in range(SIDE):
                block_sums[j] = 0.0
            for i in range(SIDE):
                x = np.float64(v[slab, block, i, lane])
                for j in range(SIDE):
                    block_sums[j] += x * np.float64(a[slab, block, i, j])
            for j in range(SIDE):
                sums[j] += block_sums[j]
        for j in range(SIDE):
            sums[j] = sums[j] / half[k] if j > lane else 0.0
        for block in range(slab, blocks):
            for i in range(SIDE):
                x = np.float64(v[slab, block, i, lane])
                for j in range(SIDE):
                    a[slab, block, i, j] -= x * sums[j]
        a[slab, slab, lane, lane] = diagonal / further / scale
    flat, products = v.reshape(-1), np.zeros(BLOCK, v.dtype)
    for block in range(slab, blocks, CHUNK):
        at = (slab * blocks + block) * BLOCK
        count = min(CHUNK, blocks - block)
        add_transposed(products, 0, flat, at, BLOCK, flat, at, BLOCK, count)
    invert_block(products.reshape((SIDE, SIDE)), half[slab * SIDE :], inverse.reshape((SIDE, SIDE)))


@kernel
def update(a, v, inverse, slab, begin, end):
    """Apply the reflections of a slab to the slabs after it: A becomes A - V T' V'A.

    Parameters
    ----------
    a : (slabs, blocks, 16, 16) array, written
    v : (slabs, blocks, 16, 16) array
        Reflectors.
    inverse : (256,) float64 array
        T, that is the inverse of the slab's diagonal block of S.
    slab : int
    begin, end : int
        Tasks: one for each slab after it.
    """
    blocks = a.shape[1]
    matrix, reflectors = a.reshape(-1), v.reshape(-1)
    products, applied = np.empty(BLOCK, a.dtype), np.empty(BLOCK, a.dtype)
    exact, found = np.empty(BLOCK), np.empty(BLOCK)
    for task in range(begin, end):
        first = (slab + 1 + task) * blocks
        clear(products, 0)
        for block in range(slab, blocks, CHUNK):
            at, b = (slab * blocks + block) * BLOCK, (first + block) * BLOCK
            count = min(CHUNK, blocks - block)
            add_transposed(products, 0, reflectors, at, BLOCK, matrix, b, BLOCK, count)
        for n in range(BLOCK):
            exact[n] = products[n]
        clear(found, 0)
        add_transposed(found, 0, inverse, 0, BLOCK, exact, 0, BLOCK, 1)
        for n in range(BLOCK):
            applied[n] = -found[n]
        for block in range(slab, blocks):
            at, b = (first + block) * BLOCK, (slab * blocks + block) * BLOCK
            add_product(matrix, at, reflectors, b, BLOCK, applied, 0, BLOCK, 1)


@arithmetic.usual()
def householder_qr(a: np.ndarray, run: Run = run_here) -> tuple[np.ndarray, np.ndarray]:
    """Factor a matrix into orthonormal columns and a triangle: a = q @ r.

    Parameters
    ----------
    a : (m, n) array, float32 or float64
        Finite values; m and n at least 1. It is not changed.
    run : callable
        Runs tasks on threads, see `Run`; the calling thread by default. The result is the same
        bits either way.

    Returns
    -------
    q : (m, min(m, n)) array
        Orthonormal columns.
    r : (min(m, n), n) array
        Upper triangular, its diagonal not negative: LAPACK's R and Q but for signs. Infinite where
        a number is too large for the dtype.

    Raises
    ------
    TypeError, ValueError
        If `a` is not as said above.

    Examples
    --------
    >>> import numpy as np
    >>> q, r = householder_qr(np.array([[3.0, 1.0], [4.0, 2.0]]))
    >>> r.round(3)
    array([[5. , 2.2],
           [0. , 0.4]])
    >>> bool(np.allclose(q @ r, [[3, 1], [4, 2]]))
    True
    """
    if not isinstance(a, np.ndarray) or a.dtype not in (np.float32, np.float64):
        given = a.dtype if isinstance(a, np.ndarray) else type(a).__name__
        raise TypeError(f"householder_qr: a must be a float32 or float64 array; given {given}")
    if a.ndim != 2 or 0 in a.shape:
        raise ValueError(f"householder_qr: a must be a matrix with elements; given shape {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("householder_qr: a must be finite; given infinities or NaNs")
    run = arithmetic.on_threads(run)
    rows, columns = a.shape
    count = min(rows, columns)
    blocks, slabs = ceil_div(rows, SIDE), ceil_div(columns, SIDE)
    # Large numbers are scaled by a power of two, or else their products would overflow.
    half_range = np.finfo(a.dtype).maxexp // 2
    exponent = max(math.frexp(float(np.abs(a).max()))[1] - half_range, 0)
    padded = np.zeros((blocks, SIDE, slabs, SIDE), a.dtype)
    padded.reshape(blocks * SIDE, -1)[:rows, :columns] = np.ldexp(a, -exponent)
    work = np.ascontiguousarray(padded.transpose(2, 0, 1, 3))
    reflecting = ceil_div(count, SIDE)
    v = np.zeros((reflecting, blocks, SIDE, SIDE), a.dtype)
    half, signs = np.empty(reflecting * SIDE), np.empty(reflecting * SIDE)
    inverse = np.empty(BLOCK)
    for slab in range(reflecting):
        factor(work, v, half, signs, inverse, slab, count)
        tasks = slabs - slab - 1
        if tasks:
            flops = tasks * (blocks - slab) * 4.0 * SIDE**3
            run(
                lambda begin, end, slab=slab: update(work, v, inverse, slab, begin, end),
                tasks,
                grain(tasks, flops),
            )
    r = work[:, :reflecting].transpose(1, 2, 0, 3).reshape(reflecting * SIDE, -1)
    r = np.triu(r[:count, :columns] * signs[:count, None].astype(a.dtype))
    with np.errstate(over="ignore"):
        r = np.ldexp(r, exponent)
    q = np.empty((rows, count), a.dtype)
    write_q(q, (0, 0), v, half, signs, 1.0, run)
    return q, r
