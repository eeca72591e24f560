"""Bytes that others may have made: headers, states, plans. The one place where they are read.

A file is opened only if it is a regular one; nothing is read beyond a bound; JSON is parsed only
once its depth and the number of its values are known; and whatever is wrong with it is a
`FormatError` with the path. What a reader then takes out of it, it checks by the functions below.
"""

import ast
import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, FormatError, SeedbedError, brief

MAX_DEPTH = 32
MAX_VALUES = 4_000_000  # of JSON: some hundred bytes of memory each
MAX_LITERAL = 1_000_000  # characters
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)
_NOT_BRACKETS = re.compile(rb"[^][{}]++")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


def local_path(path: Any, name: str = "path") -> Path:
    """Return an argument as the path of a local file; ``file:///PATH`` is PATH."""
    try:
        text = os.fspath(path)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be a path; given {brief(path)}") from None
    text = os.fsdecode(text)
    if not text or "\0" in text:
        raise ArgumentError(f"{name} must be the name of a file; given {brief(text)}")
    if text.startswith("file:///"):
        return Path(text.removeprefix("file://"))
    if _URL.match(text):
        raise ArgumentError(
            f"{name} must be a local file, not a URL; given {brief(text)}; use a local file and "
            "copy it (file:///... is one; tables are written, opened and verified in s3:// and gs://)"
        )
    return Path(text)


def open_regular(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> int:
    """Open a regular file to read it, or refuse it; never wait for another process.

    Parameters
    ----------
    path : path
        What errors tell, too.
    dir_fd : int, optional
        An open folder in which the last name of the path is looked up, if it is no symbolic link.

    Raises
    ------
    OSError
        As the system says, a FileNotFoundError for instance, with the path.
    FormatError
        If it is something else than a regular file.
    """
    flags = os.O_RDONLY
    for flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, flag, 0)
    name = path
    if dir_fd is not None:
        name, flags = os.path.basename(path), flags | getattr(os, "O_NOFOLLOW", 0)
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
    except OSError as error:
        if dir_fd is not None and error.errno == errno.ELOOP:
            raise FormatError(f"{path}: is a symbolic link, not a regular file") from None
        error.filename = os.fspath(path)
        raise
    try:
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind != stat.S_IFREG:
            raise FormatError(f"{path}: is {_KINDS.get(kind, 'a device')}, not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """Open a regular file to read it; close it in the end."""
    fd = open_regular(path)
    try:
        yield fd
    finally:
        os.close(fd)


def read_small(path: Path, limit: int, *, dir_fd: int | None = None) -> bytes:
    """Return all bytes of a file that should have at most `limit`."""
    fd = open_regular(path, dir_fd=dir_fd)
    data = bytearray()
    with open(fd, "rb", buffering=0) as file:
        while more := file.read(1 << 20):
            data += more
            if len(data) > limit:
                raise FormatError(f"{path}: has more than {limit:,} bytes")
    return bytes(data)


@contextlib.contextmanager
def understanding(path: object, what: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is understood into a `FormatError` with its path.

    Parameters
    ----------
    path : path, or what else says where it is
    what : str
        What is wrong with the file then, such as "not a .npy file".
    """
    try:
        yield
    except FormatError as error:
        if str(path) in str(error):
            raise
        raise FormatError(f"{path}: {what}: {error}") from None
    except OSError as error:
        if isinstance(error, SeedbedError):
            raise
        raise FormatError(f"{error.filename or path}: {error.strerror or error}") from error
    except Exception as error:  # of whatever kind: the bytes may be anything
        text = str(error) if isinstance(error, (ValueError, TypeError)) else repr(error)
        raise FormatError(f"{path}: {what}: {text[:200]}") from error


def parse_json(data: bytes, *, plain: bool = False) -> Any:
    """Return the value of a JSON text in UTF-8; of bounded depth and size, without double keys.

    Parameters
    ----------
    data : bytes
    plain : bool
        Whether all numbers must be integers from 0 to 2**64 - 1, as in file headers.
    """
    text = data.decode("utf-8")
    bare = _STRING.sub(b"", data)
    values = sum(bare.count(mark) for mark in (b",", b"[", b"{", b"]", b"}"))
    if values > MAX_VALUES:
        raise FormatError(f"JSON of more than {MAX_VALUES:,} values")
    if _depth(_NOT_BRACKETS.sub(b"", bare)) > MAX_DEPTH:
        raise FormatError(f"JSON of more than {MAX_DEPTH} levels")
    if not plain:
        return json.loads(text, object_pairs_hook=_distinct)
    return json.loads(
        text,
        object_pairs_hook=_distinct,
        parse_int=_natural,
        parse_float=_no_number,
        parse_constant=_no_number,
    )


def _depth(brackets: bytes) -> int:
    if len(brackets) <= MAX_DEPTH:
        return len(brackets)
    marks = np.frombuffer(brackets, np.uint8)
    steps = np.where((marks == ord("[")) | (marks == ord("{")), np.int8(1), np.int8(-1))
    return int(np.cumsum(steps, dtype=np.int64).max())


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise FormatError(f"key {brief(double)} is there twice")
    return found


def _natural(text: str) -> int:
    if not text.isdecimal() or len(text) > 20 or (number := int(text)) >= 2**64:
        return _no_number(text)
    return number


def _no_number(text: str) -> Any:
    raise FormatError(f"{brief(text)} must be an integer from 0 to 2**64 - 1")


def literal(text: str) -> Any:
    """Return the value of a Python literal.

    Raises
    ------
    ValueError
        If it is none, or too long or too deep.
    """
    if len(text) > MAX_LITERAL:
        raise ValueError(f"more than {MAX_LITERAL:,} characters")
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a Python literal: {error}") from None


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a value that must be a JSON object."""
    if not isinstance(value, dict):
        raise FormatError(f"{name} must be an object; given {brief(value)}")
    return value


def text(value: Any, name: str) -> str:
    """Return a value that must be a string, of characters that UTF-8 has."""
    if not isinstance(value, str):
        raise FormatError(f"{name} must be a string; given {brief(value)}")
    value.encode()
    return value


def natural(value: Any, name: str, most: int = 2**64 - 1) -> int:
    """Return a value that must be an integer from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise FormatError(f"{name} must be an integer from 0 to {most}; given {brief(value)}")
    return value


def naturals(value: Any, name: str, count: int | None = None) -> tuple[int, ...]:
    """Return a value that must be a list of integers of at least 0: so many, or as many as axes."""
    most = 64 if count is None else count  # NumPy has no more axes
    if not isinstance(value, list) or len(value) > most or len(value) < (count or 0):
        raise FormatError(
            f"{name} must be a list of {'up to 64' if count is None else count} integers; "
            f"given {brief(value)}"
        )
    return tuple(natural(item, name) for item in value)
