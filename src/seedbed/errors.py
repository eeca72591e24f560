"""The errors that Seedbed raises on purpose, and how arguments of any kind are asked and told.

All are `SeedbedError`s, and a ValueError, TypeError, OSError or ImportError besides, so that
callers catch what they know. Inner code says what is wrong; the public function that was called
adds its name in front (`naming`). Any other exception is a fault in the program.
"""

import contextlib
import operator
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Any, Self


class SeedbedError(Exception):
    """Base of all errors that are raised on purpose."""

    owner: str | None = None
    """The class or function that was called, once it is known; empty where the message has it."""

    def named(self, owner: str | None) -> Self:
        """Return the error itself, with the name of what was called unless it has one."""
        if self.owner is None:
            self.owner = owner
        return self

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.owner}: {message}" if self.owner else message


class ArgumentError(SeedbedError, ValueError):
    """An argument has a value that is not allowed."""


class ArgumentTypeError(SeedbedError, TypeError):
    """An argument is of a type that is not allowed."""


class OutputError(SeedbedError, OSError, ValueError):
    """The output cannot be written as asked; nothing has been touched."""


class StorageError(SeedbedError, OSError):
    """The system failed in the middle of work on a file; `filename` and `errno` tell more."""

    def __init__(self, code: int | None, reason: str, path: Any = None) -> None:
        super().__init__(code, reason)
        self.filename = None if path is None else str(path)

    def __str__(self) -> str:
        place = "" if self.filename is None else f"{self.filename}: "
        owner = "" if self.owner is None else f"{self.owner}: "
        return f"{owner}{place}{self.strerror}"


class FormatError(SeedbedError, ValueError):
    """A file is damaged, or not what its name says."""


class DeviceError(SeedbedError, ValueError, RuntimeError):
    """A GPU is asked for, and it or something it needs is missing."""


class MissingPackageError(SeedbedError, ImportError):
    """A package that is needed is not installed; the message says how to install it."""


def is_one_of(names: Collection[str], value: Any) -> bool:
    """Return whether an argument is one of some names; it may be anything, an array too."""
    return isinstance(value, str) and value in names


def as_index(value: Any) -> int:
    """Return an integer of any library as Python's; anything else is a TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise
    except Exception as error:  # a masked number, a tensor on meta
        raise TypeError(str(error)) from None


def as_integer(value: Any, name: str) -> int:
    """Return an argument that must be an integer, as one."""
    try:
        return as_index(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be an integer; given {brief(value)}") from None


@contextlib.contextmanager
def naming(owner: str) -> Iterator[None]:
    """Add the name of what was called to errors from within."""
    try:
        yield
    except SeedbedError as error:
        error.named(owner)
        raise


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called the package: the nearest frame that is not of its own code."""
    level, frame = 1, sys._getframe()
    while frame is not None and _is_own(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_own(module: str) -> bool:
    wrapping = ("torch._dynamo.eval_frame", "torch.utils._contextlib")  # what is around own code
    return module.partition(".")[0] in ("seedbed", "seedbed_kernels") or module in wrapping


def brief(value: Any) -> str:
    """Return a value as an error tells it: in one line, cut where it is long."""
    try:
        text = " ".join(repr(value).split())  # arrays are told in lines
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:100]}... ({len(text)} characters)"
