"""One output, several writers: the same bytes for any number of them, in any order."""

import contextlib
import errno
import hashlib
import json
import os
import time
from functools import partial

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.errors import StorageError
from seedbed.storage.atomic import Folder
from seedbed.storage.locks import locked
from seedbed.tables import pipeline, state
from seedbed.tables.job import Job
from tests import processes

INIT = initializers.TruncatedNormal(seed=5)
SHAPE = (10_007, 33)


@contextlib.contextmanager
def opened(path, part, of):
    """Write a part of a file, as a job does."""
    with Folder(path.parent) as folder, locked(folder, path.name, part, of) as fd:
        yield fd


def digests(path):
    """Return the SHA-256 of a file, or of every file of a folder."""
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    return {
        item.name if path.is_dir() else "": hashlib.sha256(item.read_bytes()).hexdigest()
        for item in paths
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The digests of outputs written at once, by name."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for name in ("table.npy", "table.safetensors"):
        tables.write(folder / name, INIT, SHAPE)
        found[name] = digests(folder / name)
    tables.write(folder / "shards", INIT, SHAPE, shards=5)
    return {**found, "shards": digests(folder / "shards")}


@pytest.mark.parametrize("nbytes", [1000, 4096, 65536 + 4, 10**6, 10**9])
@pytest.mark.parametrize("name", ["table.npy", "table.safetensors"])
def test_any_chunk_size(tmp_path, whole, name, nbytes):
    tables.write(tmp_path / name, INIT, SHAPE, chunk_bytes=nbytes)
    assert digests(tmp_path / name) == whole[name]


@pytest.mark.parametrize("of", [2, 5])
@pytest.mark.parametrize("name", ["table.npy", "table.safetensors", "shards"])
def test_any_number_of_parts_in_any_order(tmp_path, whole, name, of):
    options = {"shards": 5} if name == "shards" else {}
    order = list(range(1, of + 1))[::-1]
    for number in order:
        assert not (tmp_path / name).exists()
        summary = tables.write(tmp_path / name, INIT, SHAPE, part=(number, of), **options)
        assert len(summary.missing) == number - 1
    assert digests(tmp_path / name) == whole[name]
    assert os.listdir(tmp_path) == [name]


def test_more_parts_than_pages(tmp_path):
    for number in range(1, 8):
        tables.write(tmp_path / "table.npy", INIT, (100, 3), part=(number, 7))
    assert np.array_equal(np.load(tmp_path / "table.npy"), INIT((100, 3)))


def write_part(path, number, of, barrier):
    barrier.wait(60)
    tables.write(path, INIT, SHAPE, part=(number, of), chunk_bytes=10_000, checkpoint_seconds=0)


@pytest.mark.parametrize("repeat", range(3))
def test_parts_at_the_same_time(tmp_path, whole, repeat):
    """Processes start and end together: one of them finishes, and only one."""
    INIT((10, 10))
    of = 5
    barrier = processes.FORK.Barrier(of)
    path = tmp_path / "table.safetensors"
    calls = [partial(write_part, path, number, of, barrier) for number in range(1, of + 1)]
    with processes.forked(*calls) as children:
        assert processes.exit_codes(children) == [0] * of
    assert digests(path) == whole["table.safetensors"]
    assert os.listdir(tmp_path) == [path.name]


def test_a_part_that_another_one_overtakes_while_it_publishes(tmp_path, monkeypatch):
    real = Folder.publish

    def overtaken(self, partial, final, *, replace):
        real(self, partial, final, replace=replace)
        raise FileExistsError

    monkeypatch.setattr(Folder, "publish", overtaken)
    assert not tables.write(tmp_path / "table.npy", INIT, SHAPE).missing
    assert os.listdir(tmp_path) == ["table.npy"]


@pytest.mark.parametrize("shards", [None, 3])
def test_a_part_that_begins_while_another_one_looks(tmp_path, shards, monkeypatch):
    """It looks for data, of which there are none yet, and then for states."""
    path, real, turns = tmp_path / ("shards" if shards else "table.npy"), state.names, iter((2, 3))

    def late(folder, target):
        number = next(turns, None)
        if number is not None:
            tables.write(path, INIT, SHAPE, part=(number, 3), shards=shards)
        return real(folder, target)

    monkeypatch.setattr(state, "names", late)
    tables.write(path, INIT, SHAPE, part=(1, 3), shards=shards)
    assert os.listdir(tmp_path) == [path.name]
    assert tables.verify(path, INIT).ok


@pytest.mark.parametrize("shards", [None, 3])
def test_finish_tells_what_is_missing(tmp_path, shards):
    path = tmp_path / ("shards" if shards else "table.npy")
    with pytest.raises(tables.OutputError, match="nothing to finish"):
        tables.finish(path)
    for number in (1, 3):
        tables.write(path, INIT, SHAPE, part=(number, 3), shards=shards)
    with pytest.raises(tables.OutputError, match=r"part 2/3 \(missing\)"):
        tables.finish(path)
    assert not path.exists()
    tables.write(path, INIT, SHAPE, part=(2, 3), shards=shards)
    assert path.exists()


def test_a_part_that_was_stopped_is_missing_too(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    write_all, left = pipeline.write_all, [4]

    def failing(fd, data, offset):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EIO, "broken")
        write_all(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", failing)
        with pytest.raises(StorageError, match="broken"):
            tables.write(path, INIT, SHAPE, part=(2, 2), chunk_bytes=100_000, checkpoint_seconds=0)
    with pytest.raises(tables.OutputError, match=r"not complete: part 2/2 \([0-9.]+ % done\)"):
        tables.finish(path)
    assert not path.exists()
    tables.write(path, INIT, SHAPE, part=(2, 2), resume=True)
    assert tables.verify(path, INIT).ok


def test_finish_by_itself(tmp_path, whole, monkeypatch):
    """Where the last part could not finish, say since it was killed then."""
    path = tmp_path / "table.npy"
    monkeypatch.setattr(Job, "_finish", lambda job: [])
    for number in (1, 2):
        tables.write(path, INIT, SHAPE, part=(number, 2))
    assert not path.exists()
    tables.finish(path)
    assert digests(path) == whole["table.npy"]


@pytest.mark.parametrize("where", ["header", "part 1", "part 2", "end", "size"])
def test_finish_looks_at_the_data(tmp_path, monkeypatch, where):
    path = tmp_path / "table.npy"
    monkeypatch.setattr(Job, "_finish", lambda job: [])
    for number in (1, 2):
        tables.write(path, INIT, SHAPE, part=(number, 2))
    partial = tmp_path / "table.npy.part"
    data = bytearray(partial.read_bytes())
    half = len(data) // 2
    ranges = {
        "header": (20, 21),
        "part 1": (5000, half - 5000),  # as if it had never been written
        "part 2": (half + 5000, len(data)),
        "end": (len(data) - 1, len(data)),
        "size": (0, 0),
    }
    begin, end = ranges[where]
    data[begin:end] = bytes(~byte & 255 for byte in data[begin:end])
    partial.write_bytes(data[:-1] if where == "size" else data)
    with pytest.raises(OSError, match=r"should be|header|bytes"):
        tables.finish(path)
    assert not path.exists()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "table.npy"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    path.write_bytes(b"precious")
    with pytest.raises(tables.OutputError, match="--force"):
        tables.write(path, INIT, SHAPE, part=(2, 2))
    assert path.read_bytes() == b"precious"
    tables.write(path, INIT, SHAPE, part=(2, 2), force=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_a_file_that_appears_at_the_last_moment_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    publish = Folder.publish

    def late(*arguments, **options):
        path.write_bytes(b"precious")
        publish(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "publish", late)
        with pytest.raises(StorageError, match="did not when the job began") as caught:
            tables.write(path, INIT, SHAPE)
    assert caught.value.errno == errno.EEXIST
    assert path.read_bytes() == b"precious"
    assert tables.write(path, INIT, SHAPE, force=True, resume=True).values == 0
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 6},
        {"shape": (10_007, 34)},
        {"dtype": "float16"},
        {"name": "other"},
        {"of": 3},
        {"of": 1},
    ],
)
def test_parts_of_another_job_are_refused(tmp_path, changed):
    path = tmp_path / "table.safetensors"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    seed, of = changed.pop("seed", 5), changed.pop("of", 2)
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    with pytest.raises(tables.OutputError, match=r"of another job|in 2 parts"):
        tables.write(
            path,
            initializers.TruncatedNormal(seed=seed),
            changed.pop("shape", SHAPE),
            part=(min(2, of), of),
            **changed,
        )
    assert before == {item: item.read_bytes() for item in tmp_path.iterdir()}


