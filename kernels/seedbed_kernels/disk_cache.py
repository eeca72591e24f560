"""Files of compiled code, kept for later processes.

Whoever can write such a file decides what these processes run. So only the user's own files are
read, in folders that only the user can write; all of it is checked on what was opened, not on
names. The folder is ``NUMBA_CACHE_DIR`` where that is set, else `__pycache__` here, else one of the
user's own. Where there is none, every process compiles for itself.
"""

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

POSIX = os.name == "posix"  # elsewhere permissions are not bits, and no file is opened in a folder
# Nothing that is opened may be a link, have the process wait, or be seen by a child.
CAREFULLY = sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
DIGEST = hashlib.sha256().digest_size
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LONGEST_WAIT = 60.0  # seconds, for another process that compiles the same
POLL = 0.02  # seconds

_told = False


class UnsafeError(Exception):
    """What is in the cache's place may be someone else's work."""


def folders() -> list[Path]:
    """Return where files may be kept, the best place first."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    here = Path(__file__).parent
    found = [here / "__pycache__"] if here.is_dir() and not hasattr(sys, "frozen") else []
    if sys.platform == "win32":
        own = [os.environ.get("LOCALAPPDATA", ""), "~/AppData/Local"]
    elif sys.platform == "darwin":
        own = ["~/Library/Caches"]
    else:
        own = [os.environ.get("XDG_CACHE_HOME", ""), "~/.cache"]
    # A relative path is ignored, as the XDG standard says.
    absolute = (Path(path) for path in map(os.path.expanduser, own) if os.path.isabs(path))
    return found + [path / "seedbed" for path in absolute][:1]


def writable_folder() -> Path | None:
    """Return where files are kept, or None; a folder that is missing is made."""
    with _writable() as folder:
        return folder.path if folder else None


def read(name: str) -> bytes | None:
    """Return what is kept under a name, or None if there is no such file, or none to be trusted."""
    for path in folders():
        with contextlib.suppress(OSError, UnsafeError), _opened(path) as folder:
            data = folder.read(name)
            if data is not None:
                return data
    return None


def keep(name: str, data: bytes) -> None:
    """Keep data under a name, where that is possible; other processes see all of it or nothing."""
    with _writable() as folder, contextlib.suppress(OSError):
        if folder:
            folder.write(name, data)


@contextlib.contextmanager
def alone(name: str | None) -> Iterator[None]:
    """Wait until no other process makes the file of a name, or until the longest wait is over.

    A process that dies holds the others up no longer. Without a name there is nothing to wait for.
    """
    if name is None:
        yield
        return
    with _writable() as folder, contextlib.ExitStack() as locked:
        if folder and fcntl is not None:
            with contextlib.suppress(OSError, UnsafeError):
                locked.enter_context(folder.locked(f"{name}.lock"))
        yield


@contextlib.contextmanager
def _writable() -> Iterator["_Folder | None"]:
    """Open the first folder that can be written; one that is missing is made."""
    refused = None
    with contextlib.ExitStack() as opened:
        for path in folders():
            try:
                _make(path)
                folder = opened.enter_context(_opened(path))
            except UnsafeError as error:
                refused = error
            except OSError:
                pass
            else:
                if os.access(path, os.W_OK | os.X_OK):
                    yield folder
                    return
        if refused:
            _tell(refused)
        yield None


def _make(path: Path) -> None:
    """Make a folder, and those above it, for the user alone."""
    if not path.exists():
        _make(path.parent)
        with contextlib.suppress(FileExistsError):  # another process was quicker
            path.mkdir(0o700)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator["_Folder"]:
    """Open a folder, which must be one that only the user can write."""
    if not POSIX:
        yield _Folder(path, None)
        return
    path = Path(os.path.abspath(path))
    real = Path(os.path.realpath(path))
    for each in {path, *path.parents, *real.parents}:
        _check_way(each)
    descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | CAREFULLY)
    try:
        _check_own(os.fstat(descriptor), path)
        yield _Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _check_way(path: Path) -> None:
    """Refuse a way to a folder on which another user can put another folder in its place."""
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        if info.st_uid not in (0, os.geteuid()):
            raise UnsafeError(f"{path} is a link of another user")
    elif info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
        raise UnsafeError(f"everyone can write to {path}")


def _check_own(info: os.stat_result, path: Path) -> None:
    """Refuse what is not the user's own, or others can write."""
    if POSIX and info.st_uid != os.geteuid():
        raise UnsafeError(f"{path} belongs to another user")
    if POSIX and info.st_mode & OTHERS_WRITE:
        raise UnsafeError(f"others can write to {path} (`chmod go-w` forbids it)")


def _tell(problem: UnsafeError) -> None:
    """Warn once that the cache, or a file of it, is not used."""
    global _told
    if not _told:
        _told = True
        warnings.warn(
            f"seedbed: compiled code in the cache is not used: {problem}", RuntimeWarning, 2
        )


class _Folder:
    """An open folder; without a descriptor, where there are none, its files are found by path."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self.descriptor = descriptor

    def read(self, name: str) -> bytes | None:
        """Return the data of a file; None if there is none, or none to be trusted."""
        try:
            with self._open(name, os.O_RDONLY, "rb") as file:
                content = file.read()
            digest, data = content[:DIGEST], content[DIGEST:]
            if hashlib.sha256(data).digest() != digest:
                raise UnsafeError(f"{self.path / name} is damaged")
        except FileNotFoundError:
            return None
        except UnsafeError as error:
            _tell(error)
            return None
        except OSError as error:  # a link, or a file that only another user reads
            _tell(UnsafeError(f"{self.path / name}: {error.strerror}"))
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file at once, with a digest first; processes may write the same one together."""
        partial, at = f"{name}.{secrets.token_hex(4)}", self.descriptor
        try:
            with self._open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(self._at(partial), self._at(name), src_dir_fd=at, dst_dir_fd=at)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(partial), dir_fd=at)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock, or none if another process has held it for the longest wait."""
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end:
            with self._open(name, os.O_RDWR | os.O_CREAT, "r+b") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    there = os.stat(self._at(name), dir_fd=self.descriptor, follow_symlinks=False)
                except BlockingIOError:
                    time.sleep(POLL)
                    continue
                except FileNotFoundError:  # whoever held it has just removed it
                    continue
                if os.path.samestat(there, os.fstat(file.fileno())):
                    try:
                        yield
                    finally:
                        with contextlib.suppress(OSError):
                            os.unlink(self._at(name), dir_fd=self.descriptor)
                    return
        yield

    def _open(self, name: str, flags: int, mode: str) -> Any:
        """Open a file that must be the user's own."""
        descriptor = os.open(self._at(name), flags | CAREFULLY, 0o600, dir_fd=self.descriptor)
        try:
            info, path = os.fstat(descriptor), self.path / name
            if not stat.S_ISREG(info.st_mode):
                raise UnsafeError(f"{path} is not a file")
            _check_own(info, path)
            return open(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            raise

    def _at(self, name: str) -> str:
        """Return what a file is called: from the open folder, or else by its path."""
        return name if self.descriptor is not None else str(self.path / name)
