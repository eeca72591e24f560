"""Runs that are interrupted by faults, and continued."""

import contextlib
import errno
import hashlib
import json
import os
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.errors import FormatError
from seedbed.storage.atomic import Folder
from seedbed.tables import job, pipeline
from tests import processes

ROOT = Path(__file__).parents[2]
INIT = initializers.RandomNormal(seed=9)
SHAPE = (20_000, 50)  # 4 MB
CHUNK = 65_536


class StoppedError(Exception):
    pass


@contextlib.contextmanager
def stopped_after(monkeypatch, count, error=StoppedError):
    """Let so many chunks be written, and then fail."""
    write_all = pipeline.write_all
    left = [count]

    def failing(fd, data, offset):
        if not left[0]:
            raise error
        left[0] -= 1
        write_all(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", failing)
        yield


def write(path, init=INIT, shape=SHAPE, **options):
    options = {"chunk_bytes": CHUNK, "checkpoint_seconds": 0, **options}
    return tables.write(path, init, shape, **options)


def interrupted(path, monkeypatch, chunks=25, **options):
    with stopped_after(monkeypatch, chunks), pytest.raises(StoppedError):
        write(path, **options)


@pytest.mark.parametrize("shards", [None, 7])
@pytest.mark.parametrize("chunk", [CHUNK, 50_000, 10**6])
def test_continues_where_it_was(tmp_path, monkeypatch, shards, chunk):
    path = tmp_path / ("shards" if shards else "table.safetensors")
    interrupted(path, monkeypatch, shards=shards)
    assert not path.exists()
    summary = write(path, resume=True, shards=shards, chunk_bytes=chunk)
    assert 0 < summary.nbytes <= 4_000_000 - 24 * CHUNK
    write(tmp_path / "other.safetensors")
    if shards:
        assert tables.verify(path).ok
    else:
        assert path.read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    assert write(path, resume=True, shards=shards).values == 0  # complete, left as it is


def test_resume_of_nothing_is_a_beginning(tmp_path):
    assert write(tmp_path / "table.npy", resume=True).values == 1_000_000


def test_a_complete_table_of_other_values_is_not_ours(tmp_path):
    write(tmp_path / "table.npy", initializers.RandomNormal(seed=10))
    with pytest.raises(tables.OutputError, match="exists"):
        write(tmp_path / "table.npy", resume=True)


def test_without_resume_it_is_refused_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    interrupted(path, monkeypatch)
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    with pytest.raises(tables.OutputError, match="41 % is there"):
        write(path)
    assert before == {item: item.read_bytes() for item in tmp_path.iterdir()}
    assert write(path, force=True).values == 1_000_000
    assert os.listdir(tmp_path) == ["table.npy"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("shards", [None, 3])
def test_nothing_is_left_where_nothing_was_saved(tmp_path, monkeypatch, shards, error):
    path = tmp_path / ("shards" if shards else "table.npy")
    with stopped_after(monkeypatch, 0, error), pytest.raises((OSError, type(error))):
        write(path, shards=shards)
    assert os.listdir(tmp_path) == []


def test_a_fault_of_the_program_leaves_what_there_is(tmp_path, monkeypatch):
    interrupted(tmp_path / "table.npy", monkeypatch, 0)
    assert sorted(os.listdir(tmp_path)) == ["table.npy.part", "table.npy.part.json"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"init": initializers.RandomNormal(seed=10)}, "seed is 9 there, 10 here"),
        ({"init": initializers.RandomNormal(stddev=0.5, seed=9)}, "stddev"),
        ({"init": initializers.TruncatedNormal(seed=9)}, "TruncatedNormal"),
        ({"shape": (20_001, 50)}, "shape"),
        ({"dtype": "float16"}, "dtype"),
        ({"name": "other"}, "other"),
        ({"rows": (0, 19_999)}, "rows"),
    ],
)
def test_another_job_is_refused(tmp_path, monkeypatch, changed, key):
    path = tmp_path / "table.safetensors"
    interrupted(path, monkeypatch)
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    with pytest.raises(tables.OutputError, match=key):
        write(path, resume=True, **changed)
    assert before == {item: item.read_bytes() for item in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["STREAM_VERSION", "stream_hash", "__version__"])
