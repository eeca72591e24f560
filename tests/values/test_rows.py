"""Rows by number: equal to indexing the whole table, for every initializer and dtype."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from seedbed import initializers
from seedbed.errors import ArgumentError, SeedbedError
from seedbed.values.dtypes import FLOATING, as_dtype

SHAPE = (97, 12)
IDS = [5, 0, 96, 5, 31, 32, 33, 64, 1]
MATRICES = {
    "uniform": initializers.RandomUniform(-0.3, 0.2, seed=7),
    "normal": initializers.RandomNormal(0.5, 2.0, seed=7),
    "truncated": initializers.TruncatedNormal(0.1, 0.02, seed=7),
    "narrow": initializers.TruncatedNormal(0.1, 0.02, seed=7, lower=-0.02, upper=0.03),
    "tail": initializers.TruncatedNormal(0.1, 0.02, seed=7, lower=-9.0, upper=-3.0),
    "glorot": initializers.GlorotUniform(seed=7),
    "he": initializers.HeNormal(seed=7),
    "orthogonal": initializers.Orthogonal(1.5, seed=7),
    "identity": initializers.Identity(2.0),
    "constant": initializers.Constant(0.5),
    "row": initializers.Constant(np.arange(12.0)),
    "column": initializers.Constant(np.arange(97.0)[:, None]),
    "matrix": initializers.Constant(np.arange(97.0 * 12).reshape(SHAPE) / 8),
    "zeros": initializers.Zeros(),
}
RANDOM = ("uniform", "normal", "truncated", "narrow", "tail", "glorot", "he")


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", MATRICES)
def test_rows_are_those_of_the_whole_table(name, dtype):
    init = MATRICES[name]
    whole = init(SHAPE, dtype)
    for ids in (IDS, np.array(IDS, np.int32), np.array(IDS, np.uint64), [], range(3, 60, 7)):
        found = init(SHAPE, dtype, rows=ids)
        assert found.tobytes() == whole[np.asarray(ids, int)].tobytes()
    for cut in (slice(3, None, 8), slice(None, None, -1), slice(90, 200), slice(5, 5)):
        assert init(SHAPE, dtype, rows=cut).tobytes() == whole[cut].tobytes()
    grid = np.reshape(IDS, (3, 3))
    found = init(SHAPE, dtype, rows=grid, window=(None, slice(3, 11)))
    assert found.shape == (3, 3, 8)
    assert found.tobytes() == whole[grid][..., 3:11].tobytes()
    assert init(SHAPE, dtype, rows=31).tobytes() == whole[31].tobytes()


@pytest.mark.parametrize("name", MATRICES)
def test_out_may_be_rows_of_a_wider_array(name):
    """As an optimizer's state follows the weights; what lies between stays as it was."""
    init = MATRICES[name]
    expected = init(SHAPE)[IDS][:, 2:9]
    for make in (
        lambda: np.full((9, 20), 7, np.float32)[:, 5:12],
        lambda: np.full((18, 7), 7, np.float32)[::2],
        lambda: np.full((9, 7), 7, np.float32)[::-1],
        lambda: np.full((9, 7), 7, np.float32),
    ):
        out = make()
        assert init(SHAPE, rows=IDS, window=(None, slice(2, 9)), out=out) is out
        np.testing.assert_array_equal(out, expected)
        around = out.base if out.base is not None else out
        assert (around == 7).sum() == around.size - out.size + (expected == 7).sum()


@pytest.mark.parametrize(
    ("init", "shape"),
    [
        (initializers.STFT("real"), (32, 2, 17)),
        (initializers.Orthogonal(seed=3), (6, 5, 4)),
        (initializers.DeltaOrthogonal(seed=3), (5, 3, 4, 6)),
        (initializers.HeNormal(seed=3), (40, 3, 7, 5)),
        (initializers.RandomUniform(seed=3), (50,)),
    ],
)
def test_rows_of_tables_of_other_ranks(init, shape):
    whole = init(shape)
    ids = [[3, 0], [2, 3]]
    assert init(shape, rows=ids).tobytes() == whole[ids].tobytes()
    if len(shape) > 2:
        window = (None, slice(1, 2), *[slice(None)] * (len(shape) - 3), slice(1, 4))
        expected = whole[ids][:, :, 1:2, ..., 1:4]
        assert init(shape, rows=ids, window=window).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", RANDOM)
