"""Transfers between memory and the disk, against plain ones."""

import errno
import fcntl
import os

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.storage import direct

PAGE = direct.PAGE
OFFSETS = (0, 1, 128, PAGE - 1, PAGE, 3 * PAGE, 5 * PAGE + 512)
SIZES = (0, 1, 511, PAGE - 1, PAGE, PAGE + 1, 4 * PAGE, 7 * PAGE + 77)


@pytest.fixture
def file(tmp_path):
    """An open file of 20 pages, and what is in it."""
    content = np.random.default_rng(5).integers(0, 256, 20 * PAGE, np.uint8)
    path = tmp_path / "file"
    path.write_bytes(content.tobytes())
    fd = os.open(path, os.O_RDWR)
    yield fd, content, path
    os.close(fd)


def buffer_for(offset, size):
    return direct.buffer(size)[direct.bounds(offset, size)]


def can_pass_the_cache(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True


def refusing(call):
    """Return a system call of a file system that knows of O_DIRECT only when it is used."""

    def refuses(fd, *arguments):
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "cannot")
        return call(fd, *arguments)

    return refuses


def meagre(call):
    """Return a system call that moves at most a page and a bit, unless it passes the cache."""

    def moves_little(fd, view, at):
        most = PAGE if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT else 1500
        if isinstance(view, list):
            return call(fd, [view[0][:most]], at)
        return call(fd, view[:most], at)

    return moves_little


@pytest.mark.parametrize("way", [lambda call: call, refusing, meagre])
@pytest.mark.parametrize("aligned", [True, False])
def test_every_offset_and_size(file, monkeypatch, way, aligned):
    fd, content, path = file
    monkeypatch.setattr(direct.os, "pwrite", way(os.pwrite))
    monkeypatch.setattr(direct.os, "preadv", way(os.preadv))
    for offset in OFFSETS:
        for size in SIZES:
            data = buffer_for(offset + (not aligned), size)
            direct.read_all(fd, data, offset)
            assert np.array_equal(data, content[offset : offset + size]), (offset, size)
            data += 1
            content[offset : offset + size] = data
            direct.write_all(fd, data, offset)
            assert path.read_bytes() == content.tobytes(), (offset, size)
    assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT


def test_pages_of_a_file_are_pages_of_its_buffer():
    for offset in OFFSETS:
        for size in SIZES:
            data = buffer_for(offset, size)
            assert data.size == size
            if size:
                assert (data.ctypes.data - offset) % PAGE == 0


def test_a_file_that_ends_before(file):
    fd, content, _ = file
    for offset in (0, 17 * PAGE, 20 * PAGE):
        data = buffer_for(offset, content.size - offset + 1)
        with pytest.raises(OSError, match=r"ends at byte 81,920"):
            direct.read_all(fd, data, offset)


def test_other_errors_are_raised(file, monkeypatch):
    fd, content, _ = file

    def full(fd, view, at):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(direct.os, "pwrite", full)
    with pytest.raises(OSError, match="full"):
        direct.write_all(fd, content, 0)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_tables_pass_the_cache(tmp_path, monkeypatch, suffix):
    past, through = [0], [0]
    pwrite = os.pwrite

    def recorded(fd, view, at):
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".part"):  # and not the state
            direct = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
            (past if direct else through)[0] += len(view)
        return pwrite(fd, view, at)

    (tmp_path / "probe").touch()
    monkeypatch.setattr(direct.os, "pwrite", recorded)
    init = initializers.RandomNormal(seed=3)
    path = tmp_path / ("table" + suffix)
    tables.write(path, init, (10_001, 101), chunk_bytes=1 << 20)
    size = path.stat().st_size
    assert past[0] + through[0] == size
    if can_pass_the_cache(tmp_path / "probe"):
        assert through[0] < 12 * PAGE  # the header, and the ends of five chunks
    else:
        assert past[0] == 0
    assert tables.verify(path, init).ok
