"""What is written: files, their tables, and which bytes hold which elements.

An output is a file, or a folder of shards: files with consecutive rows of every table. Work on it
is cut into parts, for processes that write side by side, and a part into chunks. Neither leaves a
trace in what is written.
"""

import functools
import json
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..locks import cached_property
from ..storage import direct
from ..storage.direct import PAGE
from . import npy, safetensors, shards
from .origin import STREAM_VERSION, stream_hash, version
from .table import Table

FORMATS = {npy.SUFFIX: npy, safetensors.SUFFIX: safetensors}
MAX_OPEN = 512  # files that a process opens at once
MAX_PARTS = 99_999  # or shards, whose names have five digits
MAX_NAME = 200  # bytes; what is beside an unfinished file has a longer name, up to 255


class Part(NamedTuple):
    """Part `number`, from 1, of `of`."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def share(self, size: int) -> tuple[int, int]:
        """Return the part's begin and end of a range that all parts divide."""
        return size * (self.number - 1) // self.of, size * self.number // self.of


@dataclass(frozen=True)
class File:
    """A file: a header, then tables one after the other.

    Parameters
    ----------
    name : str
        In the folder of shards; empty where the output is one file.
    tables : tuple of Table
        In order.
    make_header : callable
        Returns the header: a process needs that of few of many shards.
    """

    name: str
    tables: tuple[Table, ...]
    make_header: Callable[[], bytes]

    @cached_property
    def header(self) -> bytes:
        """All before the data of the first table."""
        return self.make_header()

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.header) + sum(table.nbytes for table in self.tables)

    def runs(self) -> Iterator["Run"]:
        """Yield every table as a run."""
        offset = len(self.header)
        for table in self.tables:
            yield Run(self, table, offset, 0, table.size)
            offset += table.nbytes


class Run(NamedTuple):
    """Consecutive elements of a table, `begin` to `end`, in a file from byte `offset`."""

    file: File
    table: Table
    offset: int
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return (self.end - self.begin) * self.table.dtype.itemsize

    def cut(self, begin: int, end: int) -> "Run":
        """Return the run from its element `begin` to its element `end`."""
        offset = self.offset + begin * self.table.dtype.itemsize
        return Run(self.file, self.table, offset, self.begin + begin, self.begin + end)

    @property
    def place(self) -> slice:
        """Where in a `direct.room` its bytes go."""
        return direct.place(self.offset, self.nbytes)

    def read(self, fd: int, room: np.ndarray) -> np.ndarray:
        """Return the elements that a file holds, in a `direct.room`."""
        data = room[self.place]
        direct.read_all(fd, data, self.offset)
        return data.view(self.table.dtype)

    def generate(self, room: np.ndarray) -> np.ndarray:
        """Return the elements that the file should hold, in a `direct.room`."""
        values = room[self.place].view(self.table.dtype)
        self.table.fill(values, self.begin)
        return values

    def is_right(self, fd: int) -> bool:
        """Return whether a file holds, bit for bit, the elements that it should."""
        there, right = direct.room(self.nbytes), direct.room(self.nbytes)
        return same_bits(self.read(fd, there), self.generate(right))


@dataclass(frozen=True)
class Output:
    """A file to be written, or a folder of shards.

    Parameters
    ----------
    path : Path
        Its final name.
    tables : tuple of Table
        What is in it.
    shards : int, optional
        How many shards it is cut into; None for a single file.
    """

    path: Path
    tables: tuple[Table, ...]
    shards: int | None = None

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files it consists of."""
        kind = FORMATS[safetensors.SUFFIX if self.shards else self.path.suffix]
        tables = kind.arrange(self.tables)
        if self.shards is None:
            return (File("", tables, functools.partial(kind.header, tables)),)
        return tuple(
            File(name, shard, functools.partial(safetensors.header, shard, shard=True))
            for name, shard in shards.cut(tables, self.shards)
        )

    def describe(self) -> dict[str, Any]:
        """Return all that its bytes depend on, as JSON."""
        tables = {}
        for table in self.tables:
            tables[table.name] = table.describe()
            if table.kept is not None:
                tables[table.name]["kept"] = table.kept.describe()
        description = {
            "seedbed": version(),
            "stream_version": STREAM_VERSION,
            "stream_hash": stream_hash(),
            "format": safetensors.SUFFIX if self.shards else self.path.suffix,
            "shards": self.shards,
            "tables": tables,
        }
        return json.loads(json.dumps(description))  # as it comes back from a file

    @classmethod
    def from_description(cls, path: Path, description: dict[str, Any]) -> "Output":
        """Return the output that `describe` described."""
        tables = []
        for name, table in description["tables"].items():
            tables.append(Table.from_description(name, table))
        return cls(path, tuple(tables), description["shards"])

    def __str__(self) -> str:
        tables = [str(table) for table in self.tables]
        if len(tables) > 3:
            tables = [f"{len(tables)} tables"]
        shards = f" in {self.shards} shards" if self.shards else ""
        return f"{self.path}: {', '.join(tables)}{shards}"

    @property
    def partial(self) -> Path:
        """Where it is while it is not complete."""
        return self.path.with_name(self.path.name + ".part")

    def runs(self, part: Part) -> list[Run]:
        """Return what a part writes: its share of every table, or whole shards."""
        if self.shards:  # parts take whole shards
            begin, end = part.share(len(self.files))
            files, part = self.files[begin:end], Part()
        else:
            files = self.files
        runs = []
        for whole in (run for file in files for run in file.runs()):
            begin, end = part.share(whole.end)
            runs.append(whole.cut(_page_start(whole, begin), _page_start(whole, end)))
        return runs


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether flat arrays of the same dtype and size are equal, bit for bit."""
    a, b = a.view(np.uint8), b.view(np.uint8)
    words = a.size // 8 * 8  # compared eight at a time, which is several times as fast
    return np.array_equal(a[:words].view(np.uint64), b[:words].view(np.uint64)) and np.array_equal(
        a[words:], b[words:]
    )


