"""Files kept for later processes: none is trusted that another user could have written."""

import contextlib
import os
import re
import socket
import stat
import threading
import time
import warnings
from pathlib import Path

import pytest

from seedbed_kernels import disk_cache
from tests import oracle, processes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are bits on POSIX only")
CODE = b"code of a kernel"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of an empty cache, where nothing has been told yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(disk_cache, "_told", False)
    return tmp_path / "cache"


@contextlib.contextmanager
def told(pattern):
    """Expect one warning, and no more of what is wrong after it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert re.search(pattern, str(warning.message)), warning.message


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_kept_for_its_user_alone(folder):
    assert disk_cache.read("name") is None
    before = os.umask(0)
    try:
        disk_cache.keep("name", CODE)
    finally:
        os.umask(before)
    assert disk_cache.read("name") == CODE
    assert [mode(folder), mode(folder / "name")] == [0o700, 0o600]
    assert [file.name for file in folder.iterdir()] == ["name"]
    disk_cache.keep("name", CODE + CODE)
    assert disk_cache.read("name") == CODE + CODE


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "longer"])
def test_a_damaged_file_is_told_and_made_anew(folder, damage):
    disk_cache.keep("name", CODE)
    content = (folder / "name").read_bytes()
    bad = {
        "cut": content[:-1],
        "flipped": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
        "empty": b"",
        "longer": content + b"\0",
    }
    (folder / "name").write_bytes(bad[damage])
    with told("name is damaged"):
        assert disk_cache.read("name") is None
        assert disk_cache.read("name") is None
    disk_cache.keep("name", CODE)
    assert disk_cache.read("name") == CODE


def planted(kind, good, path):
    """Put something else where a file of the cache is; `good` has the right bytes."""
    path.unlink()
    if kind == "link":
        path.symlink_to(good)
    elif kind == "broken link":
        path.symlink_to(good.with_name("nothing"))
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = Path.cwd()
            os.chdir(path.parent)  # such names are short
            try:
                bound.bind(path.name)
            finally:
                os.chdir(here)
    else:
        path.write_bytes(good.read_bytes())
        path.chmod(int(kind, 8))


@pytest.mark.parametrize("kind", ["link", "broken link", "FIFO", "folder", "socket", "666", "620"])
def test_what_is_not_a_file_of_the_users_own_is_not_read(folder, tmp_path, kind):
    disk_cache.keep("name", CODE)
    good = tmp_path / "good"
    good.write_bytes((folder / "name").read_bytes())
    planted(kind, good, folder / "name")
    with told("cache is not used: .*name"):
        assert disk_cache.read("name") is None
        disk_cache.keep("name", CODE)  # replaces it, unless it is a folder
        assert disk_cache.read("name") == (None if kind == "folder" else CODE)
    assert good.exists()


def test_a_file_of_another_user_is_not_read(folder, monkeypatch):
    disk_cache.keep("name", CODE)
    if os.geteuid() == 0:
        os.chown(folder / "name", 12345, -1)
    else:
        real = os.fstat
        other = os.stat_result((*real(0)[:4], os.geteuid() + 1, *real(0)[5:]))
        monkeypatch.setattr(
            os, "fstat", lambda fd: other if stat.S_ISREG(real(fd).st_mode) else real(fd)
        )
    with told("name belongs to another user"):
        assert disk_cache.read("name") is None


@pytest.mark.parametrize("kind", ["777", "770", "foreign", "parent", "foreign link"])
def test_a_folder_that_others_can_write_is_not_used(folder, tmp_path, monkeypatch, kind):
    disk_cache.keep("name", CODE)
    path = folder
    if kind == "parent":
        tmp_path.chmod(0o777)
    elif kind == "foreign":
        if os.geteuid() == 0:
            os.chown(folder, 12345, -1)
        else:
            own = os.geteuid()
            monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    elif kind == "foreign link":
        path = tmp_path / "link"
        path.symlink_to(folder)
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(path))
        assert disk_cache.read("name") == CODE  # of one's own
        if os.geteuid() == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        else:
            own = os.geteuid()
            monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    else:
        folder.chmod(int(kind, 8))
    try:
        with told("cache is not used: .*(can write to|another user)"):
            assert disk_cache.read("name") is None
            with disk_cache.alone("name"):
                disk_cache.keep("more", CODE)
            assert disk_cache.writable_folder() is None
        assert [file.name for file in folder.iterdir()] == ["name"]
    finally:
        tmp_path.chmod(0o700)


def test_folders_where_none_is_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(disk_cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    beside, own = disk_cache.folders()
    assert beside.name == "__pycache__"
    assert own == tmp_path / "seedbed"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("caches", "./caches", ""):  # as the XDG standard says
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert disk_cache.folders() == [beside, tmp_path / "home" / ".cache" / "seedbed"]
    for nowhere in ("home", "."):
        monkeypatch.setenv("HOME", nowhere)
        assert disk_cache.folders() == [beside]
    monkeypatch.setattr(disk_cache.sys, "frozen", True, raising=False)
    assert disk_cache.folders() == []  # a program's folder may be a temporary one


def test_the_next_folder_serves_where_others_can_write_to_the_first(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(disk_cache, "folders", lambda: [first, second])
    monkeypatch.setattr(disk_cache, "_told", False)
    first.mkdir()
    first.chmod(0o777)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk_cache.keep("name", CODE)
        assert disk_cache.read("name") == CODE
    assert list(second.iterdir())
    assert not list(first.iterdir())


def test_who_holds_the_lock_is_waited_for(folder, monkeypatch):
    order = []

    def wait():
        with disk_cache.alone("name"):
            order.append("second")

    with disk_cache.alone("name"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        with disk_cache.alone("other"):
            order.append("other")
        time.sleep(0.2)
        order.append("first")
    waiter.join(20)
    assert order == ["other", "first", "second"]
    assert not list(folder.iterdir())

    monkeypatch.setattr(disk_cache, "LONGEST_WAIT", 0.1)
    with disk_cache.alone("name"), disk_cache.alone("name"):
        pass  # not for ever


HOLD = """
import time
from seedbed_kernels import disk_cache
with disk_cache.alone("name"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_holder_that_dies_holds_no_one_up(folder):
    with processes.started(processes.python(HOLD)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert [file.name for file in folder.iterdir()] == ["name.lock"]
        holder.kill()
        holder.wait(60)
    start = time.monotonic()
    with disk_cache.alone("name"):
        assert time.monotonic() - start < disk_cache.LONGEST_WAIT / 2
    assert not list(folder.iterdir())


def test_a_lock_that_cannot_be_taken_is_done_without(folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "name.lock")
    with disk_cache.alone("name"):
        pass


DRAW = """
import sys, warnings
from seedbed import initializers
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    values = initializers.RandomNormal(0.1, 0.02, seed=7)((700,), "float16")
print(values.tobytes().hex(), "numba" in sys.modules, len(caught))
"""


def draw(**environment):
    """Return the values that a new process draws, if it imported Numba, and how often it warned."""
    values, compiled, warned = processes.output(DRAW, **environment).splitlines()[-1].split()
    return values, compiled == "True", int(warned)


def test_what_is_planted_is_neither_run_nor_waited_for(folder):
    expected = oracle.values("normal", (0.1, 0.02), "float16", range(700), 7).tobytes().hex()
    assert draw() == (expected, True, 0)
    (file,) = folder.iterdir()
    planted("FIFO", file, file)
    assert draw() == (expected, True, 1)
    assert draw() == (expected, False, 0)
    folder.chmod(0o777)
    assert draw() == (expected, True, 1)


def test_one_of_eight_processes_that_begin_together_compiles(folder):
    expected = oracle.values("normal", (0.1, 0.02), "float16", range(700), 7).tobytes().hex()
    with contextlib.ExitStack() as running:
        begun = [running.enter_context(processes.started(processes.python(DRAW))) for _ in range(8)]
        lines = [process.communicate(timeout=300)[0].splitlines()[-1] for process in begun]
    assert sorted(lines) == [f"{expected} False 0"] * 7 + [f"{expected} True 0"]
    assert len(list(folder.iterdir())) == 1
