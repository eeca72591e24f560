"""Orthogonal on a GPU: its algorithm on NumPy arrays here, and all of it where there is a GPU."""

import numpy as np
import pytest
import scipy.linalg

from seedbed import initializers
from seedbed.values.dtypes import as_dtype
from seedbed.values.fill import sample
from seedbed.values.recipes import Normal
from seedbed.values.seeds import Stream
from seedbed_kernels import fills_cpu, haar_cpu, haar_cuda, samplers

KEY = (np.uint64(7), np.uint64(0), np.uint64(0))


def on_numpy(corner, size, shape, real, gain=1.0):
    """Return what `haar_cuda.haar` does, with NumPy for CuPy and the CPU's fill for the GPU's."""
    x = np.empty((corner[1] + size[1], shape[0]), real)
    normal = samplers.Normal(real(1), real(0))
    draw = fills_cpu.Filler(normal, x.dtype)
    draw(x, 0, x.size, draw.WHOLE, fills_cpu.packed_key(KEY))
    return haar_cuda.columns(x, corner, size, gain, np, scipy.linalg.solve_triangular)


def on_cpu(corner, size, shape, real, gain=1.0):
    out = np.empty(size, real)
    haar_cpu.haar(out, corner, shape, KEY, gain)
    return out


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1), (7, 1), (2, 2), (64, 64), (300, 300), (700, 40), (65, 64)]
)
def test_equal_to_the_cpu_within_rounding(shape, real):
    q = on_numpy((0, 0), shape, shape, real)
    epsilon = np.finfo(real).eps
    assert q.dtype == real
    assert np.abs(q - on_cpu((0, 0), shape, shape, real)).max() < 10 * epsilon
    away = q.astype(np.float64).T @ q - np.eye(shape[1])
    assert np.abs(away).max() < 12 * epsilon


@pytest.mark.parametrize(
    ("corner", "size"),
    [((0, 0), (90, 3)), ((5, 7), (20, 11)), ((30, 2), (4, 40)), ((89, 41), (1, 1))],
)
def test_windows(corner, size):
    q = on_numpy(corner, size, (90, 42), np.float64, -2.5)
    assert q.shape == size
    np.testing.assert_allclose(q, on_cpu(corner, size, (90, 42), np.float64, -2.5), atol=1e-14)


def test_rounding_to_16_bits():
    q = on_numpy((0, 0), (50, 30), (50, 30), np.float32)
    for bits, dtype in ((np.uint16, "bfloat16"), (np.int16, "float16")):
        with np.errstate(under="ignore"):
            found = haar_cuda.rounded(q, np.dtype(bits), np)
            expected = q.astype(as_dtype(dtype))
        assert found.dtype == bits
        np.testing.assert_array_equal(found, expected.view(bits))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1), (300, 300), (1000, 40), (40, 1000), (3, 3, 8, 64)])
def test_on_the_gpu(shape, dtype):
    init = initializers.Orthogonal(gain=1.5, seed=7)
    matrix = init(shape, dtype).astype(np.float64)
    on_gpu = init(shape, dtype, device="cuda").copy_to_host().astype(np.float64)
    step = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    assert np.abs(on_gpu - matrix).max() < step
    window = tuple(slice(size // 3, size) for size in shape)
    part = init(shape, dtype, window=window, device="cuda").copy_to_host().astype(np.float64)
    assert np.abs(part - matrix[window]).max() < step


@pytest.mark.cuda
def test_vectors_are_the_cpus():
    normal, shape, stream = Normal(0.0, 1.0), (40, 300), Stream(7)
    x = sample(normal, shape, stream=stream, device="cuda")
    assert x.copy_to_host().tobytes() == sample(normal, shape, stream=stream).tobytes()