def _page_start(run: Run, element: int) -> int:
    """Return the element where the page of an element begins: parts do not share pages."""
    if element == run.end:
        return element
    itemsize = run.table.dtype.itemsize
    byte = (run.offset + element * itemsize) // PAGE * PAGE
    return max(byte - run.offset, 0) // itemsize


def last_chunks(runs: Sequence[Run], done: int, nbytes: int) -> Iterator[Run]:
    """Yield the first `done` bytes of runs, from the end, in pieces of at most `nbytes`."""
    end = sum(run.nbytes for run in runs)
    for run in reversed(runs):
        end -= run.nbytes
        itemsize = run.table.dtype.itemsize
        stop = min((done - end) // itemsize, run.end - run.begin)
        while stop > 0:
            start = max(stop - max(nbytes // itemsize, 1), 0)
            yield run.cut(start, stop)
            stop = start


def chunks(runs: Sequence[Run], done: int, nbytes: int) -> Iterator[Run]:
    """Yield runs cut into pieces of at most `nbytes`, without the first `done` bytes."""
    for run in runs:
        if done >= run.nbytes:
            done -= run.nbytes
            continue
        itemsize = run.table.dtype.itemsize
        step = max(nbytes // itemsize, 1)
        for begin in range(done // itemsize, run.end - run.begin, step):
            yield run.cut(begin, min(begin + step, run.end - run.begin))
        done = 0


def output_at(path: str | os.PathLike[str], tables: Sequence[Table], shards: int | None) -> Output:
    """Return a checked output."""
    path = Path(path)
    if shards is None and path.suffix not in FORMATS:
        raise ValueError(
            f"tables.write: path must end in {' or '.join(FORMATS)}, "
            f"or with --shards N be a folder; given {str(path)!r}"
        )
    if len(os.fsencode(path.name)) > MAX_NAME:
        raise ValueError(f"tables.write: path must have a name of at most {MAX_NAME} bytes")
    if shards is not None:
        if operator.index(shards) > MAX_PARTS:
            raise ValueError(f"tables.write: shards must be at most {MAX_PARTS:,}; given {shards}")
        if path.suffix in FORMATS:
            raise ValueError(f"tables.write: path of shards is a folder; given {str(path)!r}")
        for one in tables:
            if one.rows is not None or not one.shape:
                raise ValueError("tables.write: shards hold whole tables: no rows, no rank 0")
            if not 1 <= operator.index(shards) <= max(one.shape[0], 1):
                raise ValueError(
                    f"tables.write: shards must be from 1 to the {one.shape[0]} rows; "
                    f"given {shards}"
                )
    result = Output(path, tuple(tables), shards)
    _ = result.files[0].header  # the format may refuse the tables
    return result


def check_part(part: tuple[int, int] | None, output: Output) -> Part:
    """Return a part that can be written by itself."""
    number, of = map(operator.index, part or (1, 1))
    limit = output.shards or MAX_PARTS
    if not 1 <= number <= of <= limit:
        raise ValueError(
            "tables.write: part must be k/n with 1 <= k <= n"
            f" <= {limit}{' shards' if output.shards else ''}; given {number}/{of}"
        )
    if output.shards and output.shards / of > MAX_OPEN:
        raise ValueError(
            f"tables.write: a part takes at most {MAX_OPEN} shards; {output.shards} need more parts"
        )
    for one in output.tables:
        if of > 1 and one.whole is not None:
            raise ValueError(
                f"tables.write: {type(one.init).__name__} is computed as a whole: no parts"
            )
    return Part(number, of)
