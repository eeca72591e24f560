"""Fills on the GPU give the CPU's bits. Without one, `test_simulator` runs this in a simulator."""

import math

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.gpu import DeviceArray
from seedbed.values import recipes
from seedbed.values import window as windows
from seedbed.values.fill import sample
from seedbed.values.recipes import Computed, Constant, Normal, TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed_kernels import fills_cuda
from seedbed_kernels.cuda_shim import cuda

pytestmark = pytest.mark.cuda

SOURCES = {
    "uniform": Uniform(-0.3, 0.2),
    "normal": Normal(0.5, 2.0),
    "truncated": TruncatedNormal(0.1, 0.02),
    "narrow": TruncatedNormal(0.1, 0.02, -0.02, 0.03),
    "tail": TruncatedNormal(0.1, 0.02, -9.0, -3.0),
}
DTYPES = ("float32", "float64", "float16", "bfloat16")
BITS = {"float32": "float32", "float64": "float64", "float16": "int16", "bfloat16": "uint16"}
CASES = [(kind, dtype) for kind in SOURCES for dtype in DTYPES]
STREAM = Stream(2**63 + 7, 3)
LONG = (2**58,)  # a virtual table
GUARD = 5  # elements before and after, which must stay as they are


def expected(source, dtype, first, count):
    window = (slice(first, first + count),)
    return sample(source, LONG, dtype, stream=STREAM, window=window)


def arguments(source, dtype):
    values = expected(source, dtype, 0, 0)
    return recipes.kernel_key(STREAM), recipes.kernel_sampler(source, values.dtype)


def run(dtype, count, function):
    """Return what a function writes into the middle of an array on the GPU, as bits."""
    untouched = np.full(count + 2 * GUARD, 77, BITS[dtype])
    array = cuda.to_device(untouched)
    function(array[GUARD : GUARD + count])
    host = array.copy_to_host()
    assert (host[:GUARD] == 77).all()
    assert (host[GUARD + count :] == 77).all()
    return host[GUARD : GUARD + count].tobytes()


@pytest.mark.parametrize(("kind", "dtype"), CASES)
@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (3, 127), (2**31 - 64, 128), (2**32 - 1, 129), (2**40 + 31, 300), (2**57 - 7, 64)],
)
def test_any_run(kind, dtype, first, count):
    source = SOURCES[kind]
    key, sampler = arguments(source, dtype)

    def function(out):
        fills_cuda.fill(out, first, key, sampler)

    assert run(dtype, count, function) == expected(source, dtype, first, count).tobytes()


@pytest.mark.parametrize("launch", [(1, 1), (1, 3), (3, 1), (2, 2), (5, 1)])
@pytest.mark.parametrize("kind", SOURCES)
def test_any_launch(kind, launch):
    source, dtype, first, count = SOURCES[kind], "float32", 1000, 1500
    key, sampler = arguments(source, dtype)

    def function(out):
        fills_cuda.fill(out, first, key, sampler, launch=launch)

    assert run(dtype, count, function) == expected(source, dtype, first, count).tobytes()


@pytest.mark.parametrize(
    ("dtype", "lower", "upper"),
    [("float32", 0.5, 1.0), ("float64", -1.0, 0.0), ("bfloat16", 1.0, 9.0), ("float16", -0.5, 0.5)],
)
def test_many_rejections(dtype, lower, upper):
    """More lanes wait than a warp has threads, and some for many attempts."""
    source = TruncatedNormal(0.0, 1.0, lower, upper)
    key, sampler = arguments(source, dtype)

    def function(out):
        fills_cuda.fill(out, 50, key, sampler, launch=(1, 1))

    assert run(dtype, 260, function) == expected(source, dtype, 50, 260).tobytes()


SHAPE = (2**20, 3, 5, 7, 34)
WINDOWS = [
    (slice(5, 7), slice(None), slice(None), slice(None), slice(None)),
    (slice(2**19, 2**19 + 2), slice(1, 3), slice(None), slice(None), slice(None)),
    (slice(0, 2), slice(None), slice(1, 4), slice(2, 4), slice(None)),
    (slice(3, 5), slice(0, 2), slice(1, 4), slice(2, 4), slice(9, 30)),
    (slice(2**20 - 1, 2**20), slice(2, 3), slice(4, 5), slice(6, 7), slice(33, 34)),
    (slice(7, 7), slice(None), slice(None), slice(None), slice(None)),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("kind", "dtype"), [("truncated", "bfloat16"), ("uniform", "float64")])
def test_windows(kind, dtype, window):
    on_cpu = sample(SOURCES[kind], SHAPE, dtype, stream=STREAM, window=window)
    on_gpu = sample(SOURCES[kind], SHAPE, dtype, stream=STREAM, window=window, device="cuda")
    assert on_gpu.shape == on_cpu.shape
    assert on_gpu.copy_to_host().tobytes() == on_cpu.tobytes()


