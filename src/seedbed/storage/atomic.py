"""Files that appear whole or not at all, and one writer at a time.

What is written goes under a temporary name in the same folder and gets the final name when it is
complete and flushed. No step needs more of the file system than POSIX asks for; where it cannot
lock, writers are told so and go on.
"""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LOCK_SPACE = 2**62  # bytes, mostly past the end of the file, that stand for all of it
_writing: dict[str, object] = {}  # POSIX locks do not keep out threads of one process
if hasattr(os, "register_at_fork"):  # a child writes nothing yet, and holds no lock of its parent
    os.register_at_fork(after_in_child=_writing.clear)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, where the system lets folders be opened."""
    with contextlib.suppress(PermissionError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_text(path: Path, text: str) -> None:
    """Replace a small file at once: either the old or the new text is there, never less.

    For one writer at a time: a file that a kill leaves has the name of the next one.
    """
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def opened(path: Path, part: int, of: int, *, create: bool = True) -> Iterator[int]:
    """Open a file for writing part `part` of `of`, from 1, as the only writer of that part.

    Nobody may open and close the file again meanwhile: the first descriptor that a process closes
    takes all its POSIX locks on the file along.

    Yields
    ------
    int
        The file descriptor. The file is created empty if there is none, unless `create` is False.

    Raises
    ------
    OutputError
        If somebody else writes that part, or a part in common with it.
    """
    key, mine = os.path.realpath(path), object()
    try:
        if _writing.setdefault(key, mine) is not mine:
            raise _taken(path)
        fd = _open_locked(path, part, of, os.O_CREAT if create else 0)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        if _writing.get(key) is mine:
            del _writing[key]


def _open_locked(path: Path, part: int, of: int, create: int) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | create | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(fd, path, part, of)
            if not is_at(fd, path):  # it became the final file between open and lock
                os.close(fd)
                continue
            if os.fstat(fd).st_nlink > 1:  # killed while it became the final file: leave that alone
                os.unlink(path)
                os.close(fd)
                continue
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        return fd


def _lock(fd: int, path: Path, part: int, of: int) -> None:
    if fcntl is None:
        return
    start, stop = _LOCK_SPACE * (part - 1) // of, _LOCK_SPACE * part // of
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, stop - start, start)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise _taken(path) from None
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(f"{path}: no locks on this file system; let only one write", stacklevel=5)


def remove_empty(path: Path, fd: int) -> None:
    """Remove a file that is open here for writing, unless it holds something or others write it."""
    with contextlib.suppress(OutputError):
        _lock(fd, path, 1, 1)
        if os.fstat(fd).st_size == 0:
            path.unlink(missing_ok=True)


def _taken(path: Path) -> OutputError:
    return OutputError(f"{path}: another process is writing it")


def is_at(fd: int, path: Path) -> bool:
    """Return whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def publish(partial: Path, final: Path, *, replace: bool) -> None:
    """Give what is complete and flushed its final name.

    Raises
    ------
    FileExistsError
        If there is something of that name already, unless it may be replaced.
    """
    if replace:
        os.replace(partial, final)
    elif partial.is_dir():
        os.rename(partial, final)  # fails if there is anything but an empty folder
    else:
        try:
            os.link(partial, final)  # unlike a rename, never replaces
        except FileNotFoundError:
            raise
        except FileExistsError:
            if not os.path.samefile(partial, final):
                raise
        except OSError:  # no hard links here
            if os.path.lexists(final):
                raise FileExistsError(errno.EEXIST, "exists", str(final)) from None
            os.rename(partial, final)
        partial.unlink(missing_ok=True)
    sync_folder(final.parent)
