"""Formats of tables on disk, one module each. A further one is one more module, named here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import ArgumentError, FormatError, brief
from ...storage.places import (
    Place,
    exists,
    inside,
    is_folder,
    is_unfinished,
)
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

    def tensors(self, path: Place) -> list[Tensor]:
        """Return what a file or folder of the format holds; FormatError if it is none."""
        ...


FORMATS: tuple[Format, ...] = (npy, safetensors, shards, zarr)
BY_NAME = {one.NAME: one for one in FORMATS}
BY_SUFFIX = {one.SUFFIX: one for one in FORMATS if one.SUFFIX}


def chosen(path: Path, shards_asked: int | None, given: str) -> Format:
    """Return the format in which an output of that name, given as errors tell it, is written."""
    found = BY_SUFFIX.get(path.suffix)
    if shards_asked is not None:
        if found is zarr:
            raise ArgumentError(
                f"a .zarr is cut by shard_rows, not by shards; given {shards_asked}"
            )
        if found is not None:
            raise ArgumentError(f"path of shards is a folder; given {brief(given)}")
        return shards
    if found is None:
        raise ArgumentError(
            f"path must end in {' or '.join(BY_SUFFIX)}, or with --shards N be a folder; "
            f"given {brief(given)}"
        )
    return found


def is_array(path: Place) -> bool:
    """Return whether a place is that of a Zarr array, complete or not, rather than of shards."""
    return is_folder(path) and (path.suffix == zarr.SUFFIX or zarr.METADATA in inside(path))


def tensors(place: Place) -> list[Tensor]:
    """Return the tensors of a file, or of a folder of shards in the order of their files.

    Raises
    ------
    FormatError
        If it is neither.
    """
    if is_folder(place):
        return zarr.tensors(place) if is_array(place) else shards.tensors(place)
    if not exists(place):
        if is_unfinished(place):
            raise FormatError(f"{place}: is unfinished; see seedbed info {place}")
        what = "file" if isinstance(place, Path) else "object, nor a folder of objects"
        raise FormatError(f"{place}: there is no such {what}")
    if place.suffix not in BY_SUFFIX or BY_SUFFIX[place.suffix] is zarr:
        raise FormatError(f"{place}: must end in {npy.SUFFIX} or {safetensors.SUFFIX}")
    return BY_SUFFIX[place.suffix].tensors(place)


def whole(place: Place) -> list[Tensor]:
    """Return the tensors of a file or folder, which must lack nothing that it tells of itself."""
    found = tensors(place)
    if wrong := problem(place, found):
        raise FormatError(wrong)
    return found


def problem(place: Place, found: Sequence[Tensor]) -> str:
    """Return what a folder lacks, or has too much, by what it tells itself; or nothing."""
    return "" if not is_folder(place) or is_array(place) else shards.problem(place, found)
