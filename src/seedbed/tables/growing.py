"""Growing: a taller table that keeps the rows of an older file, trained ones too."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, naming
from ..storage.foreign import local_path
from .formats import tensors
from .layout import Tensor
from .placing import Placed, check_by, check_ids
from .table import Kept, Table, table


def grown(
    old: str | os.PathLike[str],
    shape: Sequence[int],
    init: Any = None,
    dtype: Any = None,
    *,
    name: str | None = None,
    ids: Any = None,
    by: str = "row",
) -> Table:
    """Return a table whose first rows, or rows of known ids, are those of an older file.

    Parameters
    ----------
    old : path
        ``.npy`` or ``.safetensors``; not a folder of shards.
    shape : sequence of int
        Of the new table: as the old one, with at least as many rows; with `ids` a row for each of
        the new ones, which may be wider.
    init, dtype : optional
        As the old file by default, where its metadata say how it was made.
    name : str, optional
        Which tensor of the file, if there are several.
    ids : tuple of two paths, optional
        ``.npy`` files of the ids of the older rows, and of the new.
    by : {"row", "key"}
        How rows of new ids are drawn.

    Raises
    ------
    FormatError, ArgumentError, ArgumentTypeError
        If the old file is none, or its tensor does not fit into the new table.
    """
    tensor = older(old, name)
    path = _path(tensor)
    if init is None:
        before = tensor.table()
        if before is None:
            raise ArgumentError(f"{path} does not say how it was made; give the initializer")
        init = before.init
    made = table(init, shape, dtype or tensor.dtype, name=name or tensor.name or "weight")
    if made.dtype != tensor.dtype:
        raise ArgumentError(
            f"dtype must be that of {path}, {tensor.dtype.name}; given {made.dtype.name}"
        )
    if ids is not None:
        return _placed(made, tensor, ids, by)
    if not tensor.shape or made.shape[1:] != tensor.shape[1:] or made.shape[0] < tensor.shape[0]:
        raise ArgumentError(
            f"shape must be that of {path}, {tensor.shape}, or have more rows; given {made.shape}"
        )
    return replace(made, kept=Kept(tensor.shape[0], path, tensor.offset))


def older(old: str | os.PathLike[str], name: str | None) -> Tensor:
    """Return the tensor of an older file that grows."""
    path = local_path(old, "grow")
    if os.path.isdir(path):
        raise ArgumentError(f"{path} is a folder of shards or chunks; only one file can grow")
    return chosen(tensors(path), name, path)


def _path(tensor: Tensor) -> Path:
    assert isinstance(tensor.file, Path)  # `older` looks at no other
    return tensor.file


def matrix(tensor: Tensor) -> Tensor:
    """Return a tensor, which must have two axes."""
    if len(tensor.shape) != 2:
        raise ArgumentError(f"{tensor.file} must have two axes; has {tensor.shape}")
    return tensor


def placed_by(tensor: Tensor, ids: Any, by: str) -> Placed:
    """Return where the rows of an older tensor go, without a look at repeated ids."""
    rows, columns = matrix(tensor).shape
    ids_old, ids_new = check_ids(ids)
    placed = Placed(_path(tensor), tensor.offset, rows, columns, ids_old, ids_new, check_by(by))
    if len(placed.old) != rows:
        raise ArgumentError(
            f"ids_old must have an id for each of the {rows:,} rows of {tensor.file}; "
            f"{ids_old} has {len(placed.old):,}"
        )
    return placed


def _placed(made: Table, tensor: Tensor, ids: Any, by: str) -> Table:
    placed = placed_by(tensor, ids, by)
    if len(made.shape) != 2 or made.shape[1] < placed.columns:
        raise ArgumentError(
            f"shape must have two axes, and at least the {placed.columns} columns of "
            f"{tensor.file}; given {made.shape}"
        )
    if made.shape[0] != len(placed.new):
        raise ArgumentError(
            f"shape must have a row for each of the {len(placed.new):,} ids of {placed.ids_new}; "
            f"given {made.shape}"
        )
    if placed.by == "key":  # it may have no rows of keys
        with naming(type(made.init).__name__):
            made.init.keyed([], made.shape[1], made.dtype, fans=(made.shape[0], made.shape[1]))
    placed.check()
    return replace(made, placed=placed)


def chosen(found: Sequence[Tensor], name: str | None, path: os.PathLike[str]) -> Tensor:
    """Return the one tensor of a file that has a name, or the only one."""
    named = [tensor for tensor in found if name in (None, tensor.name) or not tensor.name]
    if len(named) != 1:
        names = ", ".join(tensor.name for tensor in found[:20])
        raise ArgumentError(f"{path} holds {names or 'nothing'}; choose one by its name")
    return named[0]
