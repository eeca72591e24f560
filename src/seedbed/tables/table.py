"""One table: its name, what is in it, and any of its elements."""

import functools
import math
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, FormatError, as_index, brief, naming
from ..initializers.initializer import RandomInitializer
from ..initializers.whole import makes_parts
from ..locks import cached_property
from ..storage.direct import read_all
from ..storage.foreign import mapping, natural, naturals, open_regular, text
from ..values.dtypes import FLOATING, FLOATING_DTYPES, NAMES, as_dtype
from ..values.request import MAX_BYTES, check_shape
from ..values.window import Window, windows
from .configurations import configuration, restored
from .placing import Placed, placed_of


@dataclass(frozen=True)
class Kept:
    """The first rows of a grown table, which come from an older file.

    Parameters
    ----------
    rows : int
        How many.
    path : Path, optional
        The older file; None once the new file is written and only the number is known.
    offset : int
        Where in that file the rows begin.
    """

    rows: int
    path: Path | None = None
    offset: int = 0

    def read(self, out: np.ndarray, begin: int) -> None:
        """Fill a flat array with the kept elements from number `begin`."""
        read_all(self._fd, out.view(np.uint8), self.offset + begin * out.itemsize)

    @cached_property
    def _fd(self) -> int:
        """The older file, opened once: its name may come to mean another."""
        if self.path is None:
            raise ArgumentError("kept rows are in the older file, which is not known here")
        fd = open_regular(self.path)
        weakref.finalize(self, os.close, fd)
        return fd

    def describe(self) -> dict[str, Any]:
        """Return all there is to say, as JSON, and what tells if the older file changes."""
        assert self.path is not None
        stat = self.path.stat()
        return {
            "rows": self.rows,
            "path": str(self.path.resolve()),
            "offset": self.offset,
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
        }

    @classmethod
    def from_description(cls, rows: int, description: Any) -> "Kept":
        """Return the kept rows that `describe` described; it comes from a file."""
        found = mapping(description, "kept")
        path = Path(text(found.get("path"), "path of kept rows"))
        return cls(rows, path, natural(found.get("offset"), "offset of kept rows"))


