"""Tables as arrays of Zarr version 3; the bytes are compared with what the specification says.

What zarr-python, TensorStore and Dask read is in tests/frameworks/test_zarr.py.
"""

import json
import os
import shutil
import signal
import struct
import time

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import ArgumentError, FormatError, OutputError, StorageError
from seedbed.tables import pipeline
from tests import processes

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (1003, 7, 3)
ROW = 84  # bytes


def files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_files_are_what_the_specification_says(tmp_path):
    path = tmp_path / "t.zarr"
    tables.write(path, INIT, SHAPE, chunk_rows=50, shard_rows=400)
    whole = INIT(SHAPE).tobytes()
    found = files(path)
    metadata = json.loads(found.pop("zarr.json"))
    assert sorted(found) == ["c.0.0.0", "c.1.0.0", "c.2.0.0"]
    for number, chunks in enumerate((8, 8, 5)):
        data = found[f"c.{number}.0.0"]
        index = struct.unpack("<16Q", data[:128])
        begins = [132 + 50 * ROW * i for i in range(chunks)]
        absent = [2**64 - 1] * (8 - chunks)
        assert list(index[::2]) == begins + absent
        assert list(index[1::2]) == [50 * ROW] * chunks + absent
        rows = whole[400 * ROW * number :][: 400 * ROW]
        padding = b"\0" * (50 * ROW * chunks - len(rows))
        assert data[132:] == rows + padding
        assert data[128:132] == crc32c(data[:128]).to_bytes(4, "little")
    ours = metadata.pop("attributes")["seedbed"]
    assert metadata["shape"] == [1003, 7, 3]
    assert metadata["data_type"] == "float32"
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [400, 7, 3]
    (codec,) = metadata["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert codec["configuration"]["chunk_shape"] == [50, 7, 3]
    assert codec["configuration"]["codecs"] == [
        {"name": "bytes", "configuration": {"endian": "little"}}  # no compression
    ]
    assert (ours["seed"], ours["stream_version"], ours["name"]) == (7, 1, "weight")
    assert ours["initializer"]["class_name"] == "TruncatedNormal"


def crc32c(data):
    """Divide bit by bit, as the definition says."""
    remainder = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            low = (remainder ^ (byte >> bit)) & 1
            remainder = (remainder >> 1) ^ (0x82F63B78 * low)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "chunks", [{}, {"chunk_rows": 100, "shard_rows": 100}, {"chunk_rows": 64, "shard_rows": 256}]
)
def test_rows_are_read_and_verified(tmp_path, dtype, chunks):
    path = tmp_path / "t.zarr"
    tables.write(path, INIT, SHAPE, dtype, name="user", **chunks)
    whole = INIT(SHAPE, dtype)
    table = tables.open(path)["user"]
    assert (table.shape, table.dtype) == (SHAPE, whole.dtype)
    for index in (slice(90, 700, 3), -1, [5, 1002, 5], (slice(None), 2, slice(1, 3)), ...):
        np.testing.assert_array_equal(table[index], whole[index], strict=True)
    assert tables.verify(path).checked == whole.size
    assert tables.verify(path, INIT).ok
    assert not tables.verify(path, initializers.TruncatedNormal(stddev=0.02, seed=8)).ok
    first, second = tables.describe(path)
    assert "seedbed 0.1.0, stream version 1" in first
    assert second.startswith(f"  user: 1,003 × 7 × 3 {dtype}, TruncatedNormal(seed=7")


def test_the_files_of_parts_and_of_resumed_jobs_are_the_same(tmp_path):
    chunks = {"chunk_rows": 20, "shard_rows": 100}
    tables.write(tmp_path / "one.zarr", INIT, SHAPE, **chunks)
    path = tmp_path / "parts.zarr"
    for number in (3, 1, 2):
        assert not path.exists()
        done = tables.write(path, INIT, SHAPE, part=(number, 3), **chunks)
    assert not done.missing
    assert files(path) == files(tmp_path / "one.zarr")
    assert sorted(os.listdir(tmp_path)) == ["one.zarr", "parts.zarr"]
    assert tables.write(path, INIT, SHAPE, resume=True, **chunks).nbytes == 0
    with pytest.raises(OutputError, match="is not empty"):
        tables.write(path, INIT, SHAPE, **chunks)


