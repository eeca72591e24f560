"""Growing: a taller table that keeps the rows of an older file, trained ones too."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .read import tensors
from .table import Kept, Table, table


def grown(
    old: str | os.PathLike[str],
    shape: Sequence[int],
    init: Any = None,
    dtype: Any = None,
    *,
    name: str | None = None,
    owner: str = "tables.write",
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
    owner : str
        Whom errors name.

    Raises
    ------
    ValueError, TypeError
        If the old tensor does not fit into the new table.
    """
    if os.path.isdir(old):
        raise ValueError(f"{owner}: {old} is a folder of shards; only one file can grow")
    found = tensors(old)
    names = [tensor.name for tensor in found]
    named = [tensor for tensor in found if name in (None, tensor.name) or not tensor.name]
    if len(named) != 1 or named[0].file != type(named[0].file)(old):
        raise ValueError(f"{owner}: {old} holds {', '.join(names)}; choose one by its name")
    (tensor,) = named
    before = tensor.table() if init is None else None
    if init is None:
        if before is None:
            raise ValueError(f"{owner}: {old} does not say how it was made; give the initializer")
        init = before.init
    made = table(
        init, shape, dtype or tensor.dtype, name=name or tensor.name or "weight", owner=owner
    )
    if not tensor.shape or made.shape[1:] != tensor.shape[1:] or made.shape[0] < tensor.shape[0]:
        raise ValueError(
            f"{owner}: shape must be that of {old}, {tensor.shape}, or have more rows; "
            f"given {made.shape}"
        )
    if made.dtype != tensor.dtype:
        raise ValueError(
            f"{owner}: dtype must be that of {old}, {tensor.dtype.name}; given {made.dtype.name}"
        )
    return replace(made, kept=Kept(tensor.shape[0], tensor.file, tensor.offset))
