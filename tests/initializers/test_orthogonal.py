"""Orthogonal: shapes, windows and dtypes; Haar measure and not only orthogonality; the same bits.

Seeds are fixed, so a run that passes once always does; had the seed been drawn anew, each test of
the distribution would fail a correct sampler with probability below 1e-6.
"""

import hashlib
import math
import sys
from pathlib import Path

import ml_dtypes
import numba
import numpy as np
import pytest
from scipy import stats
from tests import processes

from seedbed import initializers
from seedbed.initializers import DeltaOrthogonal, Orthogonal, SeedGenerator
from seedbed_kernels import compact_wy_cpu

RARE = 1e-6
DTYPES = ("float32", "float64", "float16", "bfloat16")
GOLDEN = {
    "float32": "0b522799764d0f6f5a6c289c322941caefc5c23a0ed698e272c3c6f6a59725d9",
    "float64": "97b1839cf40a01efc1e2a44ea21f0f085e197de41aeee40fa353cf1b4a5b8540",
    "float16": "490dd73207f95df45cdd5421c662188dbecccc34f259dff58b1700e2f29556b6",
    "bfloat16": "fc6b4fd3e83e4f4e37f35bea1d22811925355fe7a3043a3e072a3e183f9d602e",
}
GOLDEN_SHAPES = ((300, 290), (5000, 20), (3, 5, 2, 70))


def golden_hash(dtype):
    made = hashlib.sha256()
    for shape in GOLDEN_SHAPES:
        made.update(Orthogonal(1.5, seed=2**40 + 7)(shape, dtype).tobytes())
    return made.hexdigest()


def folded(values):
    """Return the matrix that Keras folds a shape into, tall, in float64."""
    matrix = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def away_from_orthonormal(matrix):
    return np.abs(matrix.T @ matrix - np.eye(matrix.shape[1])).max()


# What it makes


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 9),
        (9, 1),
        (2, 2),
        (33, 33),
        (40, 17),
        (17, 40),
        (3, 3, 4, 8),
        (3, 3, 2, 64),
        (2, 1, 1),
        (5, 1, 2, 1, 7),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_or_columns_are_orthonormal(shape, dtype):
    values = Orthogonal(seed=1)(shape, dtype)
    assert values.shape == shape
    assert values.dtype == np.dtype(getattr(ml_dtypes, dtype, dtype))
    rounding = float(ml_dtypes.finfo(values.dtype).eps)
    assert away_from_orthonormal(folded(values)) < 8 * rounding


@pytest.mark.parametrize("shape", [(10**6, 8), (8, 10**6), (1, 10**6)])
def test_long_shapes(shape):
    assert away_from_orthonormal(folded(Orthogonal(seed=2)(shape))) < 2e-7


@pytest.mark.slow
def test_a_large_square():
    values = Orthogonal(seed=3)((8192, 8192))
    some = values[:, np.random.default_rng(1).choice(8192, 200, replace=False)]
    assert away_from_orthonormal(folded(some)) < 6e-7
    some = values[np.random.default_rng(2).choice(8192, 200, replace=False)]
    assert away_from_orthonormal(folded(some)) < 6e-7


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3)])
def test_empty_shapes(shape):
    assert Orthogonal(seed=1)(shape).shape == shape


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wide_matrix_is_the_transpose_of_a_tall_one(dtype):
    init = Orthogonal(seed=4)
    np.testing.assert_array_equal(init((40, 300), dtype), init((300, 40), dtype).T)


def test_axes_are_folded():
    init = Orthogonal(seed=5)
    np.testing.assert_array_equal(init((3, 4, 5)), init((12, 5)).reshape(3, 4, 5))
    np.testing.assert_array_equal(init((2, 2, 50)), init((4, 50)).reshape(2, 2, 50))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_rounded_float32(dtype):
    values = Orthogonal(1.7, seed=6)((70, 50), dtype)
    exact = Orthogonal(1.7, seed=6)((70, 50), "float32")
    np.testing.assert_array_equal(values, exact.astype(values.dtype))


