"""Where bytes are that are read: local files and folders, or objects in a store.

What reads tables asks here, and does not know which of the two it reads.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import FormatError
from ..locks import cached_property
from . import atomic, foreign
from .direct import read_all
from .foreign import local_path, open_regular
from .objects import Store, asking, sending, tag, url_of

AHEAD = 16 << 10  # bytes of the begin of an object, which are read together
STATE = ".part.json"  # after a URL: of an object that is there while others are missing
FEW = 4  # objects that are asked for one by one


class Remote:
    """A name in a store: of an object, or of a folder of objects.

    Parameters
    ----------
    store : Store
    name : str
        After the store's URL, as `Store` takes it.
    info : mapping, optional
        What the store says of the object, if it is known already.
    """

    def __init__(self, store: Store, name: str = "", info: Mapping[str, Any] | None = None) -> None:
        self.store, self._name = store, name
        self._tag = None if info is None else tag(info)
        self._head: np.ndarray | None = None

    def __str__(self) -> str:
        return self.store.url + ("" if self._name[:1] in ("", ".") else "/") + self._name

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> "Remote":
        return self.inside.get(name) or Remote(self.store, name)

    def beside(self, suffix: str) -> "Remote":
        """Return the object whose name is that of the store's URL, and a suffix."""
        return Remote(self.store, suffix)

    @property
    def name(self) -> str:
        """What is after the last slash."""
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last part of the name, from its dot."""
        return Path(self.name).suffix

    @cached_property
    def inside(self) -> dict[str, "Remote"]:
        """All objects of the folder, by name, as they were when first asked for."""
        with asking(str(self), FormatError):
            found = {} if self._name else self.store.objects()
        return {name: Remote(self.store, name, info) for name, info in sorted(found.items())}

    @property
    def tag(self) -> tuple[Any, ...] | None:
        """What tells the object from others, as it was when first asked; None if it was not there.

        Its size comes first.
        """
        if self._tag is None:
            with asking(str(self), FormatError), contextlib.suppress(FileNotFoundError):
                info = self.store.info(self._name)
                self._tag = tag(info) if info.get("type") == "file" else None
        return self._tag

    @property
    def size(self) -> int:
        """The number of bytes of the object; a FileNotFoundError if it is not there."""
        if self.tag is None:
            raise FileNotFoundError(2, "there is no such object", str(self))
        return int(self.tag[0])

    def fill(self, data: Any, offset: int) -> None:
        """Fill a buffer with bytes of the object, from an offset."""
        out = np.frombuffer(data, np.uint8)
        if self._head is not None and offset + out.size <= self._head.size:
            out[:] = self._head[offset : offset + out.size]
            return
        with asking(str(self), FormatError):
            self.store.fill([(self._name, offset, out)])

    def wanted(self, offset: int, data: np.ndarray) -> tuple[str, int, np.ndarray]:
        """Return a part of the object as `Store.fill` takes it."""
        return self._name, offset, data


Place = Path | Remote
"""Where a file or folder is."""


def place_of(path: Any, name: str = "path") -> Place:
    """Return an argument as a place.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If it is none.
    MissingPackageError
        If the package for its store is not installed.
    """
    url = url_of(path)
    return local_path(path, name) if url is None else Remote(Store(url))


@contextlib.contextmanager
def ahead(places: Sequence[Place]) -> Iterator[None]:
    """Read the first bytes of objects together, for whoever reads them one by one then."""
    remote = [one for one in places if isinstance(one, Remote)]
    heads = [np.empty(min(one.size, AHEAD), np.uint8) for one in remote]
    try:
        if remote:
            with asking(str(remote[0]), FormatError):
                wanted = [one.wanted(0, head) for one, head in zip(remote, heads, strict=True)]
                remote[0].store.fill(wanted)
        for one, head in zip(remote, heads, strict=True):
            one._head = head
        yield
    finally:
        for one in remote:
            one._head = None


def is_folder(place: Place) -> bool:
    """Return whether there is a folder of that name: in a store, anything inside."""
    return bool(place.inside) if isinstance(place, Remote) else os.path.isdir(place)


def exists(place: Place) -> bool:
    """Return whether there is anything of that name."""
    if isinstance(place, Remote):
        return is_folder(place) or place.tag is not None
    return os.path.lexists(place)


def is_unfinished(place: Place) -> bool:
    """Return whether a table of that name is being written."""
    if isinstance(place, Remote):
        return place.beside(STATE).tag is not None
    return os.path.lexists(place.with_name(place.name + ".part"))


def inside(place: Place) -> Mapping[str, Place]:
    """Return what is in a folder, by name."""
    if isinstance(place, Remote):
        return place.inside
    return {name: place / name for name in sorted(os.listdir(place))}


def size_of(place: Place) -> int:
    """Return the bytes of a file, or of all in a folder."""
    if is_folder(place):
        return sum(map(size_of, inside(place).values()))
    return place.size if isinstance(place, Remote) else place.stat().st_size


def read_small(place: Place, limit: int) -> bytes:
    """Return all bytes of a file that should have at most `limit`."""
    if isinstance(place, Path):
        return foreign.read_small(place, limit)
    if place.size > limit:
        raise FormatError(f"{place}: has more than {limit:,} bytes")
    data = bytearray(place.size)
    place.fill(data, 0)
    return bytes(data)


class Opened(Protocol):
    """A file that is open to be read."""

    @property
    def size(self) -> int:
        """The number of its bytes."""
        ...

    def fill(self, data: Any, offset: int) -> None:
        """Fill a buffer with its bytes, from an offset; if it ends before, an OSError."""
        ...


class _Local:
    def __init__(self, fd: int) -> None:
        self.fd, self.stat = fd, os.fstat(fd)
        self.size = self.stat.st_size

    def fill(self, data: Any, offset: int) -> None:
        read_all(self.fd, data, offset)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Opened]:
    """Open a regular file, or an object, to read it."""
    if isinstance(place, Remote):
        yield place
        return
    with foreign.opened(place) as fd:
        yield _Local(fd)


@contextlib.contextmanager
def failing(place: Place) -> Iterator[None]:
    """Turn what goes wrong in the middle of work into a `StorageError`, with the place."""
    with sending(str(place)) if isinstance(place, Remote) else atomic.failing(place):
        yield


class Reader:
    """Reads parts of files that stay as they are.

    Parameters
    ----------
    places : iterable of place
        Of files that may be read; as they are now.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._known = {place: _identity(place) for place in places}

    @property
    def identities(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """What tells the files from all others: where they are, and what changes with them."""
        return tuple((str(place), known) for place, known in self._known.items())

    @contextlib.contextmanager
    def reading(self) -> Iterator["Reads"]:
        """Read some of them."""
        reads = Reads(self._known)
        try:
            yield reads
            reads.check()
        finally:
            reads.close()


class Reads:
    """What `Reader.reading` yields: keeps the last local file open, and asks stores at the end."""

    def __init__(self, known: Mapping[Place, tuple[Any, ...]]) -> None:
        self._known = known
        self._touched: dict[Remote, None] = {}
        self._place: Path | None = None
        self._fd = -1

    def fill(self, wanted: Sequence[tuple[Place, int, np.ndarray]]) -> None:
        """Fill arrays of bytes from an offset in a file each.

        Raises
        ------
        FormatError
            If a file is not the one that it was.
        StorageError
            If it cannot be read.
        """
        remote = []
        for place, offset, data in wanted:
            if isinstance(place, Remote):
                self._touched[place] = None
                remote.append(place.wanted(offset, data))
                continue
            with failing(place):
                read_all(self._opened(place), data, offset)
        if remote:
            first = next(iter(self._touched))
            with failing(first):
                first.store.fill(remote)

    def _opened(self, place: Path) -> int:
        if place != self._place:
            self.close()
            self._fd, self._place = open_regular(place), place
            if _of_stat(os.fstat(self._fd)) != self._known[place]:
                raise FormatError(f"{place}: changed since it was opened")
        return self._fd

    def check(self) -> None:
        """Refuse objects that others took the place of since they were opened."""
        if not self._touched:
            return
        first = next(iter(self._touched))
        with failing(first):
            if len(self._touched) <= FEW:
                now = {one: Remote(one.store, one._name).tag for one in self._touched}
            else:
                now = {one: one.tag for one in Remote(first.store).inside.values()}
        for one in self._touched:
            if now.get(one) != self._known[one]:
                raise FormatError(f"{one}: changed since it was opened")

    def close(self) -> None:
        """Close the last file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._place, self._fd = None, -1


def _identity(place: Place) -> tuple[Any, ...]:
    if isinstance(place, Remote):
        return place.tag or ()
    return _of_stat(os.stat(place))


def _of_stat(stat: os.stat_result) -> tuple[Any, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
