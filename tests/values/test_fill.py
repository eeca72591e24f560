"""The door: what it refuses, before any work, and where it puts the values."""

import mmap
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from seedbed.errors import naming
from seedbed.values.dtypes import FLOATING, NAMES, as_dtype
from seedbed.values.fill import sample
from seedbed.values.recipes import Computed, Constant, Normal, Uniform
from seedbed.values.seeds import Stream
from seedbed_kernels import memory

NORMAL, STREAM = Normal(0.0, 1.0), Stream(7)


def draw(shape, dtype=None, **options):
    with naming("Thing"):
        return sample(NORMAL, shape, dtype, stream=STREAM, **options)


def ones(*shape, dtype=np.float32, order="C"):
    return np.ones(shape, dtype, order)


def read_only():
    array = ones(4, 4)
    array.flags.writeable = False
    return array


BAD = [
    (((4, -1),), {}, ValueError, r"Thing: shape .* given \(4, -1\)"),
    (((4, 2.5),), {}, TypeError, r"Thing: shape .* given \(4, 2.5\)"),
    (((4, True),), {}, (TypeError, ValueError), r"Thing: shape .* given \(4, True\)"),
    ((4,), {}, TypeError, "Thing: shape .* given 4"),
    (("44",), {}, TypeError, "Thing: shape .* given '44'"),
    (
        ((2**61,),),
        {},
        ValueError,
        r"Thing: shape .* 2\*\*63 .* \(2305843009213693952,\) of float32",
    ),
    (((2**61, 0),), {}, ValueError, r"Thing: shape .* 2\*\*63"),
    (((2**40, 2**40, 0),), {}, ValueError, r"Thing: shape .* 2\*\*63"),
    (((10**400,),), {}, ValueError, r"Thing: shape .* 2\*\*66"),
    (((10**9999, 2),), {}, ValueError, r"Thing: shape .* 2\*\*66"),
    (((1,) * 65,), {}, ValueError, "Thing: shape must have rank 64 or less; given 65"),
    (((4,),), {"dtype": np.zeros(3)}, ValueError, r"Thing: unknown dtype '\[0. 0. 0.\]'"),
    (((4,),), {"dtype": "int8"}, ValueError, "Thing: dtype .* int8"),
    (((4,),), {"dtype": "int32"}, ValueError, "Thing: dtype .* given int32"),
    (((4,),), {"dtype": "bfloat61"}, ValueError, "Thing: unknown dtype 'bfloat61'.* bfloat16"),
    (((4,),), {"dtype": ">f4"}, ValueError, "Thing: unknown dtype"),
    (((4, 4),), {"window": (slice(0, 2),)}, ValueError, "Thing: window .* each axis"),
    (((4,),), {"window": (slice(0, 5),)}, ValueError, "Thing: window .* inside the shape"),
    (((4,),), {"window": (slice(-5, 2),)}, ValueError, "Thing: window .* inside the shape"),
    (((4,),), {"window": (slice(3, 2),)}, ValueError, "Thing: window .* inside the shape"),
    (((4,),), {"window": (slice(0, 4, 2),)}, ValueError, "Thing: window .* step 1"),
    (((4,),), {"window": (slice(0.0, 4),)}, TypeError, "Thing: window .* integer"),
    (((4,),), {"window": (2,)}, TypeError, "Thing: window .* slices"),
    (((4,),), {"window": slice(0, 2)}, TypeError, "Thing: window .* tuple"),
    (((4, 4),), {"out": ones(4, 3)}, ValueError, r"Thing: out .* \(4, 4\); given \(4, 3\)"),
    (((4, 4),), {"out": ones(2, 8)}, ValueError, r"Thing: out .* \(4, 4\); given \(2, 8\)"),
    (((4, 4), "float32"), {"out": ones(4, 4, dtype="i4")}, ValueError, "Thing: out .* given int32"),
    (((4, 4),), {"out": ones(4, 4, order="F")}, ValueError, "Thing: out .* C-contiguous"),
    (((4, 4),), {"out": ones(4, 8)[:, ::2]}, ValueError, "Thing: out .* C-contiguous"),
    (((4, 4), "float64"), {"out": ones(4, 4)}, ValueError, "Thing: out .* float64; given float32"),
    (((4, 4),), {"out": read_only()}, ValueError, "Thing: out must be writable"),
    (((4,),), {"out": [0.0] * 4, "dtype": "float32"}, TypeError, "Thing: out .* given list"),
    (((4,),), {"device": "tpu"}, ValueError, "Thing: device .* 'tpu'"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD)
def test_bad_input(arguments, options, error, message):
    before = np.array(options["out"]) if "out" in options else None
    with pytest.raises(error, match=message):
        draw(*arguments, **options)
    if before is not None:
        np.testing.assert_array_equal(options["out"], before)


def test_window_bounds_mean_what_numpy_means():
    whole = draw((9, 8))
    for window in (
        (slice(None), slice(None)),
        (slice(2, None), slice(None, 3)),
        (slice(-4, -1), slice(-8, None)),
        (slice(3, 3), slice(0, 8)),
        (slice(np.int64(1), np.int32(4)), slice(0, 8, 1)),
    ):
        np.testing.assert_array_equal(draw((9, 8), window=window), whole[window])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 4), (1,), (1, 1, 1, 1, 1, 1)])
