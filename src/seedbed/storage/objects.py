"""Objects in a store such as S3: files that appear whole, when their upload is complete.

fsspec and its packages for each store do the transfers, in parts of many megabytes, and try again
what the network loses.
"""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, MissingPackageError, OutputError, SeedbedError, StorageError

# Extras of the package, by the protocols of URLs. Memory is fsspec's, of one process.
EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "memory": "s3"}
BLOCK = 16 << 20  # bytes that are sent at a time
MOST_BLOCKS = 9_000  # of an object; S3 takes 10,000
REQUEST = 2 << 20  # bytes that are asked for at most in a request; many are under way
REQUESTS = 32  # under way at most
ATTEMPTS = 4  # at an object, beside those that fsspec and below make at a request
_URL = re.compile(r"([a-z0-9]+)://([^/]+)/(.+)", re.S)
_TAGS = ("size", "ETag", "etag", "generation", "created")  # which change with an object


def url_of(path: Any) -> str | None:
    """Return a path that is the URL of objects, without a slash at its end; or None.

    Raises
    ------
    ArgumentError
        If it has no name in a bucket.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        return None
    if not isinstance(text, str) or text.partition("://")[0] not in EXTRAS or "://" not in text:
        return None
    if not _URL.fullmatch(text.rstrip("/")):
        raise ArgumentError(f"a URL must be PROTOCOL://BUCKET/NAME; given {text!r}")
    return text.rstrip("/")


class Store:
    """The objects whose URLs begin with a URL and a slash.

    Parameters
    ----------
    url : str
        Of `url_of`.

    Raises
    ------
    MissingPackageError
        If the package for its store is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: tuple[int, Any] | None = None
        self._root = self._fs._strip_protocol(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    @property
    def _fs(self) -> Any:
        """The file system of this process: one of a parent does not work in a forked child."""
        if self._made is None or self._made[0] != os.getpid():
            protocol = self.url.partition("://")[0]
            try:
                import fsspec

                made = fsspec.filesystem(
                    protocol, skip_instance_cache=True, use_listings_cache=False
                )
            except ImportError:
                raise MissingPackageError(
                    f"{protocol}:// needs a package: pip install 'seedbed[{EXTRAS[protocol]}]'"
                ) from None
            self._made = os.getpid(), made
        return self._made[1]

    def _path(self, name: str) -> str:
        return f"{self._root}{name}" if name[:1] in ("", ".") else f"{self._root}/{name}"

    def objects(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the store says of all objects, by their names after the URL's slash."""
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        return {path[start:]: one for path, one in found.items() if path[start:]}

    def tags(self) -> dict[str, tuple[Any, ...]]:
        """Return the tags of all objects, by name."""
        return {name: tag(one) for name, one in self.objects().items()}

    def info(self, name: str) -> Mapping[str, Any]:
        """Return what the store says of an object; a FileNotFoundError if it is not there."""
        return self._fs.info(self._path(name))

    def fill(self, wanted: Sequence[tuple[str, int, np.ndarray]]) -> None:
        """Read parts of objects, several at a time.

        Parameters
        ----------
        wanted : sequence of tuple of str, int and numpy.ndarray
            The name of an object, an offset in it, and the bytes to fill.

        Raises
        ------
        OSError
            If an object is not there, or ends before.
        """
        pieces = [
            (self._path(name), offset + at, data[at : at + REQUEST])
            for name, offset, data in wanted
            for at in range(0, data.size, REQUEST)
        ]
        for start in range(0, len(pieces), REQUESTS):
            self._fill(pieces[start : start + REQUESTS])

    def _fill(self, pieces: list[tuple[str, int, np.ndarray]]) -> None:
        for left in attempts():
            paths, starts, all_data = map(list, zip(*pieces, strict=True))
            ends = [start + data.size for start, data in zip(starts, all_data, strict=True)]
            found = self._fs.cat_ranges(paths, starts, ends, on_error="return")
            failed = []
            for piece, there in zip(pieces, found, strict=True):
                if isinstance(there, BaseException):
                    failed.append((piece, there))
                    continue
                if len(there) != piece[2].size:
                    end = piece[1] + len(there)
                    raise OSError(errno.EIO, f"{piece[0]} ends at byte {end:,}")
                piece[2][:] = np.frombuffer(there, np.uint8)
            if not failed:
                return
            error = failed[0][1]
            if not left or isinstance(error, (FileNotFoundError, PermissionError)):
                raise error
            pieces = [piece for piece, _ in failed]

    def read_small(self, name: str, limit: int) -> bytes | None:
        """Return all of an object, or None if it is not there; more than `limit` is not read."""
        try:
            data = self._fs.cat_file(self._path(name), start=0, end=limit + 1)
        except FileNotFoundError:
            return None
        if len(data) > limit:
            raise OutputError(f"{self.url}/{name}: has more than {limit:,} bytes")
        return data

    def put(self, name: str, data: bytes) -> None:
        """Write a small object; either the old or the new one is there, never less."""
        self._fs.pipe_file(self._path(name), data)

    def put_new(self, name: str, data: bytes) -> None:
        """Write a small object unless it is there; who comes second is told nothing."""
        try:
            self._fs.pipe_file(self._path(name), data, mode="create")
        except Exception:  # it is there, or the store or its package cannot be asked so
            if not self._fs.exists(self._path(name)):
                self.put(name, data)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    @contextlib.contextmanager
    def writing(self, name: str, size: int) -> Iterator[Any]:
        """Open an object of so many bytes to write it; after an error it is as it was."""
        block = max(BLOCK, -(-size // (MOST_BLOCKS << 20)) << 20)  # whole MiB, as GCS wants
        file = self._fs.open(self._path(name), "wb", block_size=block)
        try:
            yield file
        except BaseException:
            with contextlib.suppress(Exception):
                file.closed = True  # so that nobody completes it
                file.discard()
            raise
        file.close()


def tag(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what changes when an object does, of what a store says of it; its size first."""
    found = (info.get(key) for key in _TAGS)
    return tuple(getattr(one, "timestamp", lambda one=one: one)() for one in found)


@contextlib.contextmanager
def asking(url: str, kind: type[SeedbedError] = OutputError) -> Iterator[None]:
    """Turn whatever a store says before any work is done into an error of a kind."""
    try:
        yield
    except SeedbedError:
        raise
    except Exception as error:  # of the network, of credentials: each package has its own
        raise kind(f"{url}: {_said(error)}") from error


@contextlib.contextmanager
def sending(url: str) -> Iterator[None]:
    """Turn whatever a store says in the middle of work into a `StorageError`."""
    try:
        yield
    except (SeedbedError, MemoryError):
        raise
    except Exception as error:
        raise StorageError(getattr(error, "errno", None), _said(error), url) from error


def attempts() -> Iterator[int]:
    """Yield the numbers of attempts, the last one 0, with growing pauses between."""
    for left in reversed(range(ATTEMPTS)):
        yield left
        time.sleep(2.0 ** (ATTEMPTS - left - 2))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
