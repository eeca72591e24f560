"""Tables as objects: an S3 of Moto on this machine, whose requests pass one that fails some.

The objects are compared with the files of a local job.
"""

import json
import os
import signal
import time

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import ArgumentError, OutputError, StorageError
from seedbed.storage import objects
from seedbed.tables import uploading
from tests import processes

pytestmark = [pytest.mark.moto, pytest.mark.s3fs]

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (5000, 64)
CHUNKS = {"chunk_rows": 500, "shard_rows": 1000}


def names(store, url):
    fs, _ = store
    return {path.partition("/")[2]: fs.cat_file(path) for path in fs.find(url)}


def files(path):
    return {f"{path.name}/{file.name}": file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [("t.zarr", CHUNKS, "zarr.json"), ("user", {"shards": 4}, "seedbed.index.json")],
)
def test_objects_are_the_files_of_a_local_job(store, server, tmp_path, name, options, last):
    tables.write(tmp_path / name, INIT, SHAPE, **options)
    url = f"{store[1]}/{name}"
    server.requests.clear()
    summary = tables.write(url, INIT, SHAPE, **options)
    assert (summary.values, summary.missing) == (320_000, [])
    assert str(summary).startswith(url)
    puts = [path for method, path in server.requests if method in ("PUT", "POST")]
    assert last in puts[-1]  # nothing looks complete before
    found, wanted = names(store, store[1]), files(tmp_path / name)
    if last == "seedbed.index.json":
        index = json.loads(found.pop(f"{name}/{last}"))
        assert index["files"] == {key.partition("/")[2]: len(data) for key, data in wanted.items()}
    assert found == wanted
    with pytest.raises(OutputError, match="exists; --force replaces it"):
        tables.write(url, INIT, SHAPE, **options)
    other = initializers.TruncatedNormal(stddev=0.02, seed=8)
    with pytest.raises(OutputError, match="exists, but has another"):
        tables.write(url, other, SHAPE, resume=True, **options)
    assert tables.write(url, INIT, SHAPE, resume=True, **options).nbytes == 0
    assert tables.write(url, other, SHAPE, force=True, **options).values == 320_000


def test_large_objects_come_in_parts_through_faults(store, server, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "BLOCK", 5 << 20)  # the least that S3 takes
    monkeypatch.setattr(objects.time, "sleep", lambda _: None)
    shape = (200_000, 64)
    tables.write(tmp_path / "user", INIT, shape, shards=2)
    server.every, failed = 10, server.failed
    tables.write(f"{store[1]}/user", INIT, shape, shards=2)
    assert server.failed > failed
    server.every = 0
    assert any("uploadId" in path for method, path in server.requests if method == "PUT")
    found = names(store, store[1])
    del found["user/seedbed.index.json"]
    assert found == files(tmp_path / "user")


def test_parts_and_the_last_of_them(store, tmp_path):
    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{store[1]}/t.zarr"
    first = tables.write(url, INIT, SHAPE, part=(2, 2), **CHUNKS)
    assert first.missing == ["1/2 (missing)"]
    assert "t.zarr/zarr.json" not in names(store, store[1])
    with pytest.raises(OutputError, match="3 objects are there from an earlier job"):
        tables.write(url, INIT, SHAPE, part=(2, 2), **CHUNKS)
    with pytest.raises(OutputError, match=r"of another job: tables\.weight\.initializer"):
        tables.write(url, initializers.Ones(), SHAPE, part=(1, 2), **CHUNKS)
    assert tables.write(url, INIT, SHAPE, part=(2, 2), resume=True, **CHUNKS).nbytes == 0
    assert not tables.write(url, INIT, SHAPE, part=(1, 2), **CHUNKS).missing
    assert names(store, store[1]) == files(tmp_path / "t.zarr")


def test_a_damaged_object_is_written_again(store, tmp_path):
    fs, bucket = store
    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{bucket}/t.zarr"
    tables.write(url, INIT, SHAPE, part=(1, 2), **CHUNKS)
    data = bytearray(fs.cat_file(f"{url}/c.0.0"))
    data[5000] ^= 1
    fs.pipe_file(f"{url}/c.0.0", bytes(data))
    summary = tables.write(url, INIT, SHAPE, resume=True, force=True, **CHUNKS)  # not anew
    assert summary.values == 4 * 1000 * 64
    assert names(store, bucket) == files(tmp_path / "t.zarr")


KILLED = """
import sys
from seedbed import initializers, tables
tables.write(sys.argv[1], initializers.TruncatedNormal(stddev=0.02, seed=7), (5000, 64),
             chunk_rows=500, shard_rows=1000)
"""