def test_small_shapes(shape):
    assert draw(shape).shape == shape
    window = tuple(slice(0, size) for size in shape)
    np.testing.assert_array_equal(draw(shape, window=window), draw(shape))


def test_empty_windows_of_virtual_tables():
    assert draw((2**40, 2**18), window=(slice(5, 5), slice(0, 10))).shape == (0, 10)


@pytest.mark.parametrize("dtype", FLOATING)
def test_out_is_filled_and_returned(dtype):
    expected = draw((33, 7), dtype)
    buffer = np.full(33 * 7 + 2, 9, as_dtype(dtype))
    out = buffer[1:-1].reshape(33, 7)  # contiguous, at an odd address
    assert draw((33, 7), out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert buffer[0] == 9
    assert buffer[-1] == 9


def test_out_may_be_a_memory_map(tmp_path):
    out = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", "float32", (500, 300))
    draw((500, 300), out=out)
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), draw((500, 300)))


def test_prefix_property():
    for dtype in FLOATING:
        np.testing.assert_array_equal(draw((77, 31), dtype), draw((5000, 31), dtype)[:77])


def test_constants_may_be_large_and_cut():
    values = sample(Constant(2.5), (3000, 1000), "bfloat16")
    assert (values == ml_dtypes.bfloat16(2.5)).all()
    window = (slice(10**11, 10**11 + 2), slice(3, 5))
    assert sample(Constant(3), (10**12, 9), "int8", window=window).tolist() == [[3, 3], [3, 3]]


def test_computed_sources_get_plain_bounds():
    seen = []

    def compute(bounds, dtype):
        assert dtype == np.float32
        seen.append(bounds)
        return np.zeros(())

    sample(Computed(compute), (5, 6), window=(slice(-2, None), slice(1, 3)))
    sample(Computed(compute), (5, 6))
    assert seen == [(slice(3, 5), slice(1, 3)), (slice(0, 5), slice(0, 6))]


def test_a_window_of_a_virtual_table_makes_nothing_else():
    """Were the 2**60 elements before it made, this would take years."""
    part = sample(
        Uniform(0.0, 1.0), (2**60,), "float32", stream=STREAM, window=(slice(2**60 - 3, 2**60),)
    )
    assert part.shape == (3,)
    assert len(set(part.tolist())) == 3


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_by_name_and_object(name):
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    for given in (name, dtype, dtype.type):
        assert as_dtype(given) == dtype


def test_dtypes_of_other_libraries():
    class Named:  # as TensorFlow's
        name = "bfloat16"

    class Printed:  # as PyTorch's
        def __repr__(self):
            return "torch.float16"

    assert as_dtype(Named()) == ml_dtypes.bfloat16
    assert as_dtype(Printed()) == np.float16
    assert as_dtype(None) == as_dtype(float) == as_dtype("float") == np.float32
    assert as_dtype("<f8") == np.float64


def test_a_matrix_is_filled_as_an_array():
    out = np.asmatrix(np.empty((300, 40), np.float32))
    assert draw((300, 40), out=out) is out
    np.testing.assert_array_equal(np.asarray(out), draw((300, 40)))


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="needs Linux' huge pages"
)
def test_memory_of_others_is_filled_on_huge_pages(monkeypatch):
    """As that of PyTorch's tensors: whoever touches it first decides."""
    monkeypatch.delenv("NUMPY_MADVISE_HUGEPAGE", raising=False)
    monkeypatch.setattr(memory, "_madvise", memory._madvise.__wrapped__)
    size = 1 << 23
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        out = np.frombuffer(pages, np.float32)
        draw((size // 4,), out=out)
        middle = out.ctypes.data + size // 2
        assert "hg" in flags_of_mapping(middle)
        del out


def test_what_fills_huge_pages_begins_with_one_and_all_else_with_a_cache_line():
    for pages, shape in ((1, (512, 1024)), (2, (2, 512, 1024)), (31, (31, 512, 1024))):
        array = memory.empty(shape, np.float32)
        assert array.nbytes == pages * memory.HUGE
        assert array.ctypes.data % memory.HUGE == 0
    for size in (0, 1, 600_000, 3 * memory.HUGE // 8):
        array = memory.empty((size,), np.float32)
        assert array.shape == (size,)
        assert not size or array.ctypes.data % memory.LINE == 0


def flags_of_mapping(address: int) -> list[str]:
    """Return what Linux says of the mapping that an address lies in: words of two letters."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            start, stop = (int(end, 16) for end in first.split("-"))
            inside = start <= address < stop
        elif inside and first == "VmFlags:":
            return rest
    raise LookupError(hex(address))
