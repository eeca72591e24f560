"""seedbed.dask: lazy arrays whose blocks are windows; NumPy arrays are the oracle."""

import numpy as np
import pytest
from tests import processes

pytest.importorskip("dask.array")

import dask
import dask.array as da

import seedbed.dask
from seedbed import initializers, tables
from seedbed.dask import arrays, writing
from seedbed.errors import ArgumentError, FormatError

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (101, 37)


class Counted(initializers.Orthogonal):
    windowed = False
    made = []  # noqa: RUF012

    def __call__(self, shape, dtype=None, *, window=None, **others):
        self.made.append(window)
        return super().__call__(shape, dtype, window=window, **others)


@pytest.fixture(autouse=True)
def _threads():
    with dask.config.set(scheduler="threads", num_workers=3):
        yield


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "float8_e4m3fn"])
@pytest.mark.parametrize("chunks", ["auto", -1, 1000, (10, 37), {0: 13, 1: 5}, ((100, 1), (7, 30))])
def test_values_do_not_depend_on_chunks(chunks, dtype):
    init = INIT if "8" not in dtype else initializers.Ones()
    table = seedbed.dask.array(init, SHAPE, chunks, dtype)
    whole = init(SHAPE, dtype)
    assert table.dtype == whole.dtype == table._meta.dtype
    assert table._meta.shape == (0, 0)
    np.testing.assert_array_equal(table.compute(), whole, strict=True)
    np.testing.assert_array_equal(table[5:70:3, ::-1].compute(), whole[5:70:3, ::-1], strict=True)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (5, 4, 3), (2, 3, 4, 5, 6)])
def test_every_rank(shape):
    table = seedbed.dask.array("ones" if not shape else INIT, shape, 2)
    assert table.shape == shape
    wanted = initializers.Ones()(shape) if not shape else INIT(shape)
    np.testing.assert_array_equal(table.compute(), wanted, strict=True)


def test_an_orthogonal_matrix_is_made_once_and_cut():
    Counted.made.clear()
    table = seedbed.dask.array(Counted(seed=1), (24, 16), (5, 7))
    assert table.numblocks == (5, 3)
    wanted = initializers.Orthogonal(seed=1)((24, 16))
    np.testing.assert_array_equal(table.compute(), wanted, strict=True)
    assert Counted.made == [None]


def test_a_block_is_all_that_is_made():
    table = seedbed.dask.array(INIT, (10**12, 128), (10**9, 128), "bfloat16")
    assert table.numblocks == (1000, 1)
    chunks = ((10**12 - 1000, 600, 400), (100, 28))
    last = seedbed.dask.array(INIT, (10**12, 128), chunks, "bfloat16")[-1000:]
    window = (slice(10**12 - 1000, 10**12), slice(0, 128))
    wanted = INIT((10**12, 128), "bfloat16", window=window)
    np.testing.assert_array_equal(last.compute(), wanted, strict=True)


def test_a_graph_of_a_million_chunks_is_small_and_fuses():
    table = seedbed.dask.array(INIT, (10**9, 64), (1000, 64))
    assert table.npartitions == 10**6
    assert [layer.is_materialized() for layer in table.dask.layers.values()] == [False]
    small = seedbed.dask.array(INIT, (1000, 64), (100, 64))
    following = (small * 2 + 1).astype("float64")
    (fused,) = dask.optimize(following)
    assert len(dict(fused.dask)) == small.npartitions  # one task a block
    np.testing.assert_array_equal(
        following.compute(), (INIT((1000, 64)) * 2 + 1).astype("float64"), strict=True
    )


def test_names_tell_what_is_in_an_array():
    def name(init=INIT, shape=SHAPE, chunks=10, dtype=None):
        return seedbed.dask.array(init, shape, chunks, dtype).name

    again = initializers.TruncatedNormal(stddev=0.02, seed=7)
    again(SHAPE)
    assert name() == name(again) == name(dtype="float32") == name(shape=list(SHAPE))
    others = [
        name(initializers.TruncatedNormal(stddev=0.02, seed=8)),
        name(initializers.TruncatedNormal(stddev=0.03, seed=7)),
        name(initializers.RandomNormal(stddev=0.02, seed=7)),
        name(shape=(101, 38)),
        name(chunks=11),
        name(dtype="bfloat16"),
    ]
    assert len({name(), *others}) == 7


