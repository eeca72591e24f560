"""Shards: a folder of `.safetensors` files with consecutive rows, which PyTorch loads as one.

Names are those of ``torch.distributed.checkpoint.HuggingFaceStorageWriter``.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import ArgumentError, FormatError
from ..layout import Chunks, File, Tensor
from ..table import Table
from . import safetensors

NAME: str = "shards"
SUFFIX: str = ""
FILE = "shard-{:05d}-model-00001-of-00001.safetensors"
MOST = 99_999  # whose names have five digits


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


def tensors(path: Path) -> list[Tensor]:
    """Return the tensors of all files, in their order."""
    files = sorted(path.glob("*" + safetensors.SUFFIX))
    if not files:
        raise FormatError(f"{path}: holds no {safetensors.SUFFIX} files")
    return [tensor for file in files for tensor in safetensors.tensors(file)]