def test_gain_scales():
    plain = Orthogonal(seed=7)((30, 20))
    for gain in (0.0, 1, -2.0, 0.3):
        np.testing.assert_array_equal(Orthogonal(gain, seed=7)((30, 20)), plain * np.float32(gain))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (300, 290), (30, 400), (7, 5, 9, 40), (2, 3, 5, 90)])
def test_windows_are_cut_from_the_whole(shape, dtype):
    init = Orthogonal(seed=8)
    whole = init(shape, dtype)
    generator = np.random.default_rng(len(shape))
    for _ in range(6):
        bounds = np.sort(generator.integers(0, np.array(shape) + 1, (2, len(shape))), 0).T.tolist()
        window = tuple(slice(start, stop) for start, stop in bounds)
        part = init(shape, dtype, window=window)
        assert part.shape == whole[window].shape
        np.testing.assert_array_equal(part, whole[window])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(5,), (1, 4), (3, 2, 4)])
def test_delta_orthogonal_is_zero_but_at_its_centre(kernel, dtype):
    shape = (*kernel, 6, 9)
    init = DeltaOrthogonal(0.5, seed=3)
    whole = init(shape, dtype)
    expected = np.zeros_like(whole)
    centre = tuple((k - 1) // 2 for k in kernel)
    expected[centre] = Orthogonal(0.5, seed=3)((6, 9), dtype)
    np.testing.assert_array_equal(whole, expected)
    assert np.count_nonzero(whole) == 54
    generator = np.random.default_rng(1)
    for _ in range(20):
        bounds = np.sort(generator.integers(0, np.array(shape) + 1, (2, len(shape))), 0).T.tolist()
        window = tuple(slice(start, stop) for start, stop in bounds)
        out = np.full(whole[window].shape, 7, whole.dtype)
        assert init(shape, dtype, window=window, out=out) is out
        np.testing.assert_array_equal(out, whole[window])
    assert init((0, 6, 9)).shape == (0, 6, 9)


def test_out_is_filled_in_place():
    init = Orthogonal(seed=9)
    for shape in ((30, 20), (20, 30)):
        out = np.full(shape, np.nan, np.float32)
        assert init(shape, out=out) is out
        np.testing.assert_array_equal(out, init(shape))
    part = np.full((2, 3), np.nan, ml_dtypes.bfloat16)
    window = (slice(5, 7), slice(1, 4))
    init((30, 20), window=window, out=part)
    np.testing.assert_array_equal(part, init((30, 20), "bfloat16")[window])


def test_seeds():
    init = Orthogonal(seed=10)
    np.testing.assert_array_equal(init((5, 5)), init((5, 5)))
    assert (init((5, 5)) != Orthogonal(seed=11)((5, 5))).any()
    advancing = Orthogonal(seed=SeedGenerator(10))
    first, second = advancing((5, 5)), advancing((5, 5))
    assert (first != second).any()
    assert (first != init((5, 5))).any()


def test_names():
    for name in ("orthogonal", "Orthogonal", "OrthogonalInitializer"):
        assert type(initializers.get(name)) is Orthogonal
    assert initializers.orthogonal is initializers.OrthogonalInitializer is Orthogonal


BAD = [
    (lambda: Orthogonal()((5,)), ValueError, r"Orthogonal: shape .* given \(5,\)"),
    (lambda: Orthogonal()(()), ValueError, r"Orthogonal: shape .* given \(\)"),
    (lambda: Orthogonal()((5, 5), "int32"), ValueError, "Orthogonal: dtype .* given int32"),
    (lambda: Orthogonal(math.nan), ValueError, "Orthogonal: gain .* given nan"),
    (lambda: Orthogonal("1"), TypeError, "Orthogonal: gain .* given '1'"),
    (
        lambda: Orthogonal(1e5)((5, 5), "float16"),
        ValueError,
        "gain must be within ±65504 for float16; given 100000",
    ),
    (lambda: Orthogonal(1e39)((5, 5)), ValueError, r"Orthogonal: gain .* float32; given 1e\+39"),
    (
        lambda: Orthogonal()((5, 5), window=(slice(0, 6), slice(0, 5))),
        ValueError,
        "Orthogonal: window",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Haar measure


def draws(count, shape, seed):
    init = Orthogonal(seed=SeedGenerator(seed))
    return np.stack([init(shape, "float64") for _ in range(count)])


@pytest.fixture(scope="module")
def squares():
    return {n: draws(8000, (n, n), 100 + n) for n in (2, 3, 4, 6)} | {
        20: draws(2000, (20, 20), 120)
    }


def far(mean, expected, spread, count):
    """Return whether a mean of `count` values is off by more than chance explains."""
    return abs(mean - expected) > stats.norm.isf(RARE / 2) * spread / math.sqrt(count)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_entries(squares, n):
    """The square of each entry is Beta(1/2, (n - 1)/2), its sign is fair."""
    values = squares[n].reshape(-1, n * n)
    for entry in values.T:
        assert stats.kstest(entry**2, stats.beta(0.5, (n - 1) / 2).cdf).pvalue > RARE / n**2
        assert stats.binomtest(int((entry > 0).sum()), entry.size).pvalue > RARE / n**2
    for order, expected in ((2, 1 / n), (4, 3 / (n * (n + 2))), (6, 15 / (n * (n + 2) * (n + 4)))):
        powers = (values**order).mean(1)
        if order > 2:  # the squares of an orthogonal matrix add up to n
            assert not far(powers.mean(), expected, powers.std(), len(powers))
        else:
            np.testing.assert_allclose(powers, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 6), (20, 20), (40, 17), (17, 40), (33, 2)])
def test_any_direction_is_like_any_other(shape):
    """For fixed unit x and y, (x'Qy)² is Beta(1/2, (n - 1)/2), n the longer side."""
    values = draws(4000, shape, 200 + sum(shape))
    generator = np.random.default_rng(1)
    n = max(shape)
    for _ in range(4):
        x, y = (generator.normal(size=size) for size in shape)
        products = values @ (y / np.linalg.norm(y)) @ (x / np.linalg.norm(x))
        assert stats.kstest(products**2, stats.beta(0.5, (n - 1) / 2).cdf).pvalue > RARE
        assert stats.binomtest(int((products > 0).sum()), products.size).pvalue > RARE


@pytest.mark.parametrize("n", [4, 6, 20])
def test_traces(squares, n):
    """Moments of tr Q are those of a standard normal up to order 2n; E tr Q² = 1.

    Diaconis and Shahshahani, "On the eigenvalues of random matrices", 1994.
    """
    moments = {k: math.prod(range(k - 1, 0, -2)) if k % 2 == 0 else 0 for k in range(1, 9)}
    traces = np.trace(squares[n], axis1=1, axis2=2)
    for k in (1, 2, 3, 4):
        spread = math.sqrt(moments[2 * k] - moments[k] ** 2)
        assert not far((traces**k).mean(), moments[k], spread, traces.size)
    second = np.einsum("nij,nji->n", squares[n], squares[n])
    assert not far(second.mean(), 1.0, math.sqrt(2.0), second.size)


@pytest.mark.parametrize("n", [2, 3, 6, 20])
def test_determinants_are_balanced(squares, n):
    determinants = np.linalg.det(squares[n])
    np.testing.assert_allclose(np.abs(determinants), 1.0, rtol=1e-12)
    assert stats.binomtest(int((determinants > 0).sum()), determinants.size).pvalue > RARE


def test_angles_of_rotations_and_reflections(squares):
    """Eigen-angles: uniform in the plane, density (1 - cos)/π in space; two in four dimensions."""
    plane = squares[2]
    turns = np.linalg.det(plane) > 0
    for part in (plane[turns], plane[~turns]):  # of a reflection: twice the angle of its axis
        angles = np.arctan2(part[:, 1, 0], part[:, 0, 0])
        assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > RARE

    space = squares[3] * np.linalg.det(squares[3])[:, None, None]
    angles = np.arccos((np.trace(space, axis1=1, axis2=2) - 1) / 2)
    assert stats.kstest(angles, lambda t: (t - np.sin(t)) / np.pi).pvalue > RARE

    four = squares[4][np.linalg.det(squares[4]) > 0]
    angles = np.sort(np.abs(np.angle(np.linalg.eigvals(four))), 1)[:, ::2]
    one = angles[np.arange(len(four)), np.random.default_rng(2).integers(0, 2, len(four))]
    assert stats.kstest(one, lambda t: (4 * t + np.sin(2 * t)) / (4 * np.pi)).pvalue > RARE


def test_angles_repel_each_other(squares):
    """In twenty dimensions: how many eigen-angles lie below t, on average and in spread."""
    turns = squares[20][np.linalg.det(squares[20]) > 0]
    angles = np.sort(np.abs(np.angle(np.linalg.eigvals(turns))), 1)[:, ::2]
    for t in (0.2, 0.7, 1.3, 2.0, 2.9):
        counts = (angles < t).sum(1)
        waves = sum(math.sin(2 * k * t) / (2 * k) for k in range(1, 10))
        expected = (20 * t + 2 * waves) / (2 * math.pi)
        assert not far(counts.mean(), expected, counts.std(), counts.size)
        assert counts.var() < 0.5  # independent angles would have up to 2.5


def test_draws_are_independent(squares):
    """Entries of one draw do not tell those of the next."""
    values = squares[6].reshape(len(squares[6]), -1) * math.sqrt(6)
    correlation = values[:-1].T @ values[1:] / math.sqrt(len(values) - 1)
    assert np.abs(correlation).max() < stats.norm.isf(RARE / 2 / correlation.size)


# The same bits


@pytest.mark.parametrize("dtype", DTYPES)
def test_golden_hashes(dtype):
    assert golden_hash(dtype) == GOLDEN[dtype]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_do_not_matter(threads, monkeypatch):
    monkeypatch.setattr(compact_wy_cpu, "FLOPS", 1.0)  # every task by itself
    numba.set_num_threads(threads)
    try:
        assert golden_hash("float32") == GOLDEN["float32"]
        assert golden_hash("float64") == GOLDEN["float64"]
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


ELSEWHERE = """
from tests.initializers import test_orthogonal as test
from numba.core import config
assert config.CPU_NAME == {cpu!r}
for dtype in {dtypes!r}:
    assert test.golden_hash(dtype) == test.GOLDEN[dtype], dtype
"""


@pytest.mark.parametrize(
    "dtypes", [["float32"], pytest.param([*GOLDEN], marks=pytest.mark.exhaustive)], ids=len
)
@pytest.mark.parametrize("cpu", processes.OTHER_CPUS)
def test_instruction_sets_do_not_matter(cpu, dtypes, tmp_path):
    """On x86-64: AVX2 with fma, and SSE4.2 without."""
    environment = {
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    code = ELSEWHERE.format(cpu=cpu, dtypes=dtypes)
    processes.run(processes.python(code), environment, cwd=Path(__file__).parents[2])


DISK_FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file takes a byte
from seedbed import initializers
print(initializers.Orthogonal(seed=7)((4, 3)).tobytes().hex())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits on this platform")
@pytest.mark.exhaustive
def test_a_full_disk_keeps_nothing_but_stops_nothing(tmp_path):
    found = processes.output(DISK_FULL, NUMBA_CACHE_DIR=str(tmp_path))
    assert found.strip() == Orthogonal(seed=7)((4, 3)).tobytes().hex()


def test_no_gain_is_zero():
    values = Orthogonal(0.0, seed=7)((5, 3))
    assert values.tobytes() == bytes(5 * 3 * 4)  # not -0