def test_a_part_written_again_is_the_same(tmp_path, whole):
    path = tmp_path / "table.npy"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    with pytest.raises(tables.OutputError, match="--resume continues it, --force starts again"):
        tables.write(path, INIT, SHAPE, part=(1, 2))
    assert tables.write(path, INIT, SHAPE, part=(1, 2), resume=True).values == 0
    assert tables.write(path, INIT, SHAPE, part=(1, 2), force=True).values > 0
    tables.write(path, INIT, SHAPE, part=(2, 2))
    assert digests(path) == whole["table.npy"]


@contextlib.contextmanager
def held_by_another(path, part):
    """Have a process of its own write that part."""
    ready = processes.FORK.Event()

    def hold():
        with opened(path, *part):
            ready.set()
            time.sleep(600)

    with processes.forked(hold):
        assert ready.wait(60)
        yield


@pytest.mark.parametrize(
    ("held", "wanted", "refused"),
    [
        ((1, 1), (1, 1), True),
        ((1, 1), (2, 3), True),
        ((2, 3), (1, 1), True),
        ((2, 3), (2, 3), True),
        ((2, 3), (1, 3), False),
        ((2, 3), (3, 3), False),
        ((1, 2), (1, 3), True),
        ((1, 2), (3, 3), False),
    ],
)
def test_locks_of_overlapping_parts(tmp_path, held, wanted, refused):
    path = tmp_path / "table.npy.part"
    with held_by_another(path, held):
        if refused:
            with (
                pytest.raises(tables.OutputError, match="another process is writing it"),
                opened(path, *wanted),
            ):
                pass
        else:
            with opened(path, *wanted):
                pass
    with opened(path, *wanted):  # the lock went with its process
        pass


