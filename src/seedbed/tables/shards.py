"""Shards: consecutive rows of tables, a file each, that PyTorch loads as one checkpoint.

Names are those of ``torch.distributed.checkpoint.HuggingFaceStorageWriter``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .table import Table

NAME = "shard-{:05d}-model-00001-of-00001.safetensors"


def cut(tables: Sequence[Table], shards: int) -> Iterator[tuple[str, tuple[Table, ...]]]:
    """Yield name and tables of every shard."""
    for number in range(1, shards + 1):
        yield NAME.format(number), tuple(_rows(table, number, shards) for table in tables)


def _rows(table: Table, number: int, shards: int) -> Table:
    first, count = table.first_row, table.stored_shape[0]
    start, stop = (first + -(-count * i // shards) for i in (number - 1, number))
    return replace(table, rows=(start, stop))
