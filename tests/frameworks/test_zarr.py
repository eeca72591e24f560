"""Zarr arrays of tables in zarr-python, TensorStore and Dask; NumPy arrays are the oracle."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import processes

import seedbed
from seedbed import initializers, tables

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (3007, 40)
WINDOWS = 25


def by_zarr(path):
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("seedbed.zarr").register()
    return zarr.open_array(path, mode="r").__getitem__


def by_dask(path):
    by_zarr(path)
    array = pytest.importorskip("dask.array").from_zarr(path)
    return lambda window: array[window].compute(scheduler="synchronous")


def by_tensorstore(path):
    tensorstore = pytest.importorskip("tensorstore")
    store = tensorstore.open({"driver": "zarr3", "kvstore": f"file://{path}"}).result()
    return lambda window: store[window].read().result()


def by_seedbed(path):
    return tables.open(path)["weight"].__getitem__


@pytest.mark.parametrize("reader", ["zarr", "dask", "tensorstore", "seedbed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard_rows", [110, 1100])
def test_random_windows_are_equal(tmp_path, reader, dtype, shard_rows):
    path = str(tmp_path / "t.zarr")
    tables.write(path, INIT, SHAPE, dtype, chunk_rows=110, shard_rows=shard_rows)
    whole = INIT(SHAPE, dtype)
    read = {"zarr": by_zarr, "dask": by_dask, "tensorstore": by_tensorstore}.get(reader, by_seedbed)
    window_of = read(path)
    random = np.random.default_rng(5)
    for _ in range(WINDOWS):
        bounds = (np.sort(random.integers(0, size + 1, 2)) for size in SHAPE)
        window = tuple(slice(int(start), int(stop)) for start, stop in bounds)
        found = np.asarray(window_of(window))
        np.testing.assert_array_equal(found, whole[window], strict=True)


@pytest.mark.tensorstore
@pytest.mark.zarr
@pytest.mark.parametrize(
    "dtype",
    ["float64", "float16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128", "bool",
     "int8", "uint64"],
)  # fmt: skip
def test_every_dtype_has_the_name_that_others_know(tmp_path, dtype):
    path = str(tmp_path / "t.zarr")
    init = INIT if dtype in ("float64", "float16") else initializers.Ones()
    tables.write(path, init, (50, 3), dtype, chunk_rows=8, shard_rows=16)
    for read in (by_zarr, by_tensorstore):
        found = read(path)(...)
        np.testing.assert_array_equal(found, init((50, 3), dtype), strict=True)


@pytest.mark.zarr
def test_attributes_tell_what_made_an_array(tmp_path):
    import zarr

    tables.write(tmp_path / "t.zarr", INIT, SHAPE, name="user")
    attributes: Any = zarr.open_array(tmp_path / "t.zarr", mode="r").attrs["seedbed"]
    assert attributes["name"] == "user"
    assert attributes["seed"] == 7
    assert attributes["stream_version"] == 1
    assert attributes["seedbed_version"] == seedbed.__version__
    init = initializers.deserialize(attributes["initializer"])
    assert init == INIT or init.get_config() == INIT.get_config()


@pytest.mark.zarr
@pytest.mark.tensorstore
def test_bfloat16_that_zarr_writes_is_read_by_tensorstore(tmp_path):
    import zarr

    import seedbed.zarr

    path = str(tmp_path / "t.zarr")
    values = INIT((100, 4), "bfloat16")
    made = zarr.create_array(
        path, shape=(100, 4), chunks=(7, 4), dtype=seedbed.zarr.BFloat16(), compressors=None
    )
    made[:] = values
    np.testing.assert_array_equal(by_tensorstore(path)(...), values, strict=True)
    np.testing.assert_array_equal(by_zarr(path)(...), values, strict=True)
    assert made.fill_value == 0
    with pytest.raises(tables.OutputError, match="not empty"):
        tables.write(path, INIT, (100, 4), "bfloat16")


@pytest.mark.zarr
def test_entry_points_name_the_data_types():
    import seedbed.zarr

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name, where in project["entry-points"]["zarr.data_type"].items():
        module, kind = where.split(":")
        assert module == "seedbed.zarr"
        assert getattr(seedbed.zarr, kind)().to_json(zarr_format=3) == name


def test_without_zarr_an_error_says_what_to_install():
    code = "import sys; sys.modules['zarr.dtype'] = None; import seedbed.zarr"
    done = processes.run(processes.python(code), check=False)
    assert "needs zarr-python: python -m pip install 'seedbed[zarr]'" in done.stderr
