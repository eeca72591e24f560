"""Formats of tables on disk, one module each. A further one is one more module, named here."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import ArgumentError, FormatError, brief
from ...storage.foreign import local_path
from ..layout import Chunks, File, Tensor
from ..table import Table
from . import npy, safetensors, shards, zarr


class Format(Protocol):
    """What a module of a format has."""

    NAME: str
    """In states."""

    SUFFIX: str
    """That files of it end in; empty for a folder of any name."""

    def arrange(
        self, tables: Sequence[Table], shards: int | None, chunks: Chunks | None
    ) -> tuple[File, ...]:
        """Return the files of an output, in the order in which they are written.

        Raises ArgumentError if the format cannot hold the tables.
        """
        ...

    def last(self, tables: Sequence[Table], chunks: Chunks | None) -> Mapping[str, bytes]:
        """Return the small files, by name, that are written once all others are complete."""
        ...

    def tensors(self, path: Path) -> list[Tensor]:
        """Return what a file or folder of the format holds; FormatError if it is none."""
        ...


FORMATS: tuple[Format, ...] = (npy, safetensors, shards, zarr)
BY_NAME = {one.NAME: one for one in FORMATS}
BY_SUFFIX = {one.SUFFIX: one for one in FORMATS if one.SUFFIX}


def chosen(path: Path, shards_asked: int | None) -> Format:
    """Return the format in which an output of that name is written."""
    found = BY_SUFFIX.get(path.suffix)
    if shards_asked is not None:
        if found is zarr:
            raise ArgumentError(
                f"a .zarr is cut by shard_rows, not by shards; given {shards_asked}"
            )
        if found is not None:
            raise ArgumentError(f"path of shards is a folder; given {brief(str(path))}")
        return shards
    if found is None:
        raise ArgumentError(
            f"path must end in {' or '.join(BY_SUFFIX)}, or with --shards N be a folder; "
            f"given {brief(str(path))}"
        )
    return found


def is_array(path: Path) -> bool:
    """Return whether a path is that of a Zarr array, complete or not, rather than of shards."""
    return path.is_dir() and (path.suffix == zarr.SUFFIX or os.path.lexists(path / zarr.METADATA))


def tensors(path: str | os.PathLike[str]) -> list[Tensor]:
    """Return the tensors of a file, or of a folder of shards in the order of their files.

    Raises
    ------
    FormatError
        If it is neither.
    """
    path = local_path(path)
    if os.path.isdir(path):
        return zarr.tensors(path) if is_array(path) else shards.tensors(path)
    if not os.path.lexists(path):
        if os.path.lexists(path.with_name(path.name + ".part")):
            raise FormatError(f"{path}: is unfinished; see seedbed info {path}")
        raise FormatError(f"{path}: there is no such file")
    if path.suffix not in BY_SUFFIX or BY_SUFFIX[path.suffix] is zarr:
        raise FormatError(f"{path}: must end in {npy.SUFFIX} or {safetensors.SUFFIX}")
    return BY_SUFFIX[path.suffix].tensors(path)