def test_second_writer_is_refused(tmp_path):
    """In a process of its own, and in this one."""
    path = tmp_path / "table.npy"
    written = tmp_path / "table.npy.part"
    tables.write(path, INIT, SHAPE, part=(1, 2))  # so that there is something to write to
    before = written.read_bytes()
    with held_by_another(written, (2, 2)):
        with pytest.raises(tables.OutputError, match="another process is writing it"):
            tables.write(path, INIT, SHAPE, part=(2, 2))
        assert written.read_bytes() == before
    with opened(written, 2, 2), pytest.raises(tables.OutputError, match="is writing it"):
        tables.write(path, INIT, SHAPE, part=(2, 2))
    tables.write(path, INIT, SHAPE, part=(2, 2))


def test_a_name_that_is_left_of_a_finished_file_is_not_written_to(tmp_path, monkeypatch):
    """Killed between the two steps of giving the final name, both names are of one file."""
    path, partial = tmp_path / "table.npy", tmp_path / "table.npy.part"

    def killed(*_, **__):
        os.link(partial, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            tables.write(path, INIT, SHAPE)
    assert os.path.samefile(path, partial)
    before = path.read_bytes()
    with opened(partial, 1, 1) as fd:
        os.write(fd, b"something else")
    assert path.read_bytes() == before
    with pytest.raises(tables.OutputError, match="exists"):
        tables.write(path, INIT, SHAPE)
    tables.write(path, initializers.Zeros(), SHAPE, force=True)
    assert not np.load(path).any()
    assert os.listdir(tmp_path) == ["table.npy"]


def test_foreign_files_are_left_alone(tmp_path):
    partial = tmp_path / "table.npy.part"
    partial.write_bytes(b"precious")
    for options in ({}, {"resume": True}, {"force": True}, {"part": (1, 2)}):
        with pytest.raises(tables.OutputError, match="no unfinished table"):
            tables.write(tmp_path / "table.npy", INIT, SHAPE, **options)
    assert partial.read_bytes() == b"precious"
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(b"precious")
    for force in (False, True):
        with pytest.raises(tables.OutputError, match="not empty"):
            tables.write(folder, INIT, SHAPE, shards=2, force=force)
    (tmp_path / "more.part").mkdir()
    (tmp_path / "more.part" / "mine").write_bytes(b"precious")
    for force in (False, True):
        with pytest.raises(tables.OutputError, match="no shard of this"):
            tables.write(tmp_path / "more", INIT, SHAPE, shards=2, force=force)
    assert (folder / "mine.safetensors").read_bytes() == b"precious"


def test_shards_go_into_an_empty_folder(tmp_path, whole):
    (tmp_path / "shards").mkdir()
    tables.write(tmp_path / "shards", INIT, SHAPE, shards=5)
    assert digests(tmp_path / "shards") == whole["shards"]
    assert os.listdir(tmp_path) == ["shards"]


def test_what_is_computed_whole_has_no_parts(tmp_path):
    class Whole(initializers.RandomNormal):
        windowed = False

    with pytest.raises(ValueError, match="as a whole: no parts"):
        tables.write(tmp_path / "table.npy", Whole(seed=1), (9, 9), part=(1, 2))


def test_state_is_short_and_readable(tmp_path):
    tables.write(tmp_path / "table.npy", INIT, SHAPE, part=(1, 2))
    text = (tmp_path / "table.npy.part-1-of-2.json").read_text()
    assert len(text) < 2000
    state = json.loads(text)
    assert state["done"] == state["total"]
    assert state["output"]["tables"]["weight"]["initializer"]["config"]["seed"] == 5
    assert len(os.listdir(tmp_path)) == 2


def test_who_comes_too_late_leaves_nothing(tmp_path, monkeypatch):
    """The other run ends between the first look and the lock."""
    path = tmp_path / "table.npy"
    real = Job._locked

    def late(*arguments):
        monkeypatch.setattr(Job, "_locked", real)
        tables.write(path, INIT, SHAPE)
        return real(*arguments)

    monkeypatch.setattr(Job, "_locked", late)
    with pytest.raises(tables.OutputError, match="another job has just finished it"):
        tables.write(path, INIT, SHAPE)
    assert os.listdir(tmp_path) == ["table.npy"]


TOGETHER = """
import sys, time
from pathlib import Path
from seedbed import initializers, tables
from seedbed.storage.atomic import Folder
from seedbed.tables import finishing

path, part = Path(sys.argv[1]), (int(sys.argv[2]), 2)
replace, try_finish = Folder.replace, finishing.try_finish

def slowly(folder, old, new):
    if new != "zarr.json":
        return replace(folder, old, new)
    time.sleep(0.3)
    replace(folder, old, new)
    time.sleep(1)

def together(*arguments, **options):
    for number in (1, 2):
        while not (path.parent / "ready" / str(number)).exists():
            (path.parent / "ready" / sys.argv[2]).touch()
            time.sleep(0.01)
    return try_finish(*arguments, **options)

Folder.replace, finishing.try_finish = slowly, together
init = initializers.TruncatedNormal(seed=5)
tables.write(path, init, (1000, 33), chunk_rows=100, shard_rows=500, part=part)
"""


def test_two_parts_that_end_at_the_same_moment(tmp_path):
    """Each finds all parts complete: one does the last step, the other waits for it."""
    path = tmp_path / "table.zarr"
    (tmp_path / "ready").mkdir()
    with contextlib.ExitStack() as stack:
        programs = [processes.python(TOGETHER, path, number) for number in (1, 2)]
        begun = [stack.enter_context(processes.started(program)) for program in programs]
        for process in begun:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors[-3000:]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ready", "table.zarr"]
    assert not list(path.glob("*.new"))
    found = tables.open(path)["weight"]
    np.testing.assert_array_equal(found[:], INIT((1000, 33)))
