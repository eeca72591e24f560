"""Runs of a table's elements, and the cut of an output into parts and chunks."""

import math

import numpy as np
import pytest

from seedbed import initializers
from seedbed.tables.layout import chunks
from seedbed.tables.output import Part, output_at
from seedbed.tables.table import table
from seedbed.values.window import windows

SHAPES = [(7,), (5, 4), (3, 1, 6), (2, 3, 4, 5), (1, 1), ()]


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_runs_in_c_order(shape):
    numbers = np.arange(math.prod(shape)).reshape(shape)
    for begin in range(numbers.size + 1):
        for end in range(begin, numbers.size + 1):
            parts = [numbers[window].ravel() for window in windows(shape, begin, end)]
            found = np.concatenate([np.empty(0, int), *parts])
            assert np.array_equal(found, np.arange(begin, end))
            assert len(parts) <= max(2 * len(shape) - 1, 1)


@pytest.mark.parametrize("shape", [(1000,), (50, 21), (3, 7, 6), (2, 3, 4, 5), ()])
@pytest.mark.parametrize("init", [initializers.RandomNormal(seed=3), initializers.Constant(2.5)])
def test_any_run_of_a_table(shape, init):
    one = table(init, shape)
    whole = init(shape).ravel()
    random = np.random.default_rng(5)
    for _ in range(50):
        begin, end = sorted(random.integers(0, whole.size + 1, 2))
        out = np.full(end - begin, np.nan, np.float32)
        one.fill(out, begin)
        assert np.array_equal(out, whole[begin:end])


def test_rows_of_a_virtual_table():
    init = initializers.RandomNormal(seed=3)
    one = table(init, (10**12, 128), "bfloat16", rows=(10**11, 10**12))
    out = np.empty(1000, one.dtype)
    one.fill(out, 77)
    rows = init((10**12, 128), "bfloat16", window=(slice(10**11, 10**11 + 9), slice(None)))
    assert np.array_equal(out.view(np.uint16), rows.ravel()[77:1077].view(np.uint16))


class Whole(initializers.RandomNormal):
    """Cannot compute a part by itself."""

    windowed = False
    calls = 0

    def __call__(self, *arguments, window=None, **options):
        assert window is None
        self.calls += 1
        return super().__call__(*arguments, **options)


def test_what_is_computed_whole_is_computed_once():
    init = Whole(seed=1)
    whole = initializers.RandomNormal(seed=1)((100, 10)).ravel()
    one = table(init, (100, 10))
    assert init.calls == 1  # it may refuse the shape, before a file is touched
    for begin in range(0, 1000, 100):
        out = np.empty(100, np.float32)
        one.fill(out, begin)
        assert np.array_equal(out, whole[begin : begin + 100])
    assert init.calls == 1


@pytest.mark.parametrize("dtype", ["float64", "float16", "bool"])
@pytest.mark.parametrize("shape", [(1000, 33), (5,), (0, 3), (100_003,)])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_parts_and_chunks_cover_everything_once(tmp_path, shape, dtype, suffix):
    one = table(initializers.Zeros(), shape, dtype)
    output = output_at(tmp_path / f"table{suffix}", [one], None)
    header = len(output.files[0].header)
    for parts in (1, 2, 3, 7, 50):
        for nbytes in (1, 1000, 4096, 10**9) if math.prod(shape) < 10**5 else (10_000,):
            at = header
            for number in range(1, parts + 1):
                extents = output.extents(Part(number, parts))
                assert number == 1 or at % 4096 == 0 or at in (header, output.files[0].size)
                for chunk in chunks(extents, nbytes):
                    assert chunk.offset == at
                    assert 0 < chunk.nbytes <= max(nbytes, one.dtype.itemsize)
                    assert chunk.offset == header + chunk.begin * one.dtype.itemsize
                    at += chunk.nbytes
            assert at == output.files[0].size


def test_chunks_after_and_before_what_is_done(tmp_path):
    made = [table(initializers.Zeros(), (n,), d, name=f"{n}") for n, d in ((100, "f8"), (37, "i2"))]
    output = output_at(tmp_path / "table.safetensors", made, None)
    extents = output.extents(Part())
    total = sum(extent.nbytes for extent in extents)
    assert total == 874
    for done in (0, 8, 400, 800, 802, 874):
        after = [(c.offset, c.nbytes) for c in chunks(extents, 64, done)]
        before = [(c.offset, c.nbytes) for c in chunks(extents, 64, 0, done)]
        at = len(output.files[0].header)
        for offset, nbytes in before + after:
            assert offset == at
            at += nbytes
        assert sum(nbytes for _, nbytes in before) == done
        assert sum(nbytes for _, nbytes in after) == total - done