@dataclass(frozen=True)
class Table:
    """A table, or the rows of it, that go into a file.

    Parameters
    ----------
    name : str
        Its name in formats that have names.
    init : Initializer
        With an integer seed, or none at all.
    shape : tuple of int
        The full table.
    dtype : numpy.dtype
        Of the elements.
    rows : tuple of two int, optional
        Only these rows (start, stop) are stored.
    kept : Kept, optional
        Where the first rows come from, in place of `init`.
    placed : Placed or dict, optional
        Where rows of known ids come from; a dict is its description, once the file is written.
    whole : callable, optional
        Returns the full table; made here for an initializer that cannot compute a window by itself.
    configuration : callable, optional
        Returns that of `init`; made here.
    """

    name: str
    init: initializers.Initializer
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: tuple[int, int] | None = None
    kept: Kept | None = None
    placed: Placed | dict[str, Any] | None = None
    whole: Callable[[], np.ndarray] | None = field(default=None, compare=False)
    configuration: Callable[[], dict[str, Any]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.configuration is None:
            configure = functools.cache(lambda: configuration(self.init))
            object.__setattr__(self, "configuration", configure)
        if self.whole is None and not makes_windows(self.init):
            compute = functools.cache(lambda: _whole(self.init, self.shape, self.dtype))
            object.__setattr__(self, "whole", compute)

    def __str__(self) -> str:
        part = "" if self.rows is None else f" (rows {self.rows[0]:,}:{self.rows[1]:,})"
        seed = getattr(self.init, "seed", None)
        name = type(self.init).__name__ + ("" if seed is None else f" seed {seed}")
        return f"{sizes(self.stored_shape)} {self.dtype.name} {name}{part}"

    @property
    def first_row(self) -> int:
        """The number, in the full table, of the first row stored."""
        return self.rows[0] if self.rows else 0

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of what is stored."""
        if self.rows is None:
            return self.shape
        return (self.rows[1] - self.rows[0], *self.shape[1:])

    @property
    def size(self) -> int:
        """The number of elements stored."""
        return math.prod(self.stored_shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes stored."""
        return self.size * self.dtype.itemsize

    @cached_property
    def kept_size(self) -> int:
        """How many of the elements stored are kept from an older file; they come first."""
        if self.kept is None:
            return 0
        row = math.prod(self.shape[1:])
        return min(max(self.kept.rows - self.first_row, 0) * row, self.size)

    def fill(self, out: Any, begin: int) -> None:
        """Fill a flat array, on a GPU or not, with the elements from number `begin` on.

        Elements are numbered in C order of what is stored.
        """
        old = min(max(self.kept_size - begin, 0), out.size)
        if old and self.kept is not None:
            row = math.prod(self.shape[1:])
            on_host = isinstance(out, np.ndarray)
            values = out[:old] if on_host else np.empty(old, out.dtype)
            self.kept.read(values, self.first_row * row + begin)
            if not on_host:
                out[:old].copy(values)
        if self.placed is None:
            self._generate(out[old:], begin + old)
        else:
            self._place(out, begin)

    def _place(self, out: Any, begin: int) -> None:
        """Fill a flat array with rows that are drawn, then with the older ones among them."""
        if not isinstance(self.placed, Placed):
            raise ArgumentError(
                f"rows of {self.name} were placed by ids; give the older file and the ids"
            )
        width = self.shape[1]
        first, last = begin // width, -(-(begin + out.size) // width)
        whole = isinstance(out, np.ndarray) and out.size == (last - first) * width
        rows = (out if whole else np.empty((last - first) * width, self.dtype)).reshape(-1, width)
        number = self.first_row + first
        if self.placed.by == "key":
            ids = self.placed.new[number : number + len(rows)]
            self.init.keyed(ids, width, self.dtype, fans=(self.shape[0], width), out=rows)
        else:
            self._generate(rows.reshape(-1), first * width)
        self.placed.fill(rows, number)
        if not whole:
            values = rows.reshape(-1)[begin - first * width :][: out.size]
            if isinstance(out, np.ndarray):
                out[...] = values
            else:
                out.copy(values)

    def _generate(self, out: Any, begin: int) -> None:
        done = 0
        for window in windows(self.stored_shape, begin, begin + out.size):
            lengths = [bounds.stop - bounds.start for bounds in window]
            count = math.prod(lengths)
            values = out[done : done + count].reshape(lengths)
            window = self._shifted(window)
            if self.whole is None:
                self.init(self.shape, self.dtype, window=window, out=values)
            elif isinstance(values, np.ndarray):
                values[...] = self.whole()[window]
            else:
                values.copy(self.whole()[window])
            done += count

    def _shifted(self, window: Window) -> Window:
        if not window or not self.first_row:
            return window
        rows, *rest = window
        return (slice(rows.start + self.first_row, rows.stop + self.first_row), *rest)

    @property
    def seed(self) -> int | None:
        """The seed, if there is one."""
        return getattr(self.init, "seed", None)

    def describe(self) -> dict[str, Any]:
        """Return what makes the values, as JSON; `from_description` is the inverse."""
        assert self.configuration is not None
        description: dict[str, Any] = {
            "initializer": self.configuration(),
            "shape": list(self.shape),
            "dtype": self.dtype.name,
        }
        if self.rows is not None:
            description["rows"] = list(self.rows)
        if self.kept is not None:
            description["kept_rows"] = self.kept.rows
        if self.placed is not None:
            placed = self.placed
            description["placed"] = placed.describe() if isinstance(placed, Placed) else placed
        return description

    @classmethod
    def from_description(cls, name: str, description: Any) -> "Table":
        """Return the table that `describe` described.

        Parameters
        ----------
        name : str
        description : dict
            From a file, so that anything may be in it. The key ``kept`` is `Kept.describe`,
            and ``placed_files`` `Placed.files`.

        Raises
        ------
        FormatError, ArgumentError
            If it is no description of a table, or of an array that is not there.
        """
        found = mapping(description, "description")
        shape = naturals(found.get("shape"), "shape")
        dtype = found.get("dtype")
        if not isinstance(dtype, str) or dtype not in NAMES:
            raise FormatError(f"dtype must be one of {', '.join(NAMES)}; given {brief(dtype)}")
        rows = kept = None
        if "rows" in found:
            start, stop = naturals(found["rows"], "rows", 2)
            if not shape or not start <= stop <= shape[0]:
                raise FormatError(f"rows must lie in shape {list(shape)}; given {start}:{stop}")
            rows = start, stop
        if "kept_rows" in found:
            kept = Kept(natural(found["kept_rows"], "kept_rows", shape[0] if shape else 0))
            if "kept" in found:
                kept = Kept.from_description(kept.rows, found["kept"])
        made = table(restored(found.get("initializer")), shape, dtype, name=name, rows=rows)
        return replace(made, kept=kept, placed=placed_of(found, shape))

    def check(self) -> None:
        """Let the initializer refuse the shape or dtype now, before a file is touched."""
        if self.whole is None:  # it is asked for no element at all
            self.init(self.shape, self.dtype, window=tuple(slice(0, 0) for _ in self.shape))
        elif type(self.init).__call__ is initializers.Initializer.__call__:
            if isinstance(self.init, RandomInitializer):  # which a window would compute
                with naming(type(self.init).__name__):
                    self.init.recipe(self.shape)
                    check_floating(self.dtype)
        else:
            self.whole()


def makes_windows(init: initializers.Initializer) -> bool:
    """Return whether an initializer makes a window by itself, into an array that is given.

    A class of the user's own need only take a shape and a dtype.
    """
    if not init.windowed:
        return False
    if type(init).__call__ is initializers.Initializer.__call__:
        return True
    try:
        return makes_parts(type(init).__call__)
    except ValueError:  # of a class not written in Python
        return False


def _whole(init: initializers.Initializer, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    made = np.asarray(init(shape, dtype))
    if made.shape != shape or made.dtype != dtype:
        raise ArgumentError(
            f"must return {sizes(shape)} {dtype.name}, as it is asked for; "
            f"returned {sizes(made.shape)} {made.dtype.name}"
        ).named(type(init).__name__)
    return made


def sizes(shape: tuple[int, ...]) -> str:
    """Return a shape in words."""
    return " × ".join(f"{size:,}" for size in shape) or "scalar"


def table(
    init: Any,
    shape: Any,
    dtype: Any = None,
    *,
    name: str = "weight",
    rows: tuple[int, int] | slice | None = None,
) -> Table:
    """Return a checked table; `write` says what the arguments are."""
    init, shape = _seeded(initializers.get(init)), check_shape(shape)
    dtype = as_dtype(dtype)
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"name must be a string that is not empty; given {brief(name)}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"name must be valid Unicode; given {brief(name)}") from None
    if rows is not None:
        rows = _check_rows(rows, shape)
    result = Table(name, init, shape, dtype, rows)
    if result.nbytes >= MAX_BYTES:
        raise ArgumentError(
            f"shape must be below 2**63 bytes; given {brief(result.stored_shape)} of {dtype.name}"
        )
    try:
        result.check()
    except NotImplementedError as error:  # of a class that makes no values
        raise ArgumentTypeError(str(error)) from None
    return result


def check_floating(dtype: np.dtype) -> None:
    """Refuse a dtype that random values are not made in."""
    if dtype not in FLOATING_DTYPES:
        raise ArgumentError(f"dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")


def _check_rows(rows: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    if not shape:
        raise ArgumentError("rows need a table with rows; given shape ()")
    try:
        if isinstance(rows, slice):
            start = 0 if rows.start is None else as_index(rows.start)
            stop = shape[0] if rows.stop is None else as_index(rows.stop)
            step = 1 if rows.step is None else as_index(rows.step)
        else:
            (start, stop), step = map(as_index, rows), 1
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"rows must be (start, stop); given {brief(rows)}") from None
    if step != 1 or not 0 <= start <= stop <= shape[0]:
        given = f"{start}:{stop}" + (f":{step}" if step != 1 else "")
        raise ArgumentError(
            f"rows must be start:stop with 0 <= start <= stop <= {shape[0]}; given {given}"
        )
    return start, stop


def _seeded(init: Any) -> initializers.Initializer:
    """Return an initializer whose config has an integer seed, where it has a seed."""
    if not isinstance(init, initializers.Initializer):
        raise ArgumentTypeError(
            f"init must be an initializer of Seedbed, or of a subclass; given {brief(init)}"
        )
    seed = getattr(init, "seed", 0)
    if not isinstance(seed, int):
        raise ArgumentError(
            f"a table on disk needs an initializer with an integer seed; given {brief(seed)}"
        )
    if isinstance(init, RandomInitializer) and not init.seeded:  # its seed was drawn at random
        return init.with_seed(seed)
    return init
