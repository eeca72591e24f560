"""Each call of the system fails, the process dies at each, the power goes after each.

Whatever happens, nothing wrong has a final name, what was there before is not harmed, and the same
call goes on with `resume`.
"""

import contextlib
import errno
import os
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.errors import SeedbedError
from tests.storage.disk import Calls, Disk, Killed

INIT = initializers.RandomNormal(seed=9)
SHAPE = (700, 30)  # 84 kB, more than 20 pages
WHOLE = INIT(SHAPE)
TRAINED = np.random.default_rng(4).random((400, 30), np.float32)
KNOWN, NEW = np.arange(400), np.arange(1000, 300, -1)  # 99 rows are kept, the other way round
GROWN = {"grow": np.concatenate([TRAINED, WHOLE[400:]])}
GROWN["ids"] = np.concatenate([WHOLE[:601], TRAINED[399:300:-1]])


@pytest.fixture
def tmp_path(tmp_path):
    """A folder in memory, where there is one: thousands of flushes are made here."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def write(folder, case, **options):
    """Do the work of a case, in chunks that are saved one by one."""
    path = folder / ("table" if case == "shards" else "table.npy")
    how = {"chunk_bytes": 20_000, "checkpoint_seconds": 0, **options}
    if case == "shards":
        how["shards"] = 3
    if case == "part":
        how["part"] = (2, 2)
    if case in ("grow", "ids"):
        how["grow"] = folder.parent / "older" / "old.npy"
    if case == "ids":
        how["ids"] = [folder.parent / "older" / f"{which}.npy" for which in ("known", "new")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is mended
        tables.write(path, INIT, SHAPE, **how)


def prepare(folder, case):
    """Make what is there before the work of a case."""
    if case == "part":
        write(folder, "", part=(1, 2))
    older = folder.parent / "older"
    if case in ("grow", "ids") and not older.exists():
        older.mkdir()
        np.save(older / "old.npy", TRAINED)
        np.save(older / "known.npy", KNOWN)
        np.save(older / "new.npy", NEW)
    if case in ("force", "resume"):
        (folder / "table.npy").write_bytes(b"precious")
    if case == "resume":  # with a flipped bit in what an earlier job wrote
        calls = Calls(pytest.MonkeyPatch(), 45, OSError(errno.EIO, "broken"))
        with calls.counted(), pytest.raises(SeedbedError):
            write(folder, "", force=True)
        with open(folder / "table.npy.part", "r+b") as file:
            file.seek(1000)
            file.write(b"\xff")


def check(folder, case, *, done):
    """See that the final name is of what was there before, or right."""
    path = folder / ("table" if case == "shards" else "table.npy")
    if case in ("force", "resume") and not done and path.read_bytes() == b"precious":
        return
    if path.is_dir() and not any(path.iterdir()):
        assert not done
    elif path.exists() and case in GROWN:
        assert np.array_equal(np.load(path), GROWN[case])
    elif path.exists():
        assert tables.verify(path, *([] if case == "shards" else [INIT])).ok
    else:
        assert not done
    if done:
        assert os.listdir(folder) == [path.name]


CASES = ["", "shards", "part", "force", "resume", "grow", "ids"]
HOW = {"": {}, "shards": {}, "part": {}, "force": {"force": True}, "grow": {}, "ids": {}}
HOW["resume"] = {"force": True, "resume": True}


def number_of_calls(folder, case, monkeypatch):
    folder.mkdir()
    prepare(folder, case)
    with Calls(monkeypatch).counted() as calls:
        write(folder, case, **HOW[case])
    check(folder, case, done=True)
    return calls.count


def go_on(folder, case):
    """Do the work again, with `resume`, and by force where a state is of no use."""
    try:
        write(folder, case, **{**HOW[case], "resume": True})
    except SeedbedError:
        write(folder, case, **{**HOW[case], "resume": True, "force": True})


@pytest.mark.parametrize("case", CASES)
def test_each_call_fails(tmp_path, monkeypatch, case):
    count = number_of_calls(tmp_path / "count", case, monkeypatch)
    told = 0
    for number in range(count):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        prepare(folder, case)
        code = (errno.ENOSPC, errno.EIO)[number % 2]
        try:
            with Calls(monkeypatch, number, OSError(code, os.strerror(code))).counted():
                write(folder, case, **HOW[case])
        except SeedbedError as error:  # anything else is a failure of this test
            told += 1
            text = str(error)
            assert "table" in text or str(folder) in text, text
            assert "Errno" not in text
        check(folder, case, done=False)
        go_on(folder, case)
        check(folder, case, done=True)
    assert told > count // 2


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs the names of open folders")
@pytest.mark.parametrize("case", CASES)
def test_the_process_dies_or_the_power_goes_at_each_call(tmp_path, monkeypatch, case):
    count = number_of_calls(tmp_path / "count", case, monkeypatch)
    chance = random.Random(3)
    for number in range(count):
        folder, after = tmp_path / f"{number}", tmp_path / f"{number}-after"
        folder.mkdir()
        after.mkdir()
        prepare(folder, case)
        disk = Disk(folder)
        with Calls(monkeypatch, number, Killed(), disk).counted(), pytest.raises(Killed):
            write(folder, case, **HOW[case])
        disk.after_a_power_cut(chance, after)
        for place in (folder, after):
            check(place, case, done=False)
            go_on(place, case)
            check(place, case, done=True)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs the names of open folders")
def test_the_model_of_a_disk_knows_what_was_not_flushed(tmp_path, monkeypatch):
    """A write that saves its state before the data are flushed would not pass."""
    from seedbed.tables import pipeline

    wrong, chance = 0, random.Random(3)
    monkeypatch.setattr(pipeline, "sync", lambda fd: None)
    for number in range(40, 60):
        folder, after = tmp_path / f"{number}", tmp_path / f"{number}-after"
        folder.mkdir()
        after.mkdir()
        disk = Disk(folder)
        calls = Calls(monkeypatch, number, Killed(), disk)
        with calls.counted(), contextlib.suppress(Killed):
            write(folder, "")
        disk.after_a_power_cut(chance, after)
        unfinished = after / "table.npy.part"
        if unfinished.exists() and (after / "table.npy.part.json").exists():
            found = np.frombuffer(unfinished.read_bytes()[128:].ljust(84_000, b"\0"), np.float32)
            wrong += not np.array_equal(found[:5000], WHOLE.ravel()[:5000])
    assert wrong


def test_an_error_once_the_name_is_given_says_so(tmp_path, monkeypatch):
    """The output is complete: nothing is to be resumed, and nothing says so."""
    from seedbed.storage.atomic import Folder

    publish, sync = Folder.publish, Folder.sync

    def failing(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))

    def late(*arguments, **options):
        publish(*arguments, **options)
        patch.setattr(Folder, "sync", failing)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "publish", late)
        with pytest.raises(SeedbedError, match="is complete and has its name") as caught:
            write(tmp_path, "")
    assert not getattr(caught.value, "__notes__", [])
    assert sync is Folder.sync
    assert np.array_equal(np.load(tmp_path / "table.npy"), WHOLE)
    write(tmp_path, "", resume=True)
    assert os.listdir(tmp_path) == ["table.npy"]


def test_a_state_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch):
    from seedbed.storage.atomic import Folder

    remove = Folder.remove

    def failing(self, name):
        if name.endswith(".json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path / name))
        remove(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", failing)
        with pytest.warns(UserWarning, match="is complete; .*json may be removed"):
            tables.write(tmp_path / "table.npy", INIT, SHAPE)
    assert np.array_equal(np.load(tmp_path / "table.npy"), WHOLE)
