"""A fork waits until no other thread compiles or loads a kernel.

The child would inherit the locks of that thread but not the thread, and wait for them for ever.
"""

import os
import sys
import threading
from typing import Any

loading = threading.RLock()  # held while a kernel is looked for, and compiled if there is none
_held: list[Any] = []


def _hold() -> None:
    loading.acquire()  # first: who compiles a kernel that is loaded takes them in this order
    _held.append(loading)
    compiler = sys.modules.get("numba.core.compiler_lock")
    if compiler is not None:
        compiler.global_compiler_lock.acquire()
        _held.append(compiler.global_compiler_lock)


def _release() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
