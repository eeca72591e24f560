"""Fills on the GPU give the CPU's bits. Without one, `test_executed` runs this on `libcuda`."""

import math

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.gpu import DeviceArray
from seedbed.gpu.rows import DeviceRows
from seedbed.values import recipes
from seedbed.values import window as windows
from seedbed.values.dtypes import as_dtype
from seedbed.values.fill import sample
from seedbed.values.host import HostArray
from seedbed.values.recipes import Computed, Constant, Normal, TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed.values.selection import Keys
from seedbed_kernels import driver_cuda, fills_cuda
from tests.cuda.arrays import to_gpu, to_host

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


def filler(source, dtype, kind=fills_cuda.Filler):
    """Return what fills by a recipe, and the key."""
    sampler = recipes.kernel_sampler(source, as_dtype(dtype))
    key = fills_cuda.packed_key(recipes.kernel_key(STREAM))
    return kind(sampler, np.dtype(BITS[dtype])), key


def run(dtype, count, function):
    """Return what a function writes into the middle of an array on the GPU, as bits."""
    untouched = np.full(count + 2 * GUARD, 77, BITS[dtype])
    array = to_gpu(untouched)
    with driver_cuda.gpus[0]:
        function(array[GUARD : GUARD + count])
    host = to_host(array)
    assert (host[:GUARD] == 77).all()
    assert (host[GUARD + count :] == 77).all()
    return host[GUARD : GUARD + count].tobytes()


def run_of(source, dtype, first, count, launch=None):
    fill, key = filler(source, dtype)
    place = fill.window(first, (), (), count)
    return run(dtype, count, lambda out: fill(out, 0, count, place, key, launch=launch))


@pytest.mark.parametrize(("kind", "dtype"), CASES)
@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (3, 127), (2**31 - 64, 128), (2**32 - 1, 129), (2**40 + 31, 300), (2**57 - 7, 64)],
)
def test_any_run(kind, dtype, first, count):
    source = SOURCES[kind]
    found = run_of(source, dtype, first, count)
    assert found == expected(source, dtype, first, count).tobytes()


@pytest.mark.parametrize("launch", [(1, 1), (1, 3), (3, 1), (2, 2), (5, 1)])
@pytest.mark.parametrize("kind", SOURCES)
def test_any_launch(kind, launch):
    source, dtype, first, count = SOURCES[kind], "float32", 1000, 1500
    found = run_of(source, dtype, first, count, launch)
    assert found == expected(source, dtype, first, count).tobytes()


@pytest.mark.parametrize(
    ("dtype", "lower", "upper"),
    [("float32", 0.5, 1.0), ("float64", -1.0, 0.0), ("bfloat16", 1.0, 9.0), ("float16", -0.5, 0.5)],
)
def test_many_rejections(dtype, lower, upper):
    """More lanes wait than a warp has threads, and some for many attempts."""
    source = TruncatedNormal(0.0, 1.0, lower, upper)
    found = run_of(source, dtype, 50, 260, (1, 1))
    assert found == expected(source, dtype, 50, 260).tobytes()


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


def part_of(dtype, values, begin, end, function):
    """Return whether a function writes the part of some values, and nothing else."""
    untouched = np.full(values.size, 77, BITS[dtype])
    untouched[begin:end] = values.reshape(-1)[begin:end].view(BITS[dtype])
    return run(dtype, values.size, function) == untouched.tobytes()


@pytest.mark.parametrize(("axes", "runs"), [(fills_cuda.AXES, fills_cuda.RUNS), (1, 3)])
@pytest.mark.parametrize(("begin", "end"), [(0, 120), (7, 57), (29, 30), (60, 120)])
def test_part_of_a_window(monkeypatch, begin, end, axes, runs):
    """Also where one launch cannot take the window."""
    monkeypatch.setattr(fills_cuda, "AXES", axes)
    monkeypatch.setattr(fills_cuda, "RUNS", runs)
    source, shape = SOURCES["normal"], (9, 8, 50)
    window = (slice(2, 6), slice(3, 6), slice(11, 21))
    values = sample(source, shape, "float32", stream=STREAM, window=window)
    fill, key = filler(source, "float32")
    place = fill.window(*windows.runs(shape, window))
    assert part_of("float32", values, begin, end, lambda out: fill(out, begin, end, place, key))


IDS = np.array([2**64 - 9, 0, 2**32, 7, 2**58 + 1, 7, 2**31], np.uint64)


ROWS = [*zip(SOURCES, [*DTYPES, "float32"], strict=True), ("tail", "float64")]  # PTX is run on all


