"""One writer at a time: of a file, or of a part of it.

POSIX record locks, which work over NFS. Where a file system has no locks, writers are told so and
go on.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from ..errors import OutputError, warn
from .atomic import Folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LOCK_SPACE = 2**62  # bytes, mostly past the end of the file, that stand for all of it
_writing: dict[tuple[str, str], object] = {}  # POSIX locks do not keep out threads of one process
if hasattr(os, "register_at_fork"):  # a child writes nothing yet, and holds no lock of its parent
    os.register_at_fork(after_in_child=_writing.clear)


class TakenError(OutputError):
    """Somebody else is writing a file, or the same part of it."""


@contextlib.contextmanager
def locked(folder: Folder, name: str, part: int, of: int, *, create: bool = True) -> Iterator[int]:
    """Open a file for writing part `part` of `of`, from 1, as the only writer of that part.

    Nobody may open and close the file again meanwhile: the first descriptor that a process closes
    takes all its POSIX locks on the file along.

    Yields
    ------
    int
        The file descriptor. The file is created empty if there is none, unless `create` is False.

    Raises
    ------
    TakenError
        If somebody else writes that part, or a part in common with it.
    OutputError
        If the name is one of something else than a regular file.
    """
    key, mine = _key(folder, name), object()
    try:
        if _writing.setdefault(key, mine) is not mine:
            raise _taken(folder, name)
        fd = _open_locked(folder, name, part, of, os.O_CREAT if create else 0)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        if _writing.get(key) is mine:
            del _writing[key]


def is_taken(folder: Folder, name: str, part: int, of: int) -> bool:
    """Return whether somebody writes that part of a file now, or a part in common with it."""
    if _key(folder, name) in _writing:
        return True
    try:
        with locked(folder, name, part, of, create=False):
            return False
    except TakenError:
        return True
    except OSError:
        return False


def _key(folder: Folder, name: str) -> tuple[str, str]:
    if folder.fd is None:
        return os.path.realpath(folder.path), name
    found = os.fstat(folder.fd)
    return f"{found.st_dev}:{found.st_ino}", name


def _open_locked(folder: Folder, name: str, part: int, of: int, create: int) -> int:
    while True:
        fd = folder.open(name, os.O_RDWR | create)
        try:
            _lock(fd, folder, name, part, of)
            if not is_at(fd, folder, name):  # it became the final file between open and lock
                os.close(fd)
                continue
            if os.fstat(fd).st_nlink > 1:  # killed while it became the final file: leave that alone
                folder.remove(name)
                os.close(fd)
                continue
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        return fd


def _lock(fd: int, folder: Folder, name: str, part: int, of: int) -> None:
    if fcntl is None:
        return
    start, stop = _LOCK_SPACE * (part - 1) // of, _LOCK_SPACE * part // of
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, stop - start, start)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise _taken(folder, name) from None
        if error.errno not in _NO_LOCKS:
            raise
        warn(f"{folder.path / name}: no locks on this file system; let only one write")


def remove_empty(folder: Folder, name: str, fd: int) -> None:
    """Remove a file that is open here for writing, unless it holds something or others write it."""
    with contextlib.suppress(TakenError):
        _lock(fd, folder, name, 1, 1)
        if os.fstat(fd).st_size == 0:
            folder.remove(name)


def _taken(folder: Folder, name: str) -> TakenError:
    return TakenError(f"{folder.path / name}: another process is writing it")


def is_at(fd: int, folder: Folder, name: str) -> bool:
    """Return whether an open file is the one of that name."""
    found = folder.stat(name)
    return found is not None and os.path.samestat(os.fstat(fd), found)
