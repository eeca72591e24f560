"""Objects in a store such as S3: files that appear whole, when their upload is complete.

fsspec and its packages for each store do the transfers, in parts of many megabytes, and try again
what the network loses.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ArgumentError, MissingPackageError, OutputError, SeedbedError, StorageError

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}  # of the package, by the protocols of URLs
BLOCK = 16 << 20  # bytes that are sent at a time
MOST_BLOCKS = 9_000  # of an object; S3 takes 10,000
ATTEMPTS = 4  # at an object, beside those that fsspec and below make at a request
_URL = re.compile(r"([a-z0-9]+)://([^/]+)/(.+)")


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
        protocol = url.partition("://")[0]
        try:
            import fsspec

            self._fs: Any = fsspec.filesystem(
                protocol, skip_instance_cache=True, use_listings_cache=False
            )
        except ImportError:
            raise MissingPackageError(
                f"{protocol}:// needs a package: pip install 'seedbed[{EXTRAS[protocol]}]'"
            ) from None
        self._root = self._fs._strip_protocol(url)

    def _path(self, name: str) -> str:
        return f"{self._root}{name}" if name.startswith(".") else f"{self._root}/{name}"

    def sizes(self) -> Mapping[str, int]:
        """Return all objects: their names after the URL's slash, and sizes."""
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        return {path[start:]: one["size"] for path, one in found.items()}

    def read(self, name: str, begin: int, end: int) -> bytes:
        """Return some bytes of an object."""
        if begin == end:  # which cannot be asked for
            return b""
        return self._fs.cat_file(self._path(name), start=begin, end=end)

    def read_small(self, name: str, limit: int) -> bytes | None:
        """Return all of an object, or None if it is not there; more than `limit` is not read."""
        try:
            if self._fs.size(self._path(name)) > limit:
                raise OutputError(f"{self.url}/{name}: has more than {limit:,} bytes")
            return self._fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Write a small object; either the old or the new one is there, never less."""
        self._fs.pipe_file(self._path(name), data)

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
            file.closed = True  # so that nobody completes it
            with contextlib.suppress(Exception):
                file.discard()
            raise
        file.close()


@contextlib.contextmanager
def asking(url: str) -> Iterator[None]:
    """Turn whatever a store says before any work is done into an `OutputError`."""
    try:
        yield
    except SeedbedError:
        raise
    except Exception as error:  # of the network, of credentials: each package has its own
        raise OutputError(f"{url}: {_said(error)}") from error


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