@pytest.mark.parametrize(("axes", "runs"), [(fills_cuda.AXES, fills_cuda.RUNS), (1, 5)])
@pytest.mark.parametrize(("kind", "dtype"), ROWS)
def test_rows_by_number(monkeypatch, kind, dtype, axes, runs):
    """Whole rows, and two runs of each, into an array and into columns of a wider one."""
    monkeypatch.setattr(fills_cuda, "AXES", axes)
    monkeypatch.setattr(fills_cuda, "RUNS", runs)
    source, numbers = SOURCES[kind], to_gpu(IDS)
    fill, key = filler(source, dtype, fills_cuda.RowFiller)
    shape = (2**64, 2 if dtype == "float64" else 4)
    on_cpu = sample(source, shape, dtype, stream=STREAM, rows=IDS)
    place = fill.rows(numbers, shape[1], shape[1])
    end = on_cpu.size - 3
    assert part_of(dtype, on_cpu, 2, end, lambda out: fill(out, 2, end, place, key))

    ids, shape, window = range(90, 3, -29), (97, 3, 50), (None, slice(1, 3), slice(11, 45))
    on_cpu = sample(source, shape, dtype, stream=STREAM, rows=ids, window=window)
    wider = np.full((3, 80), 77, BITS[dtype])
    wider[:, :68] = on_cpu.reshape(3, 68).view(BITS[dtype])
    place = fill.rows(ids, 150, 80, 61, (2,), (50,), 34)
    found = run(dtype, 3 * 80 - 12, lambda out: fill(out, 0, 3 * 68, place, key))
    assert found == wider.tobytes()[: -12 * wider.itemsize]


def on_gpu(values):
    """Return an array on the GPU."""
    array = DeviceArray.empty(values.shape, values.dtype, 0)
    array.copy(values)
    return array


@pytest.mark.parametrize(("dtype", "kind"), [("bfloat16", "int64"), ("float64", "uint64")])
def test_ids_on_the_gpu(dtype, kind):
    """Rows of numbers outside the table are NaN, nothing else is; keys are all inside."""
    init = initializers.RandomNormal(seed=7)
    ids = np.array([[3, -1, 96, 97], [2**40, 0, -(2**63), 3]], np.int64).astype(kind)
    inside = (ids >= 0) & (ids < 97)
    rows = init((97, 5), dtype, rows=np.where(inside, ids, 0))
    rows[~inside] = np.nan
    out = DeviceArray.empty((*ids.shape, 3), as_dtype(dtype), 0)
    assert init((97, 5), dtype, rows=on_gpu(ids), window=(None, slice(1, 4)), out=out) is out
    np.testing.assert_array_equal(out.copy_to_host().astype(float), rows[..., 1:4].astype(float))
    made = init.keyed(on_gpu(ids), 5, dtype, device="cuda:0")
    assert made.copy_to_host().tobytes() == init.keyed(ids, 5, dtype).tobytes()
    table = 2**64 if kind == "uint64" else 2**63 + 5
    made = init((table, 1), dtype, rows=on_gpu(ids), device="cuda").copy_to_host()
    assert (np.isnan(made).any(axis=-1) == ((ids < 0) if kind == "int64" else False)).all()
    zeros = initializers.Zeros()((97, 2), dtype, rows=on_gpu(ids), device="cuda").copy_to_host()
    assert (np.isnan(zeros) == ~inside[..., None]).all()
    assert not zeros[inside].any()