def test_names_of_classes_that_leave_their_configuration_out():
    class Filled(initializers.Initializer):
        def __init__(self, value):
            self.value = value

        def __call__(self, shape, dtype=None):
            return np.full(shape, self.value, dtype)

    one, two = (seedbed.dask.array(Filled(value), (4, 4), 2) for value in (1, 2))
    np.testing.assert_array_equal((one + 10 * two).compute(), np.full((4, 4), 21, "float32"))


def test_rows_are_those_of_the_table():
    table = INIT(SHAPE, "bfloat16")
    numbers = np.random.default_rng(1).integers(0, 101, (40, 3))
    for ids, chunks in ((numbers, (7, 2)), (numbers[:, 0], 9), (numbers.astype("uint8"), -1)):
        lazy = da.from_array(ids, chunks)
        chosen = seedbed.dask.rows(INIT, lazy, SHAPE, "bfloat16")
        assert chosen.chunks == (*lazy.chunks, (37,))
        np.testing.assert_array_equal(chosen.compute(), table[ids], strict=True)
    some = da.from_array(numbers[:, 0], 9)
    unknown = some[some > 50]  # Dask does not know how many
    chosen = seedbed.dask.rows(INIT, unknown, SHAPE, "bfloat16").compute()
    np.testing.assert_array_equal(chosen, table[numbers[:, 0][numbers[:, 0] > 50]], strict=True)
    flat = seedbed.dask.rows(INIT, some, (101,))
    np.testing.assert_array_equal(flat.compute(), INIT((101,))[numbers[:, 0]], strict=True)
    other = seedbed.dask.rows(INIT, some + 0, SHAPE)
    assert other.name != seedbed.dask.rows(INIT, some, SHAPE).name
    with pytest.raises(ValueError, match=r"rows must lie in \[0, 101\); given 101"):
        seedbed.dask.rows(INIT, some * 0 + 101, SHAPE).compute()


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "array: init must be a Seedbed", (3, (4, 4))),
        (ValueError, "array: init must have an integer seed", ("random_normal", (4, 4))),
        (
            ValueError,
            "array: init must have an integer seed",
            (initializers.RandomNormal(seed=initializers.SeedGenerator(1)), (4, 4)),
        ),
        (ValueError, "array: shape must hold", (INIT, (-4, 4))),
        (ValueError, "array: unknown dtype", (INIT, (4, 4), 2, "float33")),
        (ValueError, "dtype must be one of", (INIT, (4, 4), 2, "int32")),
        (ValueError, "rank", (initializers.Orthogonal(seed=1), (4,), 2)),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), 0)),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), -2)),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), "many")),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), (2, 2, 2))),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), ((3, 3), (4,)))),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), ((5, -1), (4,)))),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), ((float("nan"),), (4,)))),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), (2.5, 4))),
        (ValueError, "array: chunks do not fit", (INIT, (4, 4), None)),
    ],
)
def test_arrays_that_are_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        seedbed.dask.array(*arguments)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "rows: ids must be a dask array", (INIT, [1, 2], (4, 4))),
        (
            TypeError,
            "rows: ids must be a dask array of integers; given one of float64",
            (INIT, da.ones(3), (4, 4)),
        ),
        (TypeError, "given one of bool", (INIT, da.ones(3, dtype=bool), (4, 4))),
        (ValueError, "rows: shape must have rank 1", (INIT, da.arange(3), ())),
        (
            ValueError,
            "rows: init must make rows without",
            (initializers.Orthogonal(seed=1), da.arange(3), (4, 4)),
        ),
        (
            ValueError,
            "rows: init must have an integer seed",
            ("random_normal", da.arange(3), (4, 4)),
        ),
    ],
)
def test_rows_that_are_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        seedbed.dask.rows(*arguments)