def test_other_code_is_refused(tmp_path, monkeypatch, name):
    from seedbed.tables import output

    path = tmp_path / "table.npy"
    interrupted(path, monkeypatch)
    monkeypatch.setattr(output, name, (lambda: "another") if name == "stream_hash" else "another")
    with pytest.raises(tables.OutputError, match="another job"):
        write(path, resume=True)


@pytest.mark.parametrize("position", range(0, 1000, 37))
def test_a_bit_flipped_in_the_state(tmp_path, monkeypatch, position):
    """Whatever the bit, the file is right in the end or the run is refused."""
    path, place = tmp_path / "table.npy", tmp_path / "table.npy.part.json"
    interrupted(path, monkeypatch, chunks=5)
    data = bytearray(place.read_bytes())
    data[position % len(data)] ^= 1 << position % 8
    place.write_bytes(data)
    with pytest.raises(FormatError, match="damaged"):
        write(path, resume=True)
    with pytest.raises(FormatError, match="damaged"):
        write(path)
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 1, 50, 500, -1])
def test_a_truncated_state(tmp_path, monkeypatch, length):
    path, place = tmp_path / "table.npy", tmp_path / "table.npy.part.json"
    interrupted(path, monkeypatch)
    place.write_bytes(place.read_bytes().rstrip()[:length])
    with pytest.raises(FormatError, match="damaged"):
        write(path, resume=True)
    write(path, force=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.mark.parametrize("lost", [1, 3 * CHUNK, 15 * CHUNK, 10**9])
def test_data_that_never_reached_the_disk_are_written_again(tmp_path, monkeypatch, lost):
    """As after a power cut on a disk that said it had flushed."""
    path, partial = tmp_path / "table.npy", tmp_path / "table.npy.part"
    interrupted(path, monkeypatch)
    done = 128 + json.loads((tmp_path / "table.npy.part.json").read_text())["done"]
    data = bytearray(partial.read_bytes())
    begin = max(done - lost, 0)
    data[begin:done] = bytes(done - begin)
    partial.write_bytes(data)
    write(path, resume=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_a_part_of_the_file_is_gone(tmp_path, monkeypatch):
    path, partial = tmp_path / "table.npy", tmp_path / "table.npy.part"
    interrupted(path, monkeypatch)
    os.truncate(partial, 1000)
    with pytest.raises(tables.OutputError, match="has 1,000 bytes"):
        write(path, resume=True)
    partial.unlink()
    assert write(path, resume=True).values == 1_000_000
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails(tmp_path, monkeypatch, code):
    path = tmp_path / "table.npy"
    path.write_bytes(b"precious")
    error = OSError(code, os.strerror(code))
    with stopped_after(monkeypatch, 25, error), pytest.raises(OSError, match=os.strerror(code)):
        write(path, force=True)
    assert path.read_bytes() == b"precious"
    assert write(path, force=True, resume=True).values < 1_000_000
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_what_follows_a_chunk_that_failed_does_not_count(tmp_path, monkeypatch):
    """Whoever hands chunks over may go on after one that failed: an interrupt comes at any time."""
    path = tmp_path / "table.npy"

    def stubborn(chunks, journal, nbytes, device):
        for number, chunk in enumerate(chunks):
            values = pipeline.OnHost(nbytes)
            values.make(chunk)
            with stopped_after(monkeypatch, number != 3), contextlib.suppress(StoppedError):
                journal.put(chunk, values.take(chunk))
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_chunks", stubborn)
        with pytest.raises(StoppedError):
            write(path)
    (saved,) = tmp_path.glob("*.json")
    assert json.loads(saved.read_text())["done"] < 4 * CHUNK
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(path, resume=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_a_flush_that_fails_does_not_count(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    calls = [0]
    sync = pipeline.sync

    def failing(fd):
        calls[0] += 1
        if calls[0] == 12:
            raise OSError(errno.EIO, "flush failed")
        sync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "sync", failing)
        with pytest.raises(OSError, match="flush failed"):
            write(path)
    assert json.loads((tmp_path / "table.npy.part.json").read_text())["done"] == 11 * CHUNK
    write(path, resume=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB, or where none may be mounted, a limit on the size of a file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.getuid() == 0 and processes.run(mount, check=False).returncode == 0:
        try:
            yield folder, True
        finally:
            processes.run(["umount", folder])
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, before[1]))
        yield folder, False
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full(small_disk, monkeypatch):
    """At the start, and in the middle because others write to it too."""
    folder, mounted = small_disk
    path = folder / "table.npy"
    if mounted:
        with pytest.raises(tables.OutputError, match="bytes free"):
            write(path)
        assert os.listdir(folder) == []
        monkeypatch.setattr("seedbed.tables.job.check_space", lambda work: None)
        with pytest.raises(OSError, match="No space"):
            write(path)
        saved = json.loads((folder / "table.npy.part.json").read_text())["done"]
        assert 2_000_000 < saved < 3 << 20
        processes.run(["mount", "-o", "remount,size=9m", folder])
        summary = write(path, resume=True)
        assert summary.nbytes == 4_000_000 - saved
        assert np.array_equal(np.load(path), INIT(SHAPE))
    else:
        with pytest.raises(OSError, match="File too large"):
            write(path)
        assert not path.exists()


def test_no_room_even_for_the_state(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    write_text = Folder.write_text
    left = [15]

    def failing(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_text(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write_text", failing)
        with pytest.raises(OSError, match="No space"):
            write(path)
    assert write(path, resume=True).values < 1_000_000
    assert np.array_equal(np.load(path), INIT(SHAPE))


KILLED = """
import os, pathlib, random, shutil, signal, sys, time
from seedbed import initializers, tables

path, shards = pathlib.Path(sys.argv[1]), int(sys.argv[2]) or None
random.seed(3)
init = initializers.RandomNormal(seed=9)
init((10, 10))  # compiled before the first fork

def write():
    tables.write(path, init, (60_000, 50), shards=shards, resume=True,
                 chunk_bytes=65_536, checkpoint_seconds=0)

kills = 0
while kills < 50:
    child = os.fork()
    if not child:
        try:
            write()
        finally:
            os._exit(0)
    time.sleep(random.choice([random.uniform(0, 0.01), random.uniform(0, 0.15)]))
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] == signal.SIGKILL:
        kills += 1
    if path.exists():  # complete: once more from the start
        assert tables.verify(path, *([] if shards else [init])).ok
        shutil.rmtree(path) if shards else path.unlink()
write()
print(kills)
"""


@pytest.mark.parametrize("shards", [0, 3])
def test_killed_at_50_random_moments(tmp_path, shards):
    path = tmp_path / ("shards" if shards else "table.npy")
    assert processes.output(KILLED, path, shards) == "50\n"
    assert os.listdir(tmp_path) == [path.name]
    tables.write(tmp_path / "other.npy", INIT, (60_000, 50))
    if shards:
        assert tables.verify(path).checked == 3_000_000
        assert tables.verify(path).ok
    else:
        digests = {hashlib.sha256(file.read_bytes()).digest() for file in tmp_path.iterdir()}
        assert len(digests) == 1


SLOW = """
import functools, sys
from seedbed import cli, tables

tables.write = functools.partial(tables.write, chunk_bytes=65_536, checkpoint_seconds=0)
sys.exit(cli.main())
"""


@pytest.mark.parametrize("mode", ["grow", "grow by ids", "grow by keys", "plan"])
def test_killed_in_other_ways_of_writing(mode):
    done = processes.run([sys.executable, "-m", "tests.faults.kills", "4", mode], cwd=ROOT)
    assert f"{mode}: 4 kills" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_the_command_continues(tmp_path, number, code):
    arguments = ["table", "--initializer=random_normal", "--shape=5000000x16", "--seed=9"]
    arguments += ["--out=table.npy"]
    command = [sys.executable, "-c", SLOW, *arguments]
    place = tmp_path / "table.npy.part.json"
    with processes.started(command, cwd=tmp_path) as process:
        while not (place.exists() and json.loads(place.read_text())["done"]):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.count("\n") == 1
    assert "of table.npy is saved, --resume continues it" in err
    command = [sys.executable, "-m", "seedbed", *arguments, "--resume"]
    processes.run(command, cwd=tmp_path)
    assert tables.verify(tmp_path / "table.npy", INIT, sample=200).ok
    (tmp_path / "table.npy").unlink()


def test_no_room_for_the_state_leaves_no_other_file(tmp_path, monkeypatch):
    from seedbed.storage import atomic

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "state").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with Folder(tmp_path) as folder, pytest.raises(OSError, match="No space") as caught:
            folder.write_text("state", "new")
    assert caught.value.filename == str(tmp_path / "state.new")
    assert os.listdir(tmp_path) == ["state"]
    assert (tmp_path / "state").read_text() == "old"
