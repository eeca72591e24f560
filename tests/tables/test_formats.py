"""Files as the official readers see them."""

import json
import math
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from seedbed import initializers, tables
from seedbed.tables.job import WriteOptions
from seedbed.tables.output import output_at
from seedbed.tables.table import table
from seedbed.tables.writing import write_output

NORMAL = initializers.RandomNormal(seed=11)
RANDOM = ("float16", "bfloat16", "float32", "float64")
EXACT = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
EIGHT = ("float8_e4m3fn", "float8_e5m2")


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


def header(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return length, json.loads(data[8 : 8 + length])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "bool", "complex128"])
@pytest.mark.parametrize("shape", [(1000, 7), (3,), (2, 3, 4, 5), (0, 4), (4, 0), ()])
def test_npy_is_what_numpy_saves(tmp_path, shape, dtype):
    init = NORMAL if dtype.startswith("float") else initializers.Ones()
    tables.write(tmp_path / "table.npy", init, shape, dtype)
    np.save(tmp_path / "saved.npy", init(shape, dtype))
    assert (tmp_path / "table.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


@pytest.mark.parametrize("dtype", ["bfloat16", *EIGHT])
def test_npy_refuses_what_numpy_cannot_name(tmp_path, dtype):
    with pytest.raises(ValueError, match=r"\.safetensors"):
        tables.write(tmp_path / "table.npy", initializers.Zeros(), (3, 3), dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [*RANDOM, *EXACT, *EIGHT])
@pytest.mark.parametrize("shape", [(1000, 7), (3,), (2, 3, 4, 5), (0, 4), ()])
def test_safetensors_is_what_the_library_loads(tmp_path, shape, dtype):
    path = tmp_path / "table.safetensors"
    init = NORMAL if dtype in RANDOM else initializers.Ones()
    tables.write(path, init, shape, dtype)
    with safetensors.safe_open(path, "np") as file:
        assert list(file.keys()) == ["weight"]
        if dtype not in EIGHT:  # of which the library's NumPy side knows little
            loaded = file.get_tensor("weight")
            assert loaded.shape == shape
            assert loaded.dtype == getattr(ml_dtypes, dtype, dtype)
            assert np.array_equal(bits(loaded), bits(init(shape, dtype)))
    _, entries = header(path)
    begin, end = entries["weight"]["data_offsets"]
    assert end - begin == init(shape, dtype).nbytes
    assert path.read_bytes()[-(end - begin) or path.stat().st_size :] == bytes(
        bits(init(shape, dtype))
    )


@pytest.mark.frameworks
@pytest.mark.parametrize("dtype", [*RANDOM, *EIGHT])
def test_safetensors_in_torch(tmp_path, dtype):
    import torch
    from safetensors.torch import load_file

    init = NORMAL if dtype in RANDOM else initializers.Constant(1.5)
    tables.write(tmp_path / "table.safetensors", init, (100, 7), dtype)
    loaded = load_file(tmp_path / "table.safetensors")["weight"]
    assert loaded.dtype == getattr(torch, dtype)
    assert np.array_equal(
        loaded.view(torch.uint8).numpy().ravel(), bits(init((100, 7), dtype)).ravel()
    )


def test_several_tables_in_a_file(tmp_path):
    path = tmp_path / "tables.safetensors"
    made = [
        table(NORMAL, (100, 3), "float16", name="ü b"),
        table(initializers.Zeros(), (7,), "bool", name="a"),
        table(initializers.GlorotUniform(seed=2), (5, 6, 7), "float64", name="c/d"),
        table(NORMAL, (0, 3), "float32", name="empty"),
        table(initializers.TruncatedNormal(seed=3), (33, 5), "bfloat16", name="__b__"),
    ]
    write_output(output_at(path, made, None), WriteOptions(chunk_bytes=64))
    loaded = safetensors.numpy.load_file(path)
    assert set(loaded) == {one.name for one in made}
    for one in made:
        assert np.array_equal(bits(loaded[one.name]), bits(one.init(one.shape, one.dtype)))
    length, entries = header(path)
    for one in made:  # aligned to its own elements
        assert (8 + length + entries[one.name]["data_offsets"][0]) % one.dtype.itemsize == 0
    assert tables.verify(path).ok


def test_data_begin_at_a_page(tmp_path):
    for name in ("a", "long" * 2000):
        path = tmp_path / "table.safetensors"
        tables.write(path, NORMAL, (10, 10), name=name, force=True)
        length, _ = header(path)
        assert (8 + length) % 4096 == 0
        assert list(safetensors.numpy.load_file(path)) == [name]


def test_metadata_say_how_to_make_it_again(tmp_path):
    import importlib.metadata

    path = tmp_path / "table.safetensors"
    init = initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=2**64 - 1)
    tables.write(path, init, (100, 3), "bfloat16", name="user", rows=(10, 20))
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["seedbed_version"] == importlib.metadata.version("seedbed")
    assert metadata["stream_version"] == "1"
    assert metadata["user.seed"] == "18446744073709551615"
    assert json.loads(metadata["user.shape"]) == [100, 3]
    assert json.loads(metadata["user.rows"]) == [10, 20]
    again = initializers.get(json.loads(metadata["user.initializer"]))
    whole = again((100, 3), "bfloat16")
    assert np.array_equal(bits(safetensors.numpy.load_file(path)["user"]), bits(whole[10:20]))