def test_nothing_looks_like_an_array_before_it_is_complete(tmp_path, monkeypatch):
    path, part = tmp_path / "t.zarr", tmp_path / "t.zarr.part"
    options = {"chunk_rows": 100, "shard_rows": 100, "chunk_bytes": 5000, "checkpoint_seconds": 0}
    write_all, left = pipeline.write_all, [9]

    def failing(fd, data, offset):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        write_all(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", failing)
        with pytest.raises(StorageError, match="No space left"):
            tables.write(path, INIT, SHAPE, **options)
    assert not path.exists()
    assert part.exists()
    assert not (part / "zarr.json").exists()
    assert "unfinished, 46 %" in tables.describe(path)[0]
    summary = tables.write(path, INIT, SHAPE, resume=True, **options)
    assert 0 < summary.nbytes < 1003 * ROW * 6 // 10
    assert tables.verify(path).ok


def test_a_part_that_is_written_again_takes_the_metadata_away(tmp_path, monkeypatch):
    path, part = tmp_path / "t.zarr", tmp_path / "t.zarr.part"
    with monkeypatch.context() as patch:
        patch.setattr("seedbed.storage.atomic.Folder.publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tables.write(path, INIT, SHAPE)
    assert (part / "zarr.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr("seedbed.tables.job.write_chunks", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tables.write(path, INIT, SHAPE, force=True)
    assert not (part / "zarr.json").exists()
    tables.write(path, INIT, SHAPE, force=True)
    assert tables.verify(path).ok


KILLED = """
import pathlib, sys
from seedbed import initializers, tables
tables.write(sys.argv[1], initializers.TruncatedNormal(stddev=0.02, seed=7), (300_000, 64),
             chunk_rows=5_000, shard_rows=20_000, chunk_bytes=200_000, checkpoint_seconds=0)
"""


def test_a_killed_job_goes_on(tmp_path):
    path, state = tmp_path / "t.zarr", tmp_path / "t.zarr.part.json"
    with processes.started(processes.python(KILLED, path)) as process:
        for _ in range(3000):
            if state.exists() and json.loads(state.read_text())["done"] > 2_000_000:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert not path.exists()
    chunks = {"chunk_rows": 5_000, "shard_rows": 20_000}
    summary = tables.write(path, INIT, (300_000, 64), resume=True, **chunks)
    assert 0 < summary.nbytes < 300_000 * 256 - 2_000_000
    assert tables.verify(path).ok


def test_the_command(tmp_path, capsys):
    path = str(tmp_path / "t.zarr")
    options = ["--shape=1000x64", "--initializer=he_normal", "--seed=7", f"--out={path}"]
    assert main(["table", *options, "--chunk-rows=100", "--shard-rows=500"]) == 0
    assert "in 2 files" in capsys.readouterr().out
    assert main(["info", path]) == 0
    assert "1,000 × 64 float32, HeNormal(seed=7" in capsys.readouterr().out
    assert main(["verify", path]) == 0
    assert main(["table", *options, "--shards=3"]) == 2
    assert "cut by shard_rows" in capsys.readouterr().err


def test_rows_of_an_older_file_are_kept(tmp_path):
    trained = np.arange(300, dtype="float32").reshape(100, 3)
    np.save(tmp_path / "old.npy", trained)
    path = tmp_path / "t.zarr"
    tables.write(path, INIT, (250, 3), grow=tmp_path / "old.npy", chunk_rows=30, shard_rows=60)
    table = tables.open(path)["weight"]
    np.testing.assert_array_equal(table[:100], trained)
    np.testing.assert_array_equal(table[100:], INIT((250, 3))[100:])
    report = tables.verify(path)
    assert (report.ok, report.checked, report.kept) == (True, 450, 300)


@pytest.mark.parametrize(
    ("message", "shape", "options"),
    [
        ("chunk_rows must be at least 1; given 0", SHAPE, {"chunk_rows": 0}),
        ("chunk_rows must be an integer; given 2.5", SHAPE, {"chunk_rows": 2.5}),
        ("multiple of the 30 chunk_rows; given 99", SHAPE, {"chunk_rows": 30, "shard_rows": 99}),
        ("shard_rows must be given with chunk_rows; given 30", SHAPE, {"shard_rows": 30}),
        ("a .zarr holds a whole table of one row or more", (0, 3), {}),
        ("a .zarr holds a table of rank 1 or more", (), {}),
        ("a .zarr holds a whole table", SHAPE, {"rows": (3, 4)}),
        ("at most 99,999 files", (100_000, 1), {"chunk_rows": 1, "shard_rows": 1}),
        ("a part takes at most 512 files; 1003 need", SHAPE, {"chunk_rows": 1, "shard_rows": 1}),
        ("1 <= k <= n <= 3 files; given 1/4", SHAPE,
         {"chunk_rows": 400, "shard_rows": 400, "part": (1, 4)}),
    ],
)  # fmt: skip
def test_chunks_that_are_refused(tmp_path, message, shape, options):
    init = INIT if shape else initializers.Ones()
    with pytest.raises((ArgumentError, TypeError), match=message):
        tables.write(tmp_path / "t.zarr", init, shape, **options)
    assert not os.listdir(tmp_path)


def test_other_formats_have_no_chunks(tmp_path):
    with pytest.raises(ArgumentError, match=r"are for \.zarr"):
        tables.write(tmp_path / "t.npy", INIT, SHAPE, chunk_rows=5)


def test_a_large_table_has_few_files():
    from seedbed.tables.output import output_at

    for rows in (10**7, 10**9, 10**10):
        output = output_at("t.zarr", [tables.table.table(INIT, (rows, 256), "bfloat16")], None)
        assert output.chunks.rows == 8192
        assert 10 <= len(output.files) <= 512


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "t.zarr"
    tables.write(path, INIT, SHAPE, chunk_rows=50, shard_rows=400)
    return path


def test_damage_is_found(stored):
    file = stored / "c.1.0.0"
    data = bytearray(file.read_bytes())
    data[132 + 10 * ROW] ^= 1
    file.write_bytes(data)
    report = tables.verify(stored)
    assert report.wrong == 1
    assert "weight[410, 0, 0]" in report.first
    with pytest.raises(OutputError, match=r"exists, but c\.1\.0\.0: weight"):
        tables.write(stored, INIT, SHAPE, resume=True, chunk_rows=50, shard_rows=400)


def changed(stored, **fields):
    metadata = json.loads((stored / "zarr.json").read_text())
    (stored / "zarr.json").write_text(json.dumps({**metadata, **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"zarr_format": 2}, "no array of Zarr version 3"),
        ({"node_type": "group"}, "no array of Zarr version 3"),
        ({"data_type": "float33"}, "data_type is 'float33'"),
        ({"codecs": [{"name": "bytes"}, {"name": "zstd"}]}, "open it with zarr.open_array"),
        ({"codecs": []}, "open it with zarr.open_array"),
        ({"codecs": [3]}, "codec must be an object"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 7, 3]}}},
         "open it with zarr.open_array"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [400, 7, 2]}}},
         "open it with zarr.open_array"),
        ({"shape": [2**40, 2**40, 2**40]}, "open it|has more files"),
        ({"shape": [1003, 7]}, "chunk_shape must be a list of 2"),
        ({"shape": [0, 7, 3]}, "holds no element"),
        ({"shape": [1203, 7, 3]}, "there is no such file|No such file|must have"),
        ({"storage_transformers": [{"name": "x"}]}, "open it with zarr.open_array"),
        ({"attributes": {"seedbed": 3}}, "must be an object"),
        ({"attributes": 3}, "attributes must be an object"),
    ],
)  # fmt: skip
def test_metadata_that_are_refused(stored, fields, message):
    changed(stored, **fields)
    with pytest.raises(FormatError, match=message):
        tables.open(stored)


