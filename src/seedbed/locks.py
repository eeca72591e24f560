"""Locks that a forked child finds free, whoever held them in the parent.

A child has only the thread that forked. A lock that another thread held stays taken there for
ever, so whatever a module locks is renewed.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

from seedbed_kernels.locks import Lock

T = TypeVar("T")


def renewed_lock() -> Lock:
    """Return a lock for a module, free again in every forked child."""
    return renewed(Lock())


def renewed(lock: T) -> T:
    """Return a lock that is from now on free in every forked child."""
    if hasattr(os, "register_at_fork"):  # as the modules of Python's own library do
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # pyright: ignore[reportAttributeAccessIssue]
    return lock


def cached_property(compute: Callable[[Any], T]) -> functools.cached_property[T]:
    """Make a method a property that is computed once, if threads meet perhaps twice.

    Python 3.11's `functools.cached_property` holds a lock meanwhile, one for all objects.
    """
    made = functools.cached_property(compute)
    made.lock = contextlib.nullcontext()  # pyright: ignore[reportAttributeAccessIssue]
    return made
