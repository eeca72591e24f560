"""Which code makes the values."""

import functools

from seedbed_kernels import STREAM_VERSION

from ..values.digest import stream_hash

__all__ = ["STREAM_VERSION", "stream_hash", "version"]


@functools.cache
def version() -> str:
    """Return the version of the package, which need not be installed."""
    from .. import __version__

    return __version__
