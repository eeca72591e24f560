"""Shards: a folder of `.safetensors` files with consecutive rows, which PyTorch loads as one.

Names are those of ``torch.distributed.checkpoint.HuggingFaceStorageWriter``.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import replace

from seedbed_kernels import STREAM_VERSION

from ... import __version__
from ...errors import ArgumentError, FormatError, brief
from ...storage.foreign import mapping, parse_json, understanding
from ...storage.places import Place, Remote, ahead, inside, is_unfinished, read_small, size_of
from ..layout import Chunks, File, Tensor
from ..table import Table
from . import safetensors

NAME: str = "shards"
SUFFIX: str = ""
FILE = "shard-{:05d}-model-00001-of-00001.safetensors"
MOST = 99_999  # whose names have five digits
INDEX = "seedbed.index.json"  # in a store
MAX_INDEX = 100_000_000  # bytes


def arrange(tables: Sequence[Table], shards: int | None, chunks: Chunks | None) -> tuple[File, ...]:
    """Return the files of an output."""
    assert shards is not None
    if shards > MOST:
        raise ArgumentError(f"shards must be at most {MOST:,}; given {shards}")
    for one in tables:
        if one.rows is not None or not one.shape:
            raise ArgumentError("shards hold whole tables: no rows, no rank 0")
        if not 1 <= shards <= max(one.shape[0], 1):
            raise ArgumentError(f"shards must be from 1 to the {one.shape[0]} rows; given {shards}")
    tables = safetensors.in_order(tables)
    files = []
    for number in range(1, shards + 1):
        cut = tuple(_rows(table, number, shards) for table in tables)
        header = functools.partial(safetensors.header, cut, shard=True)
        files.append(File(FILE.format(number), cut, header))
    return tuple(files)


last = safetensors.last


def _rows(table: Table, number: int, shards: int) -> Table:
    start, stop = (-(-table.shape[0] * i // shards) for i in (number - 1, number))
    return replace(table, rows=(start, stop))


def index(tables: Sequence[Table], files: Sequence[File]) -> bytes:
    """Return what tells of the objects of a store that they are complete."""
    told = {
        "seedbed_version": __version__,
        "stream_version": STREAM_VERSION,
        "tables": {table.name: table.describe() for table in tables},
        "files": {file.name: file.size for file in files},
    }
    return (json.dumps(told, indent=1) + "\n").encode()


def tensors(path: Place) -> list[Tensor]:
    """Return the tensors of all files, in their order."""
    files = _files(path)
    if isinstance(path, Remote) and INDEX not in path.inside and is_unfinished(path):
        raise FormatError(f"{path}: is unfinished; see seedbed info {path}")
    if not files:
        raise FormatError(f"{path}: holds no {safetensors.SUFFIX} files")
    with ahead(list(files.values())):
        return [tensor for file in files.values() for tensor in safetensors.tensors(file)]


def _files(path: Place) -> dict[str, Place]:
    return {name: one for name, one in inside(path).items() if name.endswith(safetensors.SUFFIX)}


def problem(path: Place, found: Sequence[Tensor]) -> str:
    """Return what is there otherwise than an index tells, if there is one; or nothing."""
    if INDEX not in inside(path):
        return ""
    with understanding(path / INDEX, "damaged"):
        index = mapping(parse_json(read_small(path / INDEX, MAX_INDEX)), "index")
        told, files = mapping(index.get("files"), "files"), _files(path)
        tables = mapping(index.get("tables"), "tables")
    for name in sorted(told.keys() | files.keys()):
        if name not in files:
            return f"{path / name}: is missing"
        if name not in told:
            return f"{path / name}: is no file of the table"
        if size_of(files[name]) != told[name]:
            return f"{path / name}: must have {brief(told[name])} bytes"
    for tensor in found:
        here = {**(tensor.description or {})}
        here.pop("rows", None)
        if here != tables.get(tensor.name):
            return f"{tensor.file}: {tensor.name} is of another table than {path / INDEX} tells"
    return ""
