"""Householder kernels: products of blocks, QR against LAPACK, and the drawn Q against its contract.

Nothing here can fail by chance: inputs are fixed, and tolerances are bounds on rounding.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg

from seedbed.values.fill import sample
from seedbed.values.recipes import Normal
from seedbed.values.seeds import Stream
from seedbed_kernels import blocks_cpu, compact_wy_cpu, haar_cpu
from seedbed_kernels.haar_cpu import haar
from seedbed_kernels.householder_cpu import householder_qr
from tests import oracle

REALS = (np.float32, np.float64)


def key(seed, stream=0):
    return np.uint64(seed % 2**32), np.uint64(seed >> 32), np.uint64(stream)


def drawn(rows, columns, dtype=np.float32, seed=7, **options):
    out = np.empty((rows, columns), dtype)
    haar(out, (0, 0), (rows, columns), key(seed), **options)
    return out


def away_from_orthonormal(q):
    q = q.astype(np.float64)
    return np.abs(q.T @ q - np.eye(q.shape[1])).max()


def runner(threads):
    """Run every task by itself, in a mixed order."""

    def run(task, n, grain):
        order = list(range(n))
        random.Random(n).shuffle(order)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda begin: task(begin, begin + 1), order))

    return run


# Products of blocks


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_chains_of_fmas(real, transposed):
    generator = np.random.default_rng(1)
    a, b = (generator.normal(size=(5, 16, 16)).astype(real) for _ in range(2))
    out = generator.normal(size=(2, 16, 16)).astype(real)
    expected = out.copy()
    total = np.zeros((16, 16), real)
    for n in (1, 3):  # steps of two blocks
        left = a[n].T if transposed else a[n]
        chain = np.zeros((16, 16), real)
        for inner in range(16):
            chain = oracle.fma(left[:, inner, None], b[n + 1, inner, None, :], chain)
        total = total + chain
    expected[1] += total
    add = blocks_cpu.add_transposed if transposed else blocks_cpu.add_product
    add(out.reshape(-1), 256, a.reshape(-1), 256, 512, b.reshape(-1), 512, 512, 2)
    assert out.tobytes() == expected.tobytes()


# QR of a given matrix


def lapack(a):
    """Return Q and R in float64, R's diagonal not negative."""
    q, r = np.linalg.qr(a.astype(np.float64))
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    return q * signs, r * signs[:, None]


def check_factors(a, q, r, slack=1.0):
    """Check all that a QR must be, to a rounding that grows with the root of the size."""
    count = min(a.shape)
    tolerance = 4 * slack * np.sqrt(max(a.shape)) * np.finfo(a.dtype).eps
    largest = np.abs(a).max(initial=0.0) or 1.0
    assert q.shape == (a.shape[0], count)
    assert r.shape == (count, a.shape[1])
    assert q.dtype == r.dtype == a.dtype
    assert (np.diag(r) >= 0).all()
    assert (np.tril(r, -1) == 0).all()
    assert away_from_orthonormal(q) < tolerance
    exact = (q.astype(np.float64) / largest) @ r.astype(np.float64)
    assert np.abs(exact - a.astype(np.float64) / largest).max() < 4 * tolerance


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 7),
        (7, 1),
        (16, 16),
        (17, 17),
        (5, 40),
        (40, 5),
        (33, 48),
        (48, 33),
        (300, 90),
        (90, 300),
        (290, 290),
        (1100, 40),
    ],
)
def test_qr_agrees_with_lapack(shape, real):
    a = np.random.default_rng(shape).normal(size=shape).astype(real)
    before = a.copy()
    q, r = householder_qr(a)
    assert a.tobytes() == before.tobytes()
    check_factors(a, q, r)
    expected_q, expected_r = lapack(a)
    # Q and R move by the condition number of the leading square times the rounding.
    condition = np.linalg.cond(a[:, : min(shape)].astype(np.float64))
    tolerance = 4 * np.sqrt(max(shape)) * condition * np.finfo(real).eps
    assert np.abs(q - expected_q).max() < tolerance
    assert np.abs(r - expected_r).max() < tolerance * np.abs(a).max()


