"""Growing: a taller table that keeps the rows of an older file, trained ones too."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ArgumentError
from ..storage.foreign import local_path
from .formats import tensors
from .layout import Tensor
from .table import Kept, Table, table


def grown(
    old: str | os.PathLike[str],
    shape: Sequence[int],
    init: Any = None,
    dtype: Any = None,
    *,
    name: str | None = None,
) -> Table:
    """Return a table whose first rows are those of an older file.

    Parameters
    ----------
    old : path
        ``.npy`` or ``.safetensors``; not a folder of shards.
    shape : sequence of int
        Of the new table: as the old one, with at least as many rows.
    init, dtype : optional
        As the old file by default, where its metadata say how it was made.
    name : str, optional
        Which tensor of the file, if there are several.

    Raises
    ------
    FormatError, ArgumentError, ArgumentTypeError
        If the old file is none, or its tensor does not fit into the new table.
    """
    old = local_path(old, "grow")
    if os.path.isdir(old):
        raise ArgumentError(f"{old} is a folder of shards; only one file can grow")
    tensor = chosen(tensors(old), name, old)
    if init is None:
        before = tensor.table()
        if before is None:
            raise ArgumentError(f"{old} does not say how it was made; give the initializer")
        init = before.init
    made = table(init, shape, dtype or tensor.dtype, name=name or tensor.name or "weight")
    if not tensor.shape or made.shape[1:] != tensor.shape[1:] or made.shape[0] < tensor.shape[0]:
        raise ArgumentError(
            f"shape must be that of {old}, {tensor.shape}, or have more rows; given {made.shape}"
        )
    if made.dtype != tensor.dtype:
        raise ArgumentError(
            f"dtype must be that of {old}, {tensor.dtype.name}; given {made.dtype.name}"
        )
    return replace(made, kept=Kept(tensor.shape[0], tensor.file, tensor.offset))


def chosen(found: Sequence[Tensor], name: str | None, path: os.PathLike[str]) -> Tensor:
    """Return the one tensor of a file that has a name, or the only one."""
    named = [tensor for tensor in found if name in (None, tensor.name) or not tensor.name]
    if len(named) != 1:
        names = ", ".join(tensor.name for tensor in found[:20])
        raise ArgumentError(f"{path} holds {names or 'nothing'}; choose one by its name")
    return named[0]