def test_a_killed_upload_leaves_nothing_that_looks_finished(store, server, tmp_path):
    _, bucket = store
    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{bucket}/t.zarr"
    server.delay = 0.2
    with processes.started(processes.python(KILLED, url)) as process:
        for _ in range(600):
            if sum(method == "PUT" and "/c." in path for method, path in server.requests) == 3:
                break
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    server.delay = 0.0
    there = names(store, bucket)
    assert "t.zarr/zarr.json" not in there
    assert 2 <= len(there) < 6
    with pytest.raises(FileNotFoundError):
        pytest.importorskip("zarr").open_array(url, mode="r")
    summary = tables.write(url, INIT, SHAPE, resume=True, **CHUNKS)
    assert 0 < summary.values < 320_000
    assert names(store, bucket) == files(tmp_path / "t.zarr")


@pytest.mark.zarr
def test_zarr_reads_it_from_the_store(store):
    import zarr

    tables.write(f"{store[1]}/t.zarr", INIT, SHAPE, **CHUNKS)
    array = zarr.open_array(f"{store[1]}/t.zarr", mode="r")
    np.testing.assert_array_equal(array[990:1015, 3], INIT(SHAPE)[990:1015, 3], strict=True)


def test_the_command(store, capsys):
    options = ["--shape=100x64", "--initializer=ones", "--shard-rows=50", "--chunk-rows=50"]
    assert main(["table", *options, f"--out={store[1]}/t.zarr"]) == 0
    assert f"{store[1]}/t.zarr: 100 × 64 float32 Ones in 2 files" in capsys.readouterr().out
    assert main(["table", *options, f"--out={store[1]}/t.zarr"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["table", *options, f"--out={store[1]}/t.zarr", "--resume"]) == 0
    assert "was complete" in capsys.readouterr().out


def test_an_older_file_that_changes_meanwhile_is_noticed(store, server, tmp_path, monkeypatch):
    old = tmp_path / "old.npy"
    np.save(old, np.ones((100, 3), "float32"))
    finish = uploading.Upload._finish

    def late(self):
        os.utime(old, (1, 1))
        finish(self)

    monkeypatch.setattr(uploading.Upload, "_finish", late)
    url = f"{store[1]}/t.zarr"
    with pytest.raises(StorageError, match="an older file changed meanwhile"):
        tables.write(url, INIT, (250, 3), grow=old, chunk_rows=30)
    assert "t.zarr/zarr.json" not in names(store, store[1])


@pytest.mark.dask
def test_dask_writes_into_a_store(store, tmp_path):
    import dask

    import seedbed.dask

    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{store[1]}/t.zarr"
    with dask.config.set(scheduler="threads"):
        summary = seedbed.dask.write(url, INIT, SHAPE, parts=2, **CHUNKS)
        assert (summary.values, summary.missing) == (320_000, [])
        with pytest.raises(OutputError, match="exists"):
            seedbed.dask.write(url, INIT, SHAPE, parts=2, **CHUNKS)
    assert names(store, store[1]) == files(tmp_path / "t.zarr")


def test_what_is_not_ours_stays(store):
    fs, bucket = store
    fs.pipe_file(f"{bucket}/t.zarr/mine", b"mine")
    with pytest.raises(OutputError, match="is not empty, and is no unfinished table"):
        tables.write(f"{bucket}/t.zarr", INIT, SHAPE)
    assert names(store, bucket) == {"t.zarr/mine": b"mine"}


def test_a_store_that_does_not_answer_is_an_error(store, server, monkeypatch):
    with pytest.raises(OutputError, match=r"no-such-bucket/t\.zarr: "):
        tables.write("s3://no-such-bucket/t.zarr", INIT, SHAPE)


@pytest.mark.parametrize(
    ("message", "url", "options"),
    [
        (r"a store takes a \.zarr, or shards .*write \.npy here and copy it", "t.npy", {}),
        (r"write \.safetensors here", "t.safetensors", {}),
        ("PROTOCOL://BUCKET/NAME", "", {}),
        ("path must end in", "t", {}),
        ("force and part have no meaning", "t.zarr", {"force": True, "part": (1, 1)}),
    ],
)
def test_what_is_refused(message, url, options):
    with pytest.raises((ArgumentError, ValueError), match=message):
        tables.write(f"s3://bucket/{url}", INIT, SHAPE, **options)


def test_without_s3fs_an_error_says_what_to_install():
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from seedbed.cli import main\n"
        "main(['table', '--shape=9x9', '--initializer=ones', '--out=s3://bucket/t.zarr'])"
    )
    done = processes.run(processes.python(code))
    assert "s3:// needs a package: pip install 'seedbed[s3]'" in done.stderr