def test_other_processes_make_the_same_values():
    processes.output("""if __name__ == "__main__":
        import dask, dask.array, numpy as np, seedbed.dask
        from seedbed import initializers
        init = initializers.GlorotUniform(seed=7)
        table = seedbed.dask.array(init, (100, 64), (30, 50), "bfloat16")
        ids = dask.array.from_array(np.arange(99, -1, -3), chunks=9)
        chosen = seedbed.dask.rows(init, ids, (100, 64))
        made, picked = dask.compute(table, chosen, scheduler="processes", num_workers=2)
        np.testing.assert_array_equal(made, init((100, 64), "bfloat16"), strict=True)
        np.testing.assert_array_equal(picked, init((100, 64))[99::-3], strict=True)
    """)


ZARR = {"chunk_rows": 100, "shard_rows": 500}


@pytest.mark.parametrize(
    ("path", "dtype", "options", "scheduler"),
    [
        ("t.safetensors", "float32", {}, "threads"),
        ("t.safetensors", "float8_e4m3fn", {}, "processes"),
        ("t.npy", "float64", {}, "threads"),
        ("user", "bfloat16", {"shards": 4}, "threads"),
        ("t.zarr", "float32", ZARR, "processes"),
        ("t.zarr", "bfloat16", ZARR, "threads"),
        ("memory://dask/t.zarr", "float8_e5m2", ZARR, "threads"),
        ("memory://dask/user", "float16", {"shards": 4}, "threads"),
    ],
)
def test_a_stored_table_is_a_lazy_array(tmp_path, path, dtype, options, scheduler):
    shape = (3007, 40)
    path = path if "://" in path else str(tmp_path / path)
    init = initializers.Ones() if dtype.startswith("float8") else INIT
    tables.write(path, init, shape, dtype, **options)
    whole = init(shape, dtype)
    random = np.random.default_rng(5)
    for chunks in ("auto", 700, ((1, 3000, 6), (39, 1))):
        lazy = tables.open(path)["weight"].to_dask(chunks)
        assert lazy.name == tables.open(path)["weight"].to_dask(chunks).name
        start, stop = np.sort(random.integers(0, 3008, 2)).tolist()
        with dask.config.set(scheduler=scheduler, num_workers=2):
            found, rows = dask.compute(lazy, lazy[start:stop, 3:17])
        assert found.dtype == whole.dtype
        assert found.tobytes() == whole.tobytes()
        assert rows.tobytes() == whole[start:stop, 3:17].tobytes()


def test_a_lazy_array_of_a_stored_table_is_of_whole_rows_and_of_its_state(tmp_path):
    made = {"a": np.zeros((6, 4), "float32"), "b": np.ones(3)}
    path = tmp_path / "t.safetensors"
    save = pytest.importorskip("safetensors.numpy").save_file
    save(made, path)
    lazy = tables.open(path)["a"].to_dask()
    assert lazy.chunks == ((6,), (4,))
    assert tables.open(path)["b"].to_dask().compute().tolist() == [1, 1, 1]
    with pytest.raises(ArgumentError, match=r"to_dask: chunks .* \(6, 4\); given \(2, 2, 2\)"):
        tables.open(path)["a"].to_dask((2, 2, 2))
    made["a"][0] = 7
    save(made, path)
    assert tables.open(path)["a"].to_dask().name != lazy.name
    with pytest.raises(FormatError, match="changed since it was opened"):
        lazy.compute()


def test_examples():
    import doctest
    from pathlib import Path

    for module in (arrays, writing):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
    page = Path(__file__).parents[2] / "docs/frameworks.md"
    section = page.read_text().split("\n## Dask\n")[1]
    processes.output(section.split("```python\n")[1].split("```")[0])


def test_without_dask_an_error_says_what_to_install():
    code = "import sys; sys.modules['dask'] = None; import seedbed.dask"
    done = processes.run(processes.python(code), check=False)
    assert "seedbed.dask needs Dask: python -m pip install 'seedbed[dask]'" in done.stderr