@np.errstate(under="ignore")  # what makes some of the matrices
@pytest.mark.parametrize("real", REALS)
def test_qr_of_difficult_matrices(real):
    generator = np.random.default_rng(2)
    a = generator.normal(size=(80, 50))
    dependent = a.copy()
    dependent[:, 5], dependent[:, 20] = 0.0, dependent[:, 19]
    grades = 10.0 ** -np.linspace(0, 25, 50)
    for matrix, slack in [
        (np.zeros((20, 7)), 1),
        (dependent, 1),
        (a * grades, 1),
        (a * 10.0 ** -np.linspace(0, 25, 80)[:, None], 1),
        (scipy.linalg.hilbert(60), 1),
        (np.tril(np.ones((100, 100))), 10),  # errors add up
        (np.triu(np.ones((100, 100))), 1),
        (np.ones((100, 100)) + 1e-3 * generator.normal(size=(100, 100)), 10),
        (a * (float(np.finfo(real).max) / 1e3), 1),
        (a * float(np.finfo(real).tiny) * 1e9, 1),
    ]:
        matrix = matrix.astype(real)
        check_factors(matrix, *householder_qr(matrix), slack)


@pytest.mark.parametrize("real", REALS)
def test_qr_of_a_triangle_is_exact(real):
    r = np.triu(np.random.default_rng(3).normal(size=(40, 40))).astype(real)
    np.fill_diagonal(r, np.abs(np.diag(r)))
    q, again = householder_qr(r)
    np.testing.assert_allclose(again, r, rtol=4 * np.finfo(real).eps)
    np.testing.assert_allclose(q, np.eye(40), atol=4 * np.finfo(real).eps)


def test_qr_takes_any_layout():
    a = np.random.default_rng(4).normal(size=(60, 40))
    expected = [part.tobytes() for part in householder_qr(a)]
    wide = np.zeros((60, 80))
    wide[:, ::2] = a
    for same in (np.asfortranarray(a), wide[:, ::2]):
        assert [part.tobytes() for part in householder_qr(same)] == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_qr_has_the_same_bits_for_any_threads(threads):
    a = np.random.default_rng(5).normal(size=(600, 330)).astype(np.float32)
    expected = [part.tobytes() for part in householder_qr(a)]
    assert [part.tobytes() for part in householder_qr(a, runner(threads))] == expected


@pytest.mark.parametrize(
    ("a", "error", "message"),
    [
        ([[1.0]], TypeError, "householder_qr: a must .* given list"),
        (np.eye(3, dtype=int), TypeError, "householder_qr: a must .* given int64"),
        (np.eye(3, dtype=np.float16), TypeError, "householder_qr: a must .* given float16"),
        (np.ones(3), ValueError, r"householder_qr: a must .* given shape \(3,\)"),
        (np.ones((3, 0)), ValueError, r"householder_qr: a must .* given shape \(3, 0\)"),
        (np.array([[1.0, np.nan]]), ValueError, "householder_qr: a must be finite"),
    ],
)
def test_qr_refuses(a, error, message):
    with pytest.raises(error, match=message):
        householder_qr(a)


# Q of a Gaussian matrix that is never formed


def explicit(table):
    """Return the product of Householder matrices of a table of vectors, one a row, in float64.

    Reflector k maps elements k ... of row k to a multiple of the first axis. Column k of the
    product has the sign that makes this multiple positive.
    """
    columns, rows = table.shape
    q, signs = np.eye(rows), np.ones(columns)
    for k in range(columns):
        x = np.zeros(rows)
        x[k:] = table[k, k:]
        v = x.copy()
        v[k] += np.copysign(np.linalg.norm(x), x[k])
        q = q @ (np.eye(rows) - 2 * np.outer(v, v) / (v @ v))
        signs[k] = -np.copysign(1.0, x[k])
    return q[:, :columns] * signs


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 1), (2, 2), (9, 4), (16, 16), (17, 17), (35, 20), (20, 19)]
)
def test_drawn_q_is_the_product_of_householder_matrices(shape, real):
    rows, columns = shape
    seed, stream = 2**63 + 12345, 3
    numbers = range(rows * columns)
    table = oracle.base_values("normal", numbers, real is np.float64, seed, stream)
    out = np.empty(shape, real)
    haar(out, (0, 0), shape, key(seed, stream))
    expected = explicit(table.astype(np.float64).reshape(columns, rows))
    assert np.abs(out - expected).max() < 8 * np.finfo(real).eps


@pytest.mark.parametrize(
    "shape", [(256, 256), (257, 256), (300, 290), (530, 520), (2048, 3), (2049, 18), (4500, 40)]
)
def test_drawn_q_over_the_edges_of_chunks_and_tiles(shape):
    rows, columns = shape
    table = sample(Normal(0.0, 1.0), (columns, rows), np.float32, stream=Stream(7))
    q, signs = np.eye(rows, columns), np.ones(columns)
    for k in reversed(range(columns)):
        v = table[k, k:].astype(np.float64)
        signs[k] = -np.copysign(1.0, v[0])
        v[0] += np.copysign(np.linalg.norm(v), v[0])
        q[k:] -= np.outer(v, v @ q[k:] * (2 / (v @ v)))
    assert np.abs(drawn(*shape) - q * signs).max() < 6e-7