@pytest.mark.parametrize(("axes", "rows"), [(fills_cuda.AXES, fills_cuda.ROWS), (1, 3)])
@pytest.mark.parametrize(("begin", "count"), [(0, 120), (7, 50), (29, 1), (60, 60)])
def test_part_of_a_window(monkeypatch, begin, count, axes, rows):
    """Also where one launch cannot take the window."""
    monkeypatch.setattr(fills_cuda, "AXES", axes)
    monkeypatch.setattr(fills_cuda, "ROWS", rows)
    source, shape = SOURCES["normal"], (9, 8, 50)
    window = (slice(2, 6), slice(3, 6), slice(11, 21))
    values = sample(source, shape, "float32", stream=STREAM, window=window)
    key, sampler = arguments(source, "float32")
    base, lengths, strides, length = windows.runs(shape, window)

    def function(out):
        fills_cuda.fill_window(out, begin, base, lengths, strides, length, key, sampler)

    part = values.reshape(-1)[begin : begin + count]
    assert run("float32", count, function) == part.tobytes()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("bool", True),
        ("int8", -3),
        ("uint16", 65535),
        ("int64", -(2**40)),
        ("float16", 0.1),
        ("bfloat16", 0.1),
        ("float8_e4m3fn", 0.5),
        ("float64", -0.1),
        ("complex64", 1 - 2j),
        ("complex128", 1 - 2j),
    ],
)
def test_constants(dtype, value):
    on_gpu = sample(Constant(value), (3, 7), dtype, device="cuda")
    assert on_gpu.copy_to_host().tobytes() == sample(Constant(value), (3, 7), dtype).tobytes()


def test_values_from_the_host():
    rows = Constant(np.arange(6.0))
    window = (slice(1, 3), slice(2, 5))
    for source in (rows, Computed(lambda window, dtype: np.full((2, 3), window[1].start, dtype))):
        on_gpu = sample(source, (4, 6), "float32", window=window, device="cuda")
        on_cpu = sample(source, (4, 6), "float32", window=window)
        np.testing.assert_array_equal(on_gpu.copy_to_host(), on_cpu)


def test_initializers_take_a_device_and_fill_in_place():
    for init in (
        initializers.GlorotUniform(seed=7),
        initializers.TruncatedNormal(seed=7),
        initializers.Identity(),
        initializers.Zeros(),
    ):
        on_cpu = init((6, 4))
        made = init((6, 4), device="cuda:0")
        assert made.copy_to_host().tobytes() == on_cpu.tobytes()
        again = DeviceArray.empty((6, 4), np.dtype(np.float32), 0)
        assert init((6, 4), out=again) is again
        assert again.copy_to_host().tobytes() == on_cpu.tobytes()


def test_parts_of_a_device_array_are_views():
    array = sample(Constant(1.0), (4, 3), "float32", device="cuda")
    sample(Constant(2.0), (2, 3), out=array[1:3])
    sample(Constant(3.0), (3,), out=array[3:].reshape((3,)))
    rows = array.copy_to_host()
    np.testing.assert_array_equal(rows, np.repeat([[1], [2], [2], [3]], 3, axis=1))
    assert array[4:].shape == (0, 3)
    assert len(array) == 4
    assert array.nbytes == math.prod(array.shape) * 4
    for part in (slice(None, None, 2), 3):
        with pytest.raises((TypeError, ValueError), match="slice"):
            array[part]
    with pytest.raises(TypeError, match="copy_to_host"):
        np.asarray(array)


def test_out_and_device_must_fit():
    array = sample(Constant(1.0), (4, 3), "float32", device="cuda")
    with pytest.raises(ValueError, match=r"out must have shape \(3, 4\); given \(4, 3\)"):
        sample(Constant(1.0), (3, 4), "float32", out=array)
    with pytest.raises(ValueError, match="out must have dtype float64; given float32"):
        sample(Constant(1.0), (4, 3), "float64", out=array)
    with pytest.raises(ValueError, match="device is 'cpu' but out is on 'cuda:0'"):
        sample(Constant(1.0), (4, 3), out=array, device="cpu")
    with pytest.raises(ValueError, match="device is 'cuda' but out is a NumPy array"):
        sample(Constant(1.0), (4, 3), out=np.empty((4, 3)), device="cuda")
    with pytest.raises(ValueError, match="device 'cuda:99' is not there"):
        sample(Constant(1.0), (4, 3), device="cuda:99")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tables_on_disk(tmp_path, dtype):
    """Chunks of several windows each, and the rows of an older file."""
    init, how = initializers.TruncatedNormal(seed=7), {"chunk_bytes": 600}
    for name, device in (("cpu", None), ("gpu", "cuda")):
        old, new = tmp_path / f"{name}-old.safetensors", tmp_path / f"{name}.safetensors"
        tables.write(old, init, (9, 5, 7), dtype, device=device, **how)
        tables.write(new, None, (12, 5, 7), grow=old, device=device, **how)
    assert (tmp_path / "gpu.safetensors").read_bytes() == (
        tmp_path / "cpu.safetensors"
    ).read_bytes()
