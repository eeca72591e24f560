"""Files that appear whole or not at all.

What is written goes under a temporary name in the same folder and gets the final name when it is
complete and flushed. No step needs more of the file system than POSIX asks for.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import OutputError, SeedbedError, StorageError
from .direct import write_all

_AT = os.open in os.supports_dir_fd  # POSIX
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def resolved(path: Path) -> Path:
    """Return a path of a file, or what it is a symbolic link to: links are written through."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the system says before any work is done into an `OutputError`, with the path."""
    try:
        yield
    except OSError as error:
        if isinstance(error, SeedbedError):
            raise
        told = OutputError(f"{error.filename or path}: {error.strerror or error}")
        raise _noted(told, error) from error


@contextlib.contextmanager
def failing(path: Path) -> Iterator[None]:
    """Turn what the system says in the middle of work into a `StorageError`, with the path."""
    try:
        yield
    except OSError as error:
        if isinstance(error, SeedbedError):
            raise
        where = path if error.errno is not None else None  # else it is not about a file
        told = StorageError(error.errno, error.strerror or str(error), error.filename or where)
        raise _noted(told, error) from error


def _noted(new: SeedbedError, old: OSError) -> SeedbedError:
    for note in getattr(old, "__notes__", ()):
        new.add_note(note)
    return new


class Folder:
    """An open folder.

    Names are looked up in the folder that was opened, whatever its own name comes to mean, and no
    symbolic link of those names is followed: in a folder that others may write, they may be there.

    Parameters
    ----------
    path : path
        Errors tell it.
    follow : bool
        Whether `path` itself may be a symbolic link.

    Raises
    ------
    OSError
        From here and from every method; with the whole path.
    """

    def __init__(self, path: Path, *, follow: bool = True) -> None:
        self.path = path
        self.fd: int | None = None
        if _AT:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
            self.fd = os.open(path, flags)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _name(self, name: str) -> str:
        return name if self.fd is not None else str(self.path / name)

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Give errors the whole path."""
        try:
            yield
        except OSError as error:
            error.filename, error.filename2 = str(self.path / name), None
            raise

    def names(self) -> list[str]:
        """Return all names in the folder."""
        return os.listdir(self.path if self.fd is None else self.fd)

    def stat(self, name: str) -> os.stat_result | None:
        """Return what is known of a name, or of the link that it is; None if it is not there."""
        with self._telling(name):
            try:
                return os.stat(self._name(name), dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def open(self, name: str, flags: int) -> int:
        """Open a regular file.

        Raises
        ------
        OutputError
            If the name is one of something else.
        """
        path = self.path / name
        flags |= _SAFE | getattr(os, "O_NONBLOCK", 0)
        try:
            with self._telling(name):
                fd = os.open(self._name(name), flags, 0o666, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
                raise OutputError(f"{path}: is a link, a folder or a pipe; remove it") from None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OutputError(f"{path}: is not a regular file; remove it")
        return fd

    def folder(self, name: str) -> "Folder":
        """Open a folder in the folder."""
        inner = Folder.__new__(Folder)
        inner.path, inner.fd = self.path / name, None
        if self.fd is not None:
            flags = os.O_RDONLY | os.O_DIRECTORY | _SAFE
            with self._telling(name):
                inner.fd = os.open(name, flags, dir_fd=self.fd)
        return inner

    def make_folder(self, name: str) -> None:
        """Make a folder, unless it is there."""
        with self._telling(name), contextlib.suppress(FileExistsError):
            os.mkdir(self._name(name), dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a name of a file; if it is there."""
        with self._telling(name), contextlib.suppress(FileNotFoundError):
            os.unlink(self._name(name), dir_fd=self.fd)

    def remove_folder(self, name: str) -> None:
        """Remove a folder, if it is there and empty."""
        with contextlib.suppress(OSError):
            os.rmdir(self._name(name), dir_fd=self.fd)

    def replace(self, old: str, new: str) -> None:
        """Give a file another name, at once; a file of that name is no longer there."""
        with self._telling(new):
            os.replace(self._name(old), self._name(new), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; one that is there already is a FileExistsError."""
        with self._telling(new):
            os.link(self._name(old), self._name(new), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def sync(self) -> None:
        """Flush the names in the folder, where the system lets folders be opened."""
        if self.fd is not None:
            with self._telling(""):
                os.fsync(self.fd)

    def write_text(self, name: str, text: str) -> None:
        """Replace a small file at once: either the old or the new text is there, never less.

        For one writer at a time: the name of what a killed one left is the name of the next one.
        """
        new = name + ".new"
        self.remove(new)
        try:
            fd = self.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with self._telling(new):
                    write_all(fd, text.encode(), 0)
                    os.fsync(fd)
            finally:
                os.close(fd)
            self.replace(new, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(new)
            raise
        self.sync()

    def publish(self, partial: str, final: str, *, replace: bool) -> None:
        """Give what is complete and flushed its final name; `sync` flushes that.

        Parameters
        ----------
        partial, final : str
            A file, or a folder, and its name to come.
        replace : bool
            Whether it may take the place of another file, whose permissions it gets.

        Raises
        ------
        FileExistsError
            If there is something of that name already that may not be replaced.
        """
        there = self.stat(final)
        if replace:
            if there is not None and stat.S_ISREG(there.st_mode):
                with self._telling(partial):
                    os.chmod(self._name(partial), there.st_mode & 0o777, dir_fd=self.fd)
            self.replace(partial, final)
        elif (found := self.stat(partial)) is not None and stat.S_ISDIR(found.st_mode):
            with self._telling(final):  # fails if there is anything but an empty folder
                os.rename(
                    self._name(partial), self._name(final), src_dir_fd=self.fd, dst_dir_fd=self.fd
                )
        else:
            self._publish_new(partial, final)

    def _publish_new(self, partial: str, final: str) -> None:
        try:
            self.link(partial, final)  # unlike a rename, never replaces
        except FileNotFoundError:
            raise
        except FileExistsError:
            if not self.same(partial, final):
                raise
        except OSError:  # no hard links here
            if self.stat(final) is not None:
                raise FileExistsError(
                    errno.EEXIST, os.strerror(errno.EEXIST), str(self.path / final)
                ) from None
            self.replace(partial, final)
            return
        self.remove(partial)

    def same(self, one: str, other: str) -> bool:
        """Return whether two names are of one file."""
        first, second = self.stat(one), self.stat(other)
        return first is not None and second is not None and os.path.samestat(first, second)
