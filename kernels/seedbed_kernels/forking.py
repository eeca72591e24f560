"""A fork waits until no other thread imports, loads or compiles what makes values.

The child would inherit the locks of that thread, Python's own of imports among them, but not the
thread, and wait for them for ever.
"""

import concurrent.futures.thread  # noqa: F401  locks are held for it as well: from the start on
import contextlib
import logging  # noqa: F401  likewise
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from . import arithmetic

loading = threading.RLock()
_held: list[Any] = []


@contextlib.contextmanager
def first_use() -> Iterator[None]:
    """Import, load or compile in a ``with`` block: no fork comes in between.

    Constants are computed in usual arithmetic meanwhile: compiled code is kept with them.

    Examples
    --------
    >>> with first_use():
    ...     import fractions
    """
    with loading, arithmetic.usual():
        yield


def _hold() -> None:
    loading.acquire()  # first: who compiles a kernel that is loaded takes them in this order
    _held.append(loading)
    compiler = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    if compiler is not None:
        compiler.acquire()
        _held.append(compiler)


def _release() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
