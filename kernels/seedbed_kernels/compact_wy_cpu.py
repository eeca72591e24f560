"""Products of Householder reflections on the CPU, in blocks: Q from its reflectors.

With reflectors v_k, the columns of V, and half their squared norms h_k, the product of all
reflections I - v vᵀ/h is I - V S⁻¹ Vᵀ, where S has h on its diagonal and VᵀV above it (the compact
WY form, T = S⁻¹: Joffrain, Low, Quintana-Ortí, van de Geijn and Van Zee, *Accumulating Householder
transformations, revisited*, 2006). So Q, its first columns with the signs that make R's diagonal
positive, is I - V M with M = S⁻¹ V₁ᵀ, V₁ being the top square of V. M is upper triangular: for a
square that is 4/3 n³ flops, all of them in matrix products.

Matrices are slabs of 16 columns, slabs are blocks of 16 rows: ``v[slab, block, row, column]``. The
second array, ``s``, holds in slab j the columns j of M down to the diagonal block, and below it the
blocks of VᵀV, whose transposes are the rows j of S.

Sums are cut at places that the shape alone decides, products feed them by fma, and what stands in
float64 is not contracted: the bits are the same for any number of threads, on any CPU.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload

from .blocks_cpu import BLOCK, SIDE, add_product, add_transposed
from .compiling import INSIDE, inlined, kernel
from .floats import ROUNDED
from .memory import empty

CHUNK = 16  # pairs of blocks in a partial sum: as many as fit the L1 cache
TILE = 16  # slabs in a tile of VᵀV and of Q: a tile's operands fit the L2 cache
PANELS = 8  # panels of M wanted, of 4 slabs to TILE
SHORT = 8  # blocks of rows whose products are computed in float64
PARTS = 32  # tasks wanted for VᵀV; few columns are cut into parts of rows
FLOPS = 1e7  # worth another thread: some 100 µs

Run = Callable[[Callable[[int, int], object], int, int], None]
"""``run(task, n, grain)`` calls ``task(begin, end)`` for chunks of ``range(n)``, on any threads."""


def run_here(task: Callable[[int, int], object], n: int, grain: int) -> None:
    """Run a task on the calling thread."""
    task(0, n)


def grain(tasks: int, flops: float) -> int:
    """Return how many tasks are worth another thread, if all of them take so many flops."""
    return math.ceil(tasks * FLOPS / max(flops, 1.0))


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


@inlined
def clear(blocks, at):
    """Set the block at an offset to zero."""
    for i in range(at, at + BLOCK):
        blocks[i] = 0


@inlined
def transpose(source, out):
    """Copy the top left of `source` to a block, transposed."""
    for i in range(SIDE):
        for j in range(SIDE):
            out[j, i] = source[i, j]


@kernel
def gram(s, v, tiles, begin, end):
    """Compute the blocks of VᵀV on and below the diagonal, for parts of the rows.

    Parameters
    ----------
    s : (parts, slabs, slabs, 16, 16) array, written
        ``s[part, i, k]`` for k >= i: the part's sum for rows k and columns i.
    v : (slabs, blocks, 16, 16) array
        The reflectors; blocks above the diagonal are not read.
    tiles : (tiles, 2) int64 array
        First slabs k and i of each tile.
    begin, end : int
        Tasks: one for each part of each tile.
    """
    parts, slabs = s.shape[:2]
    blocks = v.shape[1]
    sums, flat = s.reshape(-1), v.reshape(-1)
    length = -(-blocks // (parts * CHUNK)) * CHUNK
    for task in range(begin, end):
        tile, part = divmod(task, parts)
        k0, i0 = tiles[tile]
        k1, i1 = min(k0 + TILE, slabs), min(i0 + TILE, slabs)
        for i in range(i0, i1):
            for k in range(max(i, k0), k1):
                clear(sums, ((part * slabs + i) * slabs + k) * BLOCK)
        for chunk in range(part * length, min((part + 1) * length, blocks), CHUNK):
            stop = min(chunk + CHUNK, blocks)
            for k in range(k0, k1):
                start = max(chunk, k)
                if start < stop:
                    a = (k * blocks + start) * BLOCK
                    for i in range(i0, min(i1, k + 1)):
                        b = (i * blocks + start) * BLOCK
                        at = ((part * slabs + i) * slabs + k) * BLOCK
                        add_transposed(sums, at, flat, a, BLOCK, flat, b, BLOCK, stop - start)


@kernel
def invert(s, v, half, inverses, begin, end):
    """Finish VᵀV, and invert the diagonal blocks of S.

    Products of the last reflectors are too short for rounding errors to average out: they are
    computed anew in float64.

    Parameters
    ----------
    s : (parts, slabs, slabs, 16, 16) array
        As `gram` leaves it; ``s[0]`` gets VᵀV.
    v : (slabs, blocks, 16, 16) array
        The reflectors.
    half : (16 * slabs,) float64 array
        The diagonal of S.
    inverses : (slabs, 16, 16) float64 array, written
        Upper triangular blocks.
    begin, end : int
        Tasks: one for each slab.
    """
    parts, slabs = s.shape[:2]
    blocks = v.shape[1]
    size = slabs * slabs * BLOCK
    flat, reflectors = s.reshape(-1), v.reshape(-1)
    left, right = np.empty(SHORT * BLOCK), np.empty(SHORT * BLOCK)
    found = np.empty(BLOCK)
    for slab in range(begin, end):
        for part in range(1, parts):
            for at in range((slab * slabs + slab) * BLOCK, (slab + 1) * slabs * BLOCK):
                flat[at] += flat[part * size + at]
        for k in range(max(slab, blocks - SHORT), slabs):
            for n in range((blocks - k) * BLOCK):
                left[n] = reflectors[(k * blocks + k) * BLOCK + n]
                right[n] = reflectors[(slab * blocks + k) * BLOCK + n]
            clear(found, 0)
            add_transposed(found, 0, left, 0, BLOCK, right, 0, BLOCK, blocks - k)
            for n in range(BLOCK):
                flat[(slab * slabs + k) * BLOCK + n] = found[n]
        invert_block(s[0, slab, slab], half[slab * SIDE :], inverses[slab])


@inlined
def invert_block(products, half, inverse):
    """Invert a diagonal block of S: `half`, and above it that of VᵀV."""
    for j in range(SIDE):
        for i in range(j + 1, SIDE):
            inverse[i, j] = 0.0
        inverse[j, j] = 1.0 / half[j]
        for i in range(j - 1, -1, -1):
            total = 0.0
            for k in range(i + 1, j + 1):
                total += np.float64(products[k, i]) * inverse[k, j]
            inverse[i, j] = -total / half[i]


@kernel
def solve(s, v, inverses, panel, begin, end):
    """Compute M = S⁻¹ V₁ᵀ from the bottom up, in panels of columns.

    Parameters
    ----------
    s : (parts, slabs, slabs, 16, 16) array
        ``s[0]`` holds VᵀV below the diagonal blocks; the others get M.
    v : (slabs, blocks, 16, 16) array
        The reflectors.
    inverses : (slabs, 16, 16) float64 array
        Of the diagonal blocks of S.
    panel : int
        Slabs in a panel.
    begin, end : int
        Tasks: one for each panel, the tallest first.
    """
    slabs = s.shape[1]
    flat, inverse = s.reshape(-1), inverses.reshape(-1)
    right, found = np.empty((SIDE, SIDE)), np.empty(BLOCK)
    rest = right.reshape(-1)
    for task in range(begin, end):
        j0 = ((slabs - 1) // panel - task) * panel
        j1 = min(j0 + panel, slabs)
        for row0 in range((j1 - 1) // CHUNK * CHUNK, -1, -CHUNK):
            row1 = min(row0 + CHUNK, j1)
            for j in range(j0, j1):
                for i in range(row0, min(row1, j + 1)):
                    clear(flat, (j * slabs + i) * BLOCK)
            for k in range(row1, j1, CHUNK):
                for i in range(row0, row1):
                    for j in range(max(j0, k), j1):
                        count = min(k + CHUNK, j + 1) - k
                        a, b = (i * slabs + k) * BLOCK, (j * slabs + k) * BLOCK
                        at = (j * slabs + i) * BLOCK
                        add_transposed(flat, at, flat, a, BLOCK, flat, b, BLOCK, count)
            for i in range(row1 - 1, row0 - 1, -1):
                for j in range(max(i, j0), j1):
                    at = (j * slabs + i) * BLOCK
                    count = min(row1, j + 1) - (i + 1)
                    if count > 0:
                        a, b = (i * slabs + i + 1) * BLOCK, (j * slabs + i + 1) * BLOCK
                        add_transposed(flat, at, flat, a, BLOCK, flat, b, BLOCK, count)
                    transpose(v[i, j], right)
                    for n in range(BLOCK):
                        rest[n] -= flat[at + n]
                    clear(found, 0)
                    add_product(found, 0, inverse, i * BLOCK, BLOCK, rest, 0, BLOCK, 1)
                    for n in range(BLOCK):
                        flat[at + n] = found[n]


@kernel
def product(out, steps, corner, size, v, s, signs, gain, begin, end):
    """Compute a window of gain · Q, where Q is I - V M with signs on its columns.

    Parameters
    ----------
    out : 1-D contiguous array, written
        float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    steps : (int, int)
        Elements of `out` from one row of Q to the next, and from one column; one of them is 1.
    corner, size : (int, int)
        First row and column of the window; rows and columns in it.
    v : (slabs, blocks, 16, 16) array
        The reflectors.
    s : (parts, slabs, slabs, 16, 16) array
        As `solve` leaves it.
    signs : (16 * slabs,) float64 array
        Of the columns.
    gain : float
        In the precision of `v`.
    begin, end : int
        Tasks: one for each tile of Q that the window touches, row by row.
    """
    slabs, blocks = v.shape[:2]
    reflectors, m = v.reshape(-1), s.reshape(-1)
    top, bottom = corner[0] // SIDE, -(-(corner[0] + size[0]) // SIDE)
    left, right = corner[1] // SIDE, -(-(corner[1] + size[1]) // SIDE)
    across = -(-(right - left) // TILE)
    sums = np.empty(TILE * TILE * BLOCK, v.dtype)
    for task in range(begin, end):
        t0 = top + task // across * TILE
        j0 = left + task % across * TILE
        t1, j1 = min(t0 + TILE, bottom), min(j0 + TILE, right)
        for t in range(t1 - t0):
            for j in range(j1 - j0):
                clear(sums, (t * TILE + j) * BLOCK)
        for k in range(0, min(t1, j1), CHUNK):
            for j in range(max(j0, k), j1):
                for t in range(max(t0, k), t1):
                    count = min(k + CHUNK, t + 1, j + 1) - k
                    a, b = (k * blocks + t) * BLOCK, (j * slabs + k) * BLOCK
                    at = ((t - t0) * TILE + j - j0) * BLOCK
                    add_product(sums, at, reflectors, a, blocks * BLOCK, m, b, BLOCK, count)
        for t in range(t0, t1):
            for j in range(j0, j1):
                at = ((t - t0) * TILE + j - j0) * BLOCK
                block = sums[at : at + BLOCK].reshape((SIDE, SIDE))
                store(out, steps, corner, size, block, t, j, signs, gain)


def rounded(value, out) -> Any:
    """Return a value as the elements of `out` hold it."""


@overload(rounded, jit_options=INSIDE)
def _rounded(value, out):
    own = ROUNDED[str(out.dtype)]
    return lambda value, out: own(value)


@inlined
def store(out, steps, corner, size, block, t, j, signs, gain):
    """Write block (t, j) of gain · Q to the window, given that of V M."""
    if t == j:
        for i in range(SIDE):
            block[i, i] -= 1
    scales = np.empty(SIDE, block.dtype)
    for lane in range(SIDE):
        scales[lane] = -gain if signs[j * SIDE + lane] > 0 else gain
    row0, row1 = max(corner[0] - t * SIDE, 0), min(corner[0] + size[0] - t * SIDE, SIDE)
    lane0, lane1 = max(corner[1] - j * SIDE, 0), min(corner[1] + size[1] - j * SIDE, SIDE)
    start = (t * SIDE + row0 - corner[0]) * steps[0] + (j * SIDE + lane0 - corner[1]) * steps[1]
    if steps[1] == 1:
        for row in range(row0, row1):
            line = out[start : start + lane1 - lane0]
            for i in range(line.size):
                line[i] = rounded(block[row, lane0 + i] * scales[lane0 + i], out)
            start += steps[0]
    else:
        for lane in range(lane0, lane1):
            line = out[start : start + row1 - row0]
            for i in range(line.size):
                line[i] = rounded(block[row0 + i, lane] * scales[lane], out)
            start += steps[1]


def write_q(
    out: np.ndarray,
    corner: tuple[int, int],
    v: np.ndarray,
    half: np.ndarray,
    signs: np.ndarray,
    gain: float,
    run: Run,
) -> None:
    """Write a window of gain · Q, given reflectors.

    Parameters
    ----------
    out : 2-D array, written
        C-contiguous, or the transpose of such. Its elements as `product` takes them.
    corner : (int, int)
        First row and column of the window.
    v : (slabs, blocks, 16, 16) array, float32 or float64
        Reflectors, as many slabs as Q's columns up to the window's last need.
    half, signs : (16 * slabs,) float64 arrays
        Half the squared norms of the reflectors (1 for zero ones); signs of Q's columns.
    gain : float
    run : callable
        See `Run`.
    """
    slabs, blocks = v.shape[:2]
    n, rows = slabs * SIDE, blocks * SIDE
    across = ceil_div(slabs, TILE)
    corners = [(k * TILE, i * TILE) for k in range(across) for i in range(k + 1)]
    tiles = np.array(corners, np.int64)
    parts = max(1, min(PARTS // len(tiles), blocks // (4 * CHUNK)))
    s = empty((parts, slabs, slabs, SIDE, SIDE), v.dtype)
    tasks, flops = len(tiles) * parts, rows * n * n - n**3 / 1.5
    run(lambda begin, end: gram(s, v, tiles, begin, end), tasks, grain(tasks, flops))

    inverses = np.empty((slabs, SIDE, SIDE))
    flops = n * n * parts
    run(lambda begin, end: invert(s, v, half, inverses, begin, end), slabs, grain(slabs, flops))

    panel = min(max(slabs // PANELS, 4), TILE)
    tasks, flops = ceil_div(slabs, panel), n**3 / 3
    run(lambda begin, end: solve(s, v, inverses, panel, begin, end), tasks, grain(tasks, flops))

    flat = out.reshape(-1) if out.flags.c_contiguous else out.T.reshape(-1)
    steps = (out.strides[0] // out.itemsize, out.strides[1] // out.itemsize)
    size, scale = out.shape, v.dtype.type(gain)
    tasks = 1
    for first, length in zip(corner, size, strict=True):
        tasks *= ceil_div(ceil_div(first + length, SIDE) - first // SIDE, TILE)
    flops = size[0] * size[1] * (n + SIDE)
    run(
        lambda begin, end: product(flat, steps, corner, size, v, s, signs, scale, begin, end),
        tasks,
        grain(tasks, flops),
    )
