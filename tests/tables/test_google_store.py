"""Tables in a GCS: that of an emulator on this machine, whose requests pass one that fails some.

The objects are compared with the files of a local job.
"""

import signal
import time

import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import OutputError
from seedbed.storage import objects
from tests import processes

pytestmark = pytest.mark.gcsfs

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (5000, 64)
CHUNKS = {"chunk_rows": 500, "shard_rows": 1000}


def names(google, name):
    fs, bucket = google
    return {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.find(f"{bucket}/{name}")}


def files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_objects_are_the_files_of_a_local_job(google, google_server, tmp_path):
    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{google[1]}/t.zarr"
    google_server.every = 9
    assert tables.write(url, INIT, SHAPE, **CHUNKS).values == 320_000
    google_server.every = 0
    assert names(google, "t.zarr") == files(tmp_path / "t.zarr")
    with pytest.raises(OutputError, match="exists; --force replaces it"):
        tables.write(url, INIT, SHAPE, **CHUNKS)
    assert tables.write(url, INIT, SHAPE, resume=True, **CHUNKS).nbytes == 0
    other = initializers.TruncatedNormal(stddev=0.02, seed=8)
    with pytest.raises(OutputError, match="exists, but has another"):
        tables.write(url, other, SHAPE, resume=True, **CHUNKS)
    assert tables.write(url, other, SHAPE, force=True, **CHUNKS).values == 320_000
    assert tables.verify(url, other).ok


def test_large_objects_come_in_parts_through_faults(google, google_server, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "BLOCK", 1 << 20)
    monkeypatch.setattr(objects.time, "sleep", lambda _: None)
    shape = (20_000, 64)
    tables.write(tmp_path / "user", INIT, shape, shards=2)
    google_server.every, failed = 10, google_server.failed
    url = f"{google[1]}/user"
    tables.write(url, INIT, shape, shards=2)
    assert tables.verify(url).ok
    assert google_server.failed > failed
    google_server.every = 0
    found = names(google, "user")
    del found["seedbed.index.json"]
    assert found == files(tmp_path / "user")


KILLED = """
import sys
from seedbed.cli import main
main(["table", "--shape=5000x64", "--initializer=truncated_normal", "--set=stddev=0.02",
      "--seed=7", "--chunk-rows=500", "--shard-rows=1000", f"--out={sys.argv[1]}"])
"""


def test_a_killed_upload_is_resumed(google, google_server, tmp_path, capsys):
    tables.write(tmp_path / "t.zarr", INIT, SHAPE, **CHUNKS)
    url = f"{google[1]}/t.zarr"
    google_server.delay = 0.1
    with processes.started(processes.python(KILLED, url)) as process:
        for _ in range(600):
            if len(names(google, "t.zarr")) == 2:
                break
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    google_server.delay = 0.0
    assert "zarr.json" not in names(google, "t.zarr")
    assert main(["info", url]) == 0
    assert "unfinished" in capsys.readouterr().out
    assert main(["verify", url]) == 2
    summary = tables.write(url, INIT, SHAPE, resume=True, **CHUNKS)
    assert 0 < summary.values < 320_000
    assert names(google, "t.zarr") == files(tmp_path / "t.zarr")
    assert main(["verify", url]) == 0


def test_a_bucket_that_is_not_there(google):
    with pytest.raises(OutputError, match=r"no-such-bucket/t\.zarr: "):
        tables.write("gs://no-such-bucket/t.zarr", INIT, SHAPE)
