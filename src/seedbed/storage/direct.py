"""Bytes between memory and the disk, past the page cache where the system lets them.

The cache takes a copy of every page and finds room for it, which is several times slower than a
fast disk, and pushes out what others keep there. A page of the file that is a page of memory needs
no copy (Linux' O_DIRECT). All others, and all of them on a file system that cannot do this, go
through the cache; which of the two a page went makes no difference to who reads it.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PAGE = 4096  # bytes: a multiple of the sectors of all disks
_DIRECT = getattr(os, "O_DIRECT", 0)


def buffer(nbytes: int) -> np.ndarray:
    """Return memory for so many bytes of a file, whatever their offset there: see `bounds`."""
    memory = np.empty(nbytes + 2 * PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE
    return memory[start : start + nbytes + PAGE]


def bounds(offset: int, nbytes: int) -> slice:
    """Return where in a `buffer` bytes from `offset` go: pages of the file are pages of memory."""
    start = offset % PAGE
    return slice(start, start + nbytes)


def check_system() -> None:
    """Refuse a system without positioned reads and writes."""
    if not hasattr(os, "pwrite") or not hasattr(os, "preadv"):
        raise OutputError(
            "tables on disk need a POSIX system (Linux, macOS, WSL): this one, such as Windows, "
            "has no positioned reads and writes; init(shape, window=...) makes the same values"
        )


def write_all(fd: int, data: Any, offset: int) -> None:
    """Write all of a buffer at an offset; the system may take it in pieces."""
    check_system()
    _move(os.pwrite, fd, data, offset)


def read_all(fd: int, data: Any, offset: int) -> None:
    """Fill all of a buffer from an offset; a file that ends before is an OSError."""
    check_system()
    _move(lambda fd, view, at: os.preadv(fd, [view], at), fd, data, offset)


def sync(fd: int) -> None:
    """Flush the data of an open file to the disk."""
    getattr(os, "fdatasync", os.fsync)(fd)


def _move(call: Callable[[int, Any, int], int], fd: int, data: Any, offset: int) -> None:
    view = memoryview(data).cast("B")
    address = np.frombuffer(view, np.uint8).ctypes.data if view else 0
    direct = bool(_DIRECT) and (address - offset) % PAGE == 0
    while view:
        to_page = -offset % PAGE
        size = len(view) // PAGE * PAGE
        try:
            if direct and not to_page and size:
                with _past_cache(fd):
                    count = call(fd, view[:size], offset)
            else:
                count = call(fd, view[: to_page if direct and to_page else None], offset)
        except OSError as error:
            if not direct or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            direct = False
            continue
        if not count:
            raise OSError(errno.EIO, f"the file ends at byte {offset:,}")
        view, offset = view[count:], offset + count


@contextlib.contextmanager
def _past_cache(fd: int) -> Iterator[None]:
    """Let transfers pass the cache; where the file system cannot, it says so here or then."""
    assert fcntl is not None
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | _DIRECT)
    try:
        yield
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
