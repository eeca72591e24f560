"""What is written: a file or a folder of files, its tables, and the parts that it is written in.

Parts are for processes that write side by side. They leave no trace in what is written.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seedbed_kernels import STREAM_VERSION

from .. import __version__
from ..errors import ArgumentError, FormatError, as_integer, brief
from ..locks import cached_property
from ..storage.atomic import Folder, resolved
from ..storage.foreign import local_path, mapping, natural, naturals
from ..storage.objects import url_of
from ..values.digest import stream_hash
from . import formats
from .formats import shards, zarr
from .layout import Chunks, Extent, File, page_start
from .placing import Placed
from .table import Table

SINGLE = (".npy", ".safetensors")  # formats of one file
MAX_OPEN = 512  # files that a process opens at once
MAX_PARTS = 99_999
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
class Output:
    """A file to be written, or a folder of shards.

    Parameters
    ----------
    path : Path
        Its final name, as it was given.
    tables : tuple of Table
        What is in it.
    format : Format
        How.
    shards : int, optional
        How many files it is cut into; None for a single file.
    chunks : Chunks, optional
        Of a Zarr array.
    url : str, optional
        Of a folder of objects in a store, in place of `path`.
    """

    path: Path
    tables: tuple[Table, ...]
    format: formats.Format
    shards: int | None = None
    chunks: Chunks | None = None
    url: str | None = None

    @cached_property
    def target(self) -> Path:
        """Its final name, or the name that this is a symbolic link to."""
        return resolved(self.path)

    @property
    def partial(self) -> Path:
        """Where it is while it is not complete."""
        return self.target.with_name(self.target.name + ".part")

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files it consists of."""
        return self.format.arrange(self.tables, self.shards, self.chunks)

    @cached_property
    def last_files(self) -> Mapping[str, bytes]:
        """Further small files of a folder, written once all others are complete."""
        return self.format.last(self.tables, self.chunks)

    @property
    def names(self) -> set[str]:
        """The names of all files in a folder."""
        return {*(file.name for file in self.files), *self.last_files}

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return sum(table.nbytes for table in self.tables)

    @property
    def unit(self) -> str:
        """What its files are called."""
        return "shards" if self.chunks is None else "files"

    def extents(self, part: Part) -> list[Extent]:
        """Return what a part writes: its share of every table, or whole shards."""
        if self.shards is not None:  # parts take whole shards
            begin, end = part.share(len(self.files))
            files, part = self.files[begin:end], Part()
        else:
            files = self.files
        found = []
        for whole in (extent for file in files for extent in file.extents()):
            begin, end = part.share(whole.end)
            found.append(whole.cut(page_start(whole, begin), page_start(whole, end)))
        return found

    def open_folder(self) -> Folder:
        """Open the folder that it is in."""
        return Folder(self.target.parent)

    def describe(self) -> dict[str, Any]:
        """Return all that its bytes depend on, as JSON."""
        tables = {}
        for table in self.tables:
            tables[table.name] = table.describe()
            if table.kept is not None:
                tables[table.name]["kept"] = table.kept.describe()
            if isinstance(table.placed, Placed):
                tables[table.name]["placed_files"] = table.placed.files()
        description = {
            "seedbed": __version__,
            "stream_version": STREAM_VERSION,
            "stream_hash": stream_hash(),
            "format": self.format.NAME,
            "shards": self.shards,
            "tables": tables,
        }
        if self.chunks is not None:
            description["chunks"] = self.chunks
        return json.loads(json.dumps(description))  # as it comes back from a file

    @classmethod
    def from_description(cls, path: Path, description: Any) -> "Output":
        """Return the output that `describe` described; anything may be in what comes from a file.

        Raises
        ------
        FormatError, ArgumentError
            If it is no such description.
        """
        found = mapping(description, "output")
        kind = formats.BY_NAME.get(found.get("format", ""))
        if kind is None:
            raise FormatError(f"format {brief(found.get('format'))} is unknown")
        count = found.get("shards")
        if count is not None:
            count = natural(count, "shards", shards.MOST)
        tables = []
        for name, table in mapping(found.get("tables"), "tables").items():
            tables.append(Table.from_description(name, table))
        chunks = None
        if kind is zarr:
            if len(tables) != 1:
                raise FormatError("a .zarr holds one table")
            rows, shard = naturals(found.get("chunks"), "chunks", 2)
            chunks = zarr.chosen_chunks(tables[0], rows, shard)
            count = zarr.count(tables[0], chunks)
        return cls(path, tuple(tables), kind, count, chunks)

    def __str__(self) -> str:
        tables = [str(table) for table in self.tables]
        if len(tables) > 3:
            tables = [f"{len(tables)} tables"]
        shards = f" in {self.shards} {self.unit}" if self.shards else ""
        return f"{self.url or self.path}: {', '.join(tables)}{shards}"


def output_at(
    path: str | os.PathLike[str],
    tables: Sequence[Table],
    shards: Any,
    chunk_rows: Any = None,
    shard_rows: Any = None,
) -> Output:
    """Return a checked output."""
    url = url_of(path)
    path = local_path(path) if url is None else Path(url.rpartition("/")[2])
    if shards is not None:
        shards = as_integer(shards, "shards")
    kind = formats.chosen(path, shards, url or str(path))
    if url is not None and kind.NAME in SINGLE:
        raise ArgumentError(
            f"{url}: a store takes a .zarr, or shards (--shards N), as its objects appear whole: "
            f"a job goes on after the last whole one; write {kind.NAME} here and copy it"
        )
    if len(os.fsencode(path.name)) > MAX_NAME:
        raise ArgumentError(f"path must have a name of at most {MAX_NAME} bytes")
    chunks = None
    if kind is zarr:
        if len(tables) != 1:
            names = ", ".join(table.name for table in tables)
            raise ArgumentError(f"a .zarr holds one table; given {names}")
        chunks = zarr.chosen_chunks(tables[0], chunk_rows, shard_rows)
        shards = zarr.count(tables[0], chunks)
    elif chunk_rows is not None or shard_rows is not None:
        raise ArgumentError(f"chunk_rows and shard_rows are for .zarr; given {str(path)!r}")
    result = Output(path, tuple(tables), kind, shards, chunks, url)
    _ = result.files[0].header  # the format may refuse the tables
    return result


def check_part(part: tuple[int, int] | None, output: Output) -> Part:
    """Return a part that can be written by itself."""
    number, of = part or Part()
    limit = output.shards or MAX_PARTS
    if not 1 <= number <= of <= limit:
        files = f" {output.unit}" if output.shards else ""
        raise ArgumentError(
            f"part must be k/n with 1 <= k <= n <= {limit}{files}; "
            f"given {brief(number)}/{brief(of)}"
        )
    if output.shards and output.shards / of > MAX_OPEN and output.url is None:
        raise ArgumentError(
            f"a part takes at most {MAX_OPEN} {output.unit}; {output.shards} need more parts"
        )
    for one in output.tables:
        if of > 1 and one.whole is not None:
            raise ArgumentError(f"{type(one.init).__name__} is computed as a whole: no parts")
    return Part(number, of)