def test_an_array_that_lacks_something_is_refused(stored):
    index = (stored / "c.0.0.0").read_bytes()
    (stored / "c.0.0.0").write_bytes(b"\1" + index[1:])
    table = tables.open(stored)["weight"]
    for _ in range(2):
        with pytest.raises(FormatError, match="its chunks are not in order"):
            table[0]
    with pytest.raises(FormatError, match="its chunks are not in order"):
        tables.verify(stored)
    (stored / "c.0.0.0").write_bytes(index[:-1])
    with pytest.raises(FormatError, match="must have"):
        tables.open(stored)
    (stored / "c.0.0.0").unlink()
    with pytest.raises(FormatError):
        tables.open(stored)
    (stored / "zarr.json").unlink()
    with pytest.raises(FormatError, match=r"has no zarr\.json"):
        tables.describe(stored)
    shutil.rmtree(stored)
    stored.write_text("")
    with pytest.raises(FormatError):
        tables.open(stored)


def test_an_array_that_does_not_say_what_made_it(stored):
    changed(stored, attributes={})
    assert tables.open(stored)["weight"].shape == SHAPE
    with pytest.raises(ArgumentError, match="does not say how"):
        tables.verify(stored)
    with pytest.raises(ArgumentError, match="does not say of which table"):
        tables.verify(stored, INIT)