@pytest.mark.parametrize(
    ("ids", "arguments", "message"),
    [
        (np.int32([1]), {"device": "cuda"}, "rows on a GPU must be int64 or uint64; given int32"),
        (np.int64([1]), {}, "rows are on 'cuda:0' but the values are made on the CPU: give device"),
        (np.int64([1]), {"out": np.empty((1, 4), np.float32)}, "rows are on 'cuda:0' but the va"),
    ],
)
def test_ids_on_the_gpu_that_are_refused(ids, arguments, message):
    init = initializers.RandomNormal(seed=7)
    for call in (
        lambda ids: init((9, 4), rows=ids, **arguments),
        lambda ids: init.keyed(ids, 4, **arguments),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^RandomNormal: {message}"):
            call(on_gpu(ids))
        message = message.replace("rows", "keys")
    message = "rows on 'cuda:0' are taken by random initializers and those of one value; give"
    with pytest.raises(ValueError, match=f"Identity: {message}"):
        initializers.Identity()((9, 4), rows=on_gpu(np.int64([1])), device="cuda")


@pytest.mark.parametrize(("kind", "dtype"), ROWS)
def test_rows_by_key(kind, dtype):
    """Aligned or not, whole groups or not, and parts of the rows."""
    source, keys = SOURCES[kind], to_gpu(IDS)
    fill, key = filler(source, dtype, fills_cuda.KeyedFiller)
    for column, width, stride, cut, shift, launch in (  # the shift: where the rows begin in memory
        (0, 16, 16, (0, 112), 3, None), (0, 5, 8, (3, 30), 0, (1, 1)),
        (3, 10, 12, (0, 70), 1, (2, 3)), (2**32 - 8, 8, 8, (0, 56), 3, (1, 2)),
    ):  # fmt: skip
        on_cpu = HostArray.empty((len(IDS), width), as_dtype(dtype), 1)
        on_cpu.random(source, Keys(IDS, column, width), STREAM)
        wider = np.full((len(IDS), stride), 77, BITS[dtype])
        flat = np.full(len(IDS) * width, 77, BITS[dtype])
        flat[slice(*cut)] = on_cpu.array.reshape(-1)[slice(*cut)].view(BITS[dtype])
        wider[:, :width] = flat.reshape(-1, width)
        place = fill.rows(keys, column, width, stride)
        found = run(
            dtype, wider.size + shift,
            lambda out, shift=shift, place=place, cut=cut, launch=launch: fill(
                out[shift:], *cut, place, key, launch=launch
            ),
        )  # fmt: skip
        assert found[shift * wider.itemsize :] == wider.tobytes()


BEFORE, GAP = 3, 4  # elements before the first row of a wider array, and between two


def wider(rows, width, dtype, outer=()):
    """Return rows of a wider array on the GPU, all of which is 77, and that array's bytes."""
    dtype = as_dtype(dtype)
    filled = np.full(BEFORE + rows * (width + GAP), 77, np.uint8).astype(dtype)
    whole = to_gpu(filled.view(np.uint8))
    ends = np.array([BEFORE, filled.size - GAP]) * dtype.itemsize
    outer = outer or (rows,)
    memory, shape = whole[slice(*ends.tolist())], (*outer, width)
    stream = driver_cuda.legacy_default_stream()
    return DeviceRows(memory, shape, dtype, 0, stream, len(outer), width + GAP), whole, filled


def rows_are(values, whole, filled):
    """Return whether a wider array has these rows, and is as it was between, before and after."""
    flat = values.reshape(-1, values.shape[-1])
    for row, made in enumerate(flat):
        at = BEFORE + row * (flat.shape[1] + GAP)
        filled[at : at + flat.shape[1]] = made
    return to_host(whole).tobytes() == filled.tobytes()


NUMBERED = {
    "uniform": initializers.RandomUniform(seed=7),
    "truncated": initializers.TruncatedNormal(seed=7),
    "zeros": initializers.Zeros(),
    "columns": initializers.Constant(np.arange(5.0)),
    "identity": initializers.Identity(0.5),
    "orthogonal": initializers.Orthogonal(seed=7),
}


@pytest.mark.parametrize(("name", "dtype"), [*zip(NUMBERED, DTYPES + DTYPES[:2], strict=True)])
def test_out_may_be_rows_of_a_wider_array(name, dtype):
    init, ids = NUMBERED[name], np.array([[5, 0, 5], [2, 96, 1]])
    table = init((97, 5), dtype)
    out, *around = wider(6, 5, dtype, (2, 3))
    assert init((97, 5), dtype, rows=ids, out=out) is out
    assert rows_are(table[ids].reshape(6, 5), *around)
    out, *around = wider(13, 3, dtype)
    init((97, 5), dtype, rows=slice(90, 2, -7), window=(None, slice(1, 4)), out=out)
    assert rows_are(table[90:2:-7, 1:4], *around)


@pytest.mark.parametrize("dtype", ["complex128", "bool", "int16"])
def test_constant_rows_of_every_width(dtype):
    out, *around = wider(4, 3, dtype)
    value = 1 - 2j if dtype == "complex128" else True
    initializers.Constant(value)((97, 3), dtype, rows=[3, 0, 96, 3], out=out)
    assert rows_are(np.full((4, 3), value, dtype), *around)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_keyed_rows_of_a_wider_array(dtype):
    init, keys = initializers.RandomNormal(seed=7), [-1, 0, 2**63]
    out, *around = wider(3, 9, dtype)
    assert init.keyed(keys, 12, columns=slice(2, 11), out=out) is out
    assert rows_are(init.keyed(keys, 12, dtype)[:, 2:11], *around)


@pytest.mark.parametrize("name", ["uniform", "zeros"])
def test_ids_on_the_gpu_and_rows_of_a_wider_array(name):
    """Rows of numbers outside the table are NaN, and what is between them is as it was."""
    init, ids = NUMBERED[name], np.array([3, -1, 96, 97, 0], np.int64)
    out, *around = wider(5, 4, "float32")
    init((97, 4), rows=on_gpu(ids), out=out)
    expected = init((97, 4), rows=[3, 0, 96, 0, 0])
    expected[[1, 3]] = np.nan
    assert rows_are(expected, *around)


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