def test_drawn_q_is_that_of_a_qr():
    """R completes it to a matrix whose QR is known: a triangle with a positive diagonal."""
    q = drawn(90, 60, np.float64)
    r = np.triu(np.random.default_rng(6).normal(size=(60, 60))) + 20 * np.eye(60)
    again_q, again_r = householder_qr(q @ r)
    np.testing.assert_allclose(again_q, q, atol=1e-14)
    np.testing.assert_allclose(again_r, r, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "limit32", "limit64"),
    [
        ((1, 1), 1.3e-7, 5e-16),
        ((64, 64), 6e-7, 3e-15),
        ((500, 500), 5e-7, 3e-15),
        ((3000, 200), 2e-7, 2e-15),
        ((20000, 16), 2e-7, 2e-15),
    ],
)
def test_columns_are_orthonormal(shape, limit32, limit64):
    assert away_from_orthonormal(drawn(*shape)) < limit32
    assert away_from_orthonormal(drawn(*shape, np.float64)) < limit64


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(400, 390), (5000, 70)])
def test_drawn_q_has_the_same_bits_for_any_threads(shape, threads):
    for real in REALS:
        expected = drawn(*shape, real)
        assert drawn(*shape, real, run=runner(threads)).tobytes() == expected.tobytes()


def test_windows_and_transposes_are_cut_from_the_same_q():
    rows, columns = 300, 280
    whole = drawn(rows, columns)
    for r0, r1, c0, c1 in [(0, 300, 0, 280), (17, 18, 3, 4), (250, 300, 255, 280), (0, 9, 16, 32)]:
        part = np.empty((r1 - r0, c1 - c0), np.float32)
        haar(part, (r0, c0), (rows, columns), key(7))
        assert part.tobytes() == whole[r0:r1, c0:c1].tobytes()
        across = np.empty((c1 - c0, r1 - r0), np.float32)
        haar(across.T, (r0, c0), (rows, columns), key(7))
        assert across.tobytes() == whole[r0:r1, c0:c1].T.tobytes()


def test_a_single_element_is_a_sign():
    for real in REALS:
        signs = [drawn(1, 1, real, seed).item() for seed in range(20)]
        assert set(signs) == {-1.0, 1.0}


def test_more_columns_keep_the_first():
    assert drawn(200, 40).tobytes() == np.ascontiguousarray(drawn(200, 150)[:, :40]).tobytes()


@pytest.mark.parametrize("zeros", [1, 2])
def test_vectors_of_zeros_reflect_nothing(zeros):
    """A Gaussian vector may be zero: as rare as it is, Q stays orthonormal."""
    v = np.zeros((1, 1, 16, 16))
    v[0, 0, : 5 - zeros, : 5 - zeros] = np.tril(np.random.default_rng(8).normal(size=(5, 5)))[
        : 5 - zeros, : 5 - zeros
    ]
    half, signs = np.empty(16), np.empty(16)
    squares = (v[0, 0] ** 2).sum(0, keepdims=True)
    haar_cpu.reflect(v, squares, 5, 5, half, signs)
    q = np.empty((5, 5))
    compact_wy_cpu.write_q(q, (0, 0), v, half, signs, 1.0, compact_wy_cpu.run_here)
    assert away_from_orthonormal(q) < 2e-15


@pytest.mark.parametrize("scale", [1e-308, 1e-315, 1e-320])
def test_qr_of_subnormal_numbers(scale):
    with np.errstate(under="ignore"):
        a = np.random.default_rng(0).normal(size=(6, 3)) * scale
    q, r = householder_qr(a)
    with np.errstate(under="ignore"):
        away = np.abs(q @ r - a).max()
        limit = 30 * np.finfo(float).eps * np.abs(a).max() + 10 * 5e-324
    assert away <= limit


@pytest.mark.parametrize(("real", "exponent"), [(np.float32, 125), (np.float64, 1021)])
def test_qr_of_the_largest_numbers(real, exponent):
    """Powers of two change no digit: neither of Q, nor of R as long as it fits."""
    a = np.random.default_rng(0).uniform(-1, 1, (50, 40)).astype(real) / 4
    q, r = householder_qr(a)
    far_q, far_r = householder_qr(np.ldexp(a, exponent))
    assert far_q.tobytes() == q.tobytes()
    assert far_r.tobytes() == np.ldexp(r, exponent).tobytes()
    assert np.isfinite(far_r).all()
    with np.errstate(over="ignore"):
        beyond = np.ldexp(r, exponent + 4)
    assert np.isinf(beyond).any()
    assert householder_qr(np.ldexp(a, exponent + 4))[1].tobytes() == beyond.tobytes()
