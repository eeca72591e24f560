"""One table: its name, what is in it, and any run of its elements."""

import functools
import inspect
import math
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import initializers
from ..initializers.initializer import RandomInitializer
from ..storage.direct import read_all
from ..values.dtypes import FLOATING, FLOATING_DTYPES, as_dtype
from ..values.recipes import Window
from ..values.request import check_shape
from ..values.window import windows


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

    @functools.cached_property
    def _fd(self) -> int:
        """The older file, opened once: its name may come to mean another."""
        if self.path is None:
            raise ValueError("kept rows are in the older file, which is not known here")
        fd = os.open(self.path, os.O_RDONLY)
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
    whole : callable, optional
        Returns the full table; made here for an initializer that cannot compute a part by itself.
    """

    name: str
    init: initializers.Initializer
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: tuple[int, int] | None = None
    kept: Kept | None = None
    whole: Callable[[], np.ndarray] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.whole is None and not self.init.windowed:
            compute = functools.cache(lambda: self.init(self.shape, self.dtype))
            object.__setattr__(self, "whole", compute)

    def __str__(self) -> str:
        part = "" if self.rows is None else f" (rows {self.rows[0]:,}:{self.rows[1]:,})"
        seed = self.init.get_config().get("seed")
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

    @functools.cached_property
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
        self._generate(out[old:], begin + old)

    def _generate(self, out: Any, begin: int) -> None:
        done = 0
        for window in windows(self.stored_shape, begin, begin + out.size):
            lengths = [part.stop - part.start for part in window]
            count = math.prod(lengths)
            part = out[done : done + count].reshape(lengths)
            window = self._shifted(window)
            if self.whole is None:
                self.init(self.shape, self.dtype, window=window, out=part)
            else:
                part[...] = self.whole()[window]
            done += count

    def _shifted(self, window: Window) -> Window:
        if not window or not self.first_row:
            return window
        rows, *rest = window
        return (slice(rows.start + self.first_row, rows.stop + self.first_row), *rest)

    def check(self) -> None:
        """Let the initializer refuse the shape or dtype now: it is asked for no element at all."""
        if self.whole is not None:  # which a window would compute: these draw, so floats
            if isinstance(self.init, RandomInitializer):
                self.init.recipe(self.shape)
                check_floating(self.dtype, type(self.init).__name__)
        else:
            self.init(self.shape, self.dtype, window=tuple(slice(0, 0) for _ in self.shape))

    def describe(self) -> dict[str, Any]:
        """Return what makes the values, as JSON; `from_description` is the inverse."""
        description = {
            "initializer": initializers.serialize(self.init),
            "shape": list(self.shape),
            "dtype": self.dtype.name,
        }
        if self.rows is not None:
            description["rows"] = list(self.rows)
        if self.kept is not None:
            description["kept_rows"] = self.kept.rows
        return description

    @classmethod
    def from_description(cls, name: str, description: dict[str, Any]) -> "Table":
        """Return the table that `describe` described; ``kept`` tells where kept rows come from."""
        rows, kept = description.get("rows"), None
        if "kept" in description:
            source = description["kept"]
            kept = Kept(source["rows"], Path(source["path"]), source["offset"])
        elif "kept_rows" in description:
            kept = Kept(description["kept_rows"])
        return cls(
            name,
            initializers.get(description["initializer"]),
            tuple(description["shape"]),
            as_dtype(description["dtype"]),
            None if rows is None else (rows[0], rows[1]),
            kept,
        )


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
    owner: str = "tables.write",
) -> Table:
    """Return a checked table; `write` says what the arguments are."""
    init = _seeded(initializers.get(init), owner)
    shape = check_shape(shape, owner)
    dtype = as_dtype(dtype, owner)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{owner}: name must be a string that is not empty; given {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{owner}: name must be valid Unicode; given {name!r}") from None
    if rows is not None:
        rows = _check_rows(rows, shape, owner)
    result = Table(name, init, shape, dtype, rows)
    try:
        result.check()
    except NotImplementedError as error:  # of a class that makes no values
        raise TypeError(f"{owner}: {error}") from None
    return result


def initializer(
    name: Any,
    arguments: dict[str, Any],
    seed: int | None,
    owner: str,
    default_seed: int | None = None,
) -> Any:
    """Return an initializer from its name, its arguments and its seed, each checked.

    Parameters
    ----------
    name : str
        As `seedbed.initializers.get` takes.
    arguments : dict
        By name, all but the seed.
    seed : int, optional
        Only for an initializer that takes one.
    owner : str
        Whom errors name.
    default_seed : int, optional
        For an initializer that takes a seed but is given none; a random one by default.
    """
    if not isinstance(name, str):
        raise TypeError(f"{owner}: initializer must be a name; given {name!r}")
    if "seed" in inspect.signature(type(initializers.get(name))).parameters:
        arguments = {**arguments, "seed": default_seed if seed is None else seed}
    elif seed is not None:
        raise ValueError(f"{owner}: {name} takes no seed; given {seed}")
    return initializers.get({"class_name": name, "config": arguments})


def check_floating(dtype: np.dtype, owner: str) -> None:
    """Refuse a dtype that random values are not made in."""
    if dtype not in FLOATING_DTYPES:
        raise ValueError(f"{owner}: dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")


def _check_rows(
    rows: tuple[int, int] | slice, shape: tuple[int, ...], owner: str
) -> tuple[int, int]:
    if not shape:
        raise ValueError(f"{owner}: rows need a table with rows; given shape ()")
    if isinstance(rows, slice):
        start = 0 if rows.start is None else rows.start
        stop = shape[0] if rows.stop is None else rows.stop
        step = rows.step
    else:
        (start, stop), step = rows, None
    if step not in (None, 1) or not 0 <= start <= stop <= shape[0]:
        raise ValueError(
            f"{owner}: rows must be start:stop with 0 <= start <= stop <= {shape[0]}; "
            f"given {start}:{stop}" + (f":{step}" if step not in (None, 1) else "")
        )
    return int(start), int(stop)


def _seeded(init: Any, owner: str) -> initializers.Initializer:
    """Return an initializer whose config has an integer seed, where it has a seed."""
    if not isinstance(init, initializers.Initializer):
        raise TypeError(f"{owner}: init must be an initializer; given {init!r}")
    config = init.get_config()
    if "seed" not in config or isinstance(config["seed"], int):
        return init
    seed = getattr(init, "seed", None)
    if config["seed"] is None and isinstance(seed, int):
        return type(init).from_config({**config, "seed": seed})
    raise ValueError(
        f"{owner}: a table on disk needs an initializer with an integer seed; "
        f"given {config['seed']!r}"
    )
