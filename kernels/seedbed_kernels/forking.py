"""A fork waits until no other thread imports, loads or compiles what makes values.

The child would inherit the locks of that thread, Python's own of imports among them, but not the
thread, and wait for them for ever.

Python calls what is registered to run before a fork in reverse order. Modules that take a lock of
their own there, and that loading needs, are therefore imported before this one registers: else a
fork would hold their lock and wait for loading, which waits for that lock.
"""

import concurrent.futures.thread  # noqa: F401  holds a lock over forks
import logging  # noqa: F401  likewise
import os
import sys

from .locks import Lock

loading = Lock()
_held: list = []


class first_use:  # noqa: N801  reads as a function
    """Import, load or compile in a ``with`` block: no fork comes in between.

    Constants are computed in usual arithmetic meanwhile: compiled code is kept with them.

    Examples
    --------
    >>> with first_use():
    ...     import fractions
    """

    def __enter__(self) -> None:
        loading.__enter__()
        try:
            from . import arithmetic

            self._usual = arithmetic.usual()
            self._usual.__enter__()
        except BaseException:
            loading.release()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self._usual.__exit__(*error)
        finally:
            loading.release()


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
