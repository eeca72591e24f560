"""Rows of tables on disk, read as from an array."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from seedbed import initializers, tables
from seedbed.errors import FormatError
from seedbed.storage import direct

INIT = initializers.RandomNormal(seed=21)
SHAPE = (1003, 7, 3)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["a.npy", "a.safetensors", "shards"])
def table(request):
    shards = {"shards": 5} if request.param == "shards" else {}
    tables.write(request.param, INIT, SHAPE, **shards)
    return tables.open(request.param)["weight"]


INDICES = [
    0,
    -1,
    1002,
    slice(None),
    slice(5, 9),
    slice(195, 410),
    slice(-3, None),
    slice(9, 5),
    slice(None, None, 3),
    slice(900, 3, -2),
    slice(7, None, 100),
    slice(1000, 7, -99),
    [3],
    [5, 5, 900, -1, 4, 3],
    [],
    np.array([[1, 2], [600, 0]]),
    ...,
    (slice(2, 5), 3),
    (slice(2, 5), slice(None), -1),
    (4, slice(1, 3), 2),
    (..., 1),
    ([8, 1], slice(2, 4)),
    ([8, 1, 8], [0, 2, 1]),
    ([8, 1], slice(None), [2, 0]),
    (5, slice(None), [2, 0]),
    (5, [2, 0]),
    (slice(5, 7), [2, 0]),
    (slice(900, 3, -99), slice(None), 1),
    (np.array([[1, 2], [600, 0]]), slice(2, 4)),
    (np.array([[1, 2], [600, 0]]), [[0], [3]]),
    (np.array([[1, 2], [600, 0]]), None, ..., 2),
    (np.arange(1003) % 97 == 5, slice(2, 4), 1),
    (np.int64(7), 1, 1),
    np.arange(1003) % 97 == 5,
    (),
]


@pytest.mark.parametrize("index", INDICES, ids=lambda index: repr(index)[:40])
def test_every_index_is_that_of_numpy(table, index):
    expected = INIT(SHAPE)[index]
    found = table[index]
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert np.shape(found) == expected.shape


def test_it_says_what_it_is(table):
    assert (table.shape, table.dtype, table.ndim, len(table)) == (SHAPE, np.float32, 3, 1003)
    assert (table.size, table.nbytes) == (21063, 84252)
    assert np.array_equal(np.asarray(table), INIT(SHAPE))
    assert np.array_equal(np.asarray(table, "float64"), INIT(SHAPE).astype("float64"))


@pytest.mark.parametrize("index", [1003, -1004, [0, 1003], [-1004]])
def test_rows_that_are_not_there(table, index):
    with pytest.raises(IndexError, match=r"1,003 rows"):
        table[index]


@pytest.mark.parametrize("index", ["a", 1.5, [1.5], [True, False]])
def test_what_is_no_index(table, index):
    with pytest.raises(ValueError, match=r"tables\.open: "):
        table[index]


def test_only_the_rows_asked_for_are_read(table, monkeypatch):
    read, preadv = [0], os.preadv

    def counted(*arguments):
        count = preadv(*arguments)
        read[0] += count
        return count

    _ = table[200:204], table[[3, 4, 900]], table[7]
    monkeypatch.setattr(direct.os, "preadv", counted)
    _ = table[198:206], table[[3, 4, 900]], table[7]
    assert read[0] == (8 + 3 + 1) * 84


def test_several_tables_and_all_dtypes():
    made = {
        "a": np.arange(12, dtype=ml_dtypes.bfloat16).reshape(4, 3),
        "b": np.array([True, False]),
        "c": np.arange(3, dtype="int64"),
        "scalar": np.array(2.5),
        "empty": np.empty((0, 4), "float16"),
        "flat": np.empty((4, 0), "float16"),
    }
    safetensors.numpy.save_file(made, "others.safetensors")
    found = tables.open("others.safetensors")
    assert set(found) == set(made)
    assert len(found) == len(made)
    for name, values in made.items():
        assert found[name].dtype == values.dtype
        assert found[name][...].tobytes() == values.tobytes()
        assert found[name].shape == values.shape
    assert found["scalar"][()] == 2.5
    with pytest.raises(KeyError):
        found["d"]


def test_a_file_that_changes_is_not_read_on():
    tables.write("a.npy", INIT, SHAPE)
    table = tables.open("a.npy")["weight"]
    tables.write("a.npy", INIT, (2000, 7, 3), force=True)
    with pytest.raises(FormatError, match="changed since it was opened"):
        table[5]


def test_shards_that_do_not_fit_together():
    tables.write("shards", INIT, SHAPE, shards=3)
    first, second, third = sorted(Path("shards").iterdir())
    os.rename(second, "aside")
    with pytest.raises(FormatError, match="are missing or double"):
        tables.open("shards")
    os.rename("aside", second)
    (Path("shards") / "again.safetensors").write_bytes(first.read_bytes())
    with pytest.raises(FormatError, match="are missing or double"):
        tables.open("shards")
    os.unlink("shards/again.safetensors")
    safetensors.numpy.save_file({"weight": np.zeros(SHAPE, "float32")}, third)
    with pytest.raises(FormatError, match="does not say which rows"):
        tables.open("shards")


@pytest.mark.torch
def test_shards_that_pytorch_wrote():
    import torch
    import torch.distributed.checkpoint as dcp

    values = torch.arange(30.0).reshape(10, 3)
    writer = dcp.HuggingFaceStorageWriter("theirs", save_distributed=True)
    dcp.save({"weight": values}, storage_writer=writer, no_dist=True)
    assert np.array_equal(tables.open("theirs")["weight"][4:9], values.numpy()[4:9])