def test_eight_shards_by_remainder_make_the_table(name):
    whole = MATRICES[name](SHAPE)
    again = np.empty_like(whole)
    for shard in range(8):
        again[shard::8] = MATRICES[name](SHAPE, rows=slice(shard, None, 8))
    assert again.tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", ["uniform", "normal", "truncated", "narrow"])
@pytest.mark.parametrize("width", [1, 3, 64, 128, 300])
def test_rows_far_inside_virtual_tables(name, dtype, width):
    """Equal to one-row windows, below and beyond 2**63 elements."""
    init = MATRICES[name]
    rows = 2**66 // width if as_dtype(dtype).itemsize < 8 else 2**65 // width
    far = [2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**58 % rows, min(rows - 1, 2**64 - 1), 7]
    found = init((rows, width), dtype, rows=np.array(far, np.uint64))
    for row, values in zip(far, found, strict=True):
        window = (slice(row, row + 1), slice(None))
        assert init((rows, width), dtype, window=window).tobytes() == values.tobytes()


def test_a_generator_draws_once_for_rows():
    generator = initializers.SeedGenerator(5)
    init = initializers.RandomNormal(seed=generator)
    first, second = init((9, 4), rows=[1, 2]), init((9, 4), rows=[1, 2])
    twin = initializers.RandomNormal(seed=initializers.SeedGenerator(5))
    assert first.tobytes() == twin((9, 4))[[1, 2]].tobytes()
    assert second.tobytes() == twin((9, 4))[[1, 2]].tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [5, 97, -1]}, r"rows must lie in \[0, 97\); given 97 at place 1"),
        ({"rows": [5, 97]}, r"rows must lie in \[0, 97\); given 97 at place 1"),
        ({"rows": [5, -1, 97]}, r"rows must lie in \[0, 97\); given -1 at place 1"),
        ({"rows": [5, -1]}, r"rows must lie in \[0, 97\); given -1 at place 1"),
        ({"rows": np.array([1, 2**64 - 1], np.uint64)}, "given 18446744073709551615 at place 1"),
        ({"rows": range(90, 100)}, r"given 99 at place 9"),
        ({"rows": [1.5]}, "rows must be integers; given"),
        ({"rows": [True, False]}, "rows must be integers; given"),
        ({"rows": "12"}, "rows must be integers; given '12'"),
        ({"rows": slice(0.5, 3)}, "rows must be integers; given slice"),
        ({"rows": slice(0, 3, 0)}, "rows must be integers; given slice"),
        ({"rows": [[1], [2, 3]]}, "rows must be integers; given"),
        ({"rows": [1], "window": (slice(0, 2), slice(0, 2))}, "window must have None for the firs"),
        ({"rows": [1], "window": (None,)}, "window must have None and one slice"),
        ({"rows": [1], "window": (None, slice(0, 13))}, "window must have bounds inside"),
        ({"rows": [1, 2], "out": np.zeros((2, 11), "f4")}, r"out must have shape \(2, 12\)"),
        ({"rows": [1, 2], "out": np.zeros((2, 24), "f4")[:, ::2]}, "out must be C-contiguous, or"),
        ({"rows": [1, 2], "out": np.zeros((12, 2), "f4").T}, "out must be C-contiguous, or"),
        (
            {"rows": [1, 2], "out": as_strided(np.zeros(20, "f4"), (2, 12), (8, 4))},
            "out must be C-contiguous, or",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, message):
    for init in (MATRICES["normal"], MATRICES["identity"], MATRICES["orthogonal"]):
        with pytest.raises(SeedbedError, match=f"{type(init).__name__}: .*{message}"):
            init(SHAPE, **arguments)


def test_a_table_without_rows_has_none():
    with pytest.raises(
        ArgumentError, match=r"Zeros: rows need a table with rows; given shape \(\)"
    ):
        initializers.Zeros()((), rows=[0])