def test_shards_of_a_table(tmp_path):
    tables.write(tmp_path / "folder", NORMAL, (1001, 6), "bfloat16", shards=4)
    whole = NORMAL((1001, 6), "bfloat16")
    found = sorted((tmp_path / "folder").iterdir())
    assert [path.name for path in found] == [
        f"shard-{number:05d}-model-00001-of-00001.safetensors" for number in range(1, 5)
    ]
    start = 0
    for path in found:
        with safetensors.safe_open(path, "np") as file:
            offsets = json.loads(file.metadata()["DCP_SHARDING_INFO"])["weight"]["saved_offsets"]
            rows = file.get_tensor("weight")
        assert offsets == [start, 0]
        assert np.array_equal(bits(rows), bits(whole[start : start + len(rows)]))
        start += len(rows)
    assert start == 1001
    assert tables.verify(tmp_path / "folder").checked == math.prod(whole.shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "table.txt"}, r"\.npy or \.safetensors"),
        ({"path": "table.npy", "shards": 2}, "a folder"),
        ({"path": "folder", "shards": 0}, "1 to the 10 rows; given 0"),
        ({"path": "folder", "shards": 11}, "given 11"),
        ({"path": "folder", "shards": 2, "shape": ()}, "rank 0"),
        ({"path": "folder", "shards": 2, "rows": (0, 5)}, "no rows"),
        ({"path": "folder", "shards": 2, "part": (1, 3)}, "<= 2 shards; given 1/3"),
        ({"part": (0, 3)}, "given 0/3"),
        ({"part": (4, 3)}, "given 4/3"),
        ({"rows": (3, 11)}, "given 3:11"),
        ({"rows": slice(0, 4, 2)}, "given 0:4:2"),
        ({"rows": (0, 1), "shape": ()}, "given shape"),
        ({"shape": (-1, 3)}, "at least 0"),
        ({"shape": (2**40, 2**40)}, r"2\*\*63"),
        ({"dtype": "complex128", "init": initializers.Zeros()}, "complex128"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"init": "nothing"}, "nothing"),
        ({"init": initializers.RandomNormal(seed=initializers.SeedGenerator(1))}, "integer seed"),
        ({"name": ""}, "not empty"),
        ({"name": "__metadata__"}, "names of their own"),
        ({"chunk_bytes": 0}, "chunk_bytes"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    given = {"path": "table.safetensors", "init": NORMAL, "shape": (10, 3), **arguments}
    given["path"] = tmp_path / given["path"]
    with pytest.raises((ValueError, TypeError), match=message):
        tables.write(**given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("init", [lambda shape, dtype=None: np.zeros(shape, dtype), 3, None])
def test_only_initializers(tmp_path, init):
    with pytest.raises((TypeError, ValueError)):
        tables.write(tmp_path / "table.npy", init, (3,))


def test_unseeded_initializers_keep_their_values(tmp_path):
    init = initializers.RandomNormal()
    tables.write(tmp_path / "table.npy", init, (100, 100), chunk_bytes=1000)
    assert np.array_equal(np.load(tmp_path / "table.npy"), init((100, 100)))
