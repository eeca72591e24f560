"""Which code makes the values."""

import functools
import hashlib
from pathlib import Path

import seedbed_kernels
from seedbed_kernels import STREAM_VERSION

__all__ = ["STREAM_VERSION", "stream_hash", "version"]


@functools.cache
def version() -> str:
    """Return the version of the package, which need not be installed."""
    from .. import __version__

    return __version__


@functools.cache
def stream_hash() -> str:
    """Return a SHA-256 of all source that values depend on.

    A run that was interrupted goes on only with the very code that began it, changes that the
    stream version should have told of included.
    """
    package = Path(__file__).parents[1]
    folders = (Path(seedbed_kernels.__file__).parent, package / "values", package / "initializers")
    sources = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
