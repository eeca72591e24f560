"""Tables on disk as arrays: ``open(path)[name][rows]`` reads those rows and nothing else."""

import bisect
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, FormatError, as_index, brief, naming
from ..storage.atomic import failing
from ..storage.direct import read_all
from ..storage.foreign import opened
from . import formats
from .layout import Tensor

NAMELESS = "weight"  # the name of the array in a `.npy`: the one that `write` gives by default


def open(path: str | os.PathLike[str]) -> "Tables":  # as `h5py.File` or `zarr.open`
    """Open a file, or a folder of shards, to read rows of its tables.

    Parameters
    ----------
    path : path
        ``.npy``, ``.safetensors``, or a folder; written by Seedbed or others.

    Returns
    -------
    Tables
        A mapping from names to tables. That of a ``.npy`` is called ``"weight"``.

    Raises
    ------
    FormatError
        If it is none of these, or shards do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> from seedbed import initializers, tables
    >>> init = initializers.GlorotUniform(seed=7)
    >>> path = tempfile.mkdtemp() + "/table.safetensors"
    >>> _ = tables.write(path, init, (1000, 64))
    >>> table = tables.open(path)["weight"]
    >>> table.shape, table.dtype
    ((1000, 64), dtype('float32'))
    >>> bool((table[500:504] == init((1000, 64))[500:504]).all())
    True
    """
    with naming("tables.open"):
        found: dict[str, list[Tensor]] = {}
        for tensor in formats.tensors(path):
            found.setdefault(tensor.name or NAMELESS, []).append(tensor)
        return Tables({name: StoredTable(name, pieces) for name, pieces in found.items()})


class Tables(Mapping[str, "StoredTable"]):
    """The tables of a file or of a folder of shards, by name."""

    def __init__(self, found: Mapping[str, "StoredTable"]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> "StoredTable":
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Tables({', '.join(map(repr, self._found.values()))})"


class StoredTable:
    """A table on disk; an index reads the rows it means, with the whole of them in memory.

    Indices are those of a NumPy array. What the first one means is read; further ones choose among
    that.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : numpy.dtype
    """

    def __init__(self, name: str, pieces: Sequence[Tensor]) -> None:
        self.name = name
        self._pieces = sorted(pieces, key=lambda piece: _first_row(piece, len(pieces)))
        first = self._pieces[0]
        self.dtype = first.dtype
        if len(pieces) > 1:
            _check_fit(self._pieces)
        ends = itertools.accumulate(piece.shape[0] if piece.shape else 1 for piece in self._pieces)
        self._ends = list(ends)
        self.shape = (self._ends[-1], *first.shape[1:]) if first.shape else ()
        files = {piece.file: _identity(os.stat(piece.file)) for piece in self._pieces}
        self._files: Mapping[Path, tuple[int, ...]] = files

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a table of rank 0")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"StoredTable({self.name!r}, {self.shape}, {self.dtype.name})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all of it."""
        if copy is False:
            raise ValueError("a table on disk becomes an array by a copy only")
        found = self[...]
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, index: Any) -> Any:
        with naming("tables.open"):
            indices = index if isinstance(index, tuple) else (index,)
            if not self.shape:
                return self._rows(0, 1).reshape(())[indices]
            if not indices or indices[0] is Ellipsis or indices[0] is None:
                return self._rows(0, len(self))[indices]
            first, rest = indices[0], indices[1:]
            if isinstance(first, slice):
                start, stop, step = first.indices(len(self))
                found = self._slice(range(start, stop, step))
            elif np.ndim(first) == 0 and not isinstance(first, (bool, np.bool_)):
                row = self._row_number(first)
                return self._rows(row, row + 1)[(0, *rest)]
            else:
                found, places = self._chosen(first)
                return found[(places, *rest)]
            return found[(slice(None), *rest)]

    def _row_number(self, index: Any) -> int:
        try:
            row = as_index(index)
        except TypeError:
            raise ArgumentError(f"rows must be integers or slices; given {brief(index)}") from None
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a table of {len(self):,} rows")
        return row % len(self)

    def _slice(self, rows: range) -> np.ndarray:
        if not rows:
            return np.empty((0, *self.shape[1:]), self.dtype)
        low, high = min(rows[0], rows[-1]), max(rows[0], rows[-1])
        if abs(rows.step) <= 8:  # what lies between is read faster than it is passed over
            return self._rows(low, high + 1)[rows[0] - low :: rows.step][: len(rows)]
        found, places = self._chosen(np.arange(rows.start, rows.stop, rows.step))
        return found[places]

    def _chosen(self, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return rows by their numbers, each once, and where among them each number is.

        Neighbours are read together.
        """
        ids = np.asarray(rows)
        if ids.dtype == bool:
            if ids.shape != self.shape[:1]:
                raise ArgumentError(f"a mask must have {len(self)} values; given {ids.shape}")
            ids = np.flatnonzero(ids)
        if ids.size == 0:
            ids = ids.astype(np.int64)
        if ids.dtype.kind not in "iu":
            raise ArgumentError(f"rows must be integers; given {ids.dtype.name}")
        if ids.size and not (-len(self) <= int(ids.min()) and int(ids.max()) < len(self)):
            raise IndexError(f"rows must be of the {len(self):,} rows of the table")
        ids = ids.astype(np.int64) % max(len(self), 1)
        order, places = np.unique(ids, return_inverse=True)
        found = np.empty((order.size, *self.shape[1:]), self.dtype)
        starts = np.flatnonzero(np.diff(order, prepend=-2) != 1)
        for begin, end in itertools.pairwise((*starts.tolist(), order.size)):
            row = int(order[begin])
            found[begin:end] = self._rows(row, row + end - begin)
        return found, places.reshape(ids.shape)

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """Return consecutive rows."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        row = out.nbytes // max(stop - start, 1)
        at = start
        for number in range(bisect.bisect_right(self._ends, start), len(self._pieces)):
            if at >= stop or not row:
                break
            piece, end = self._pieces[number], min(self._ends[number], stop)
            begin = self._ends[number - 1] if number else 0
            with failing(piece.file), opened(piece.file) as fd:
                if _identity(os.fstat(fd)) != self._files[piece.file]:
                    raise FormatError(f"{piece.file}: changed since it was opened")
                data = out[at - start : end - start].reshape(-1).view(np.uint8)
                read_all(fd, data, piece.offset + (at - begin) * row)
            at = end
        return out


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _first_row(piece: Tensor, count: int) -> int:
    """Return the number of the first row of one of several pieces, as its file tells."""
    if count == 1:
        return 0
    offsets = piece.told.get("saved_offsets")
    if not isinstance(offsets, list) or len(offsets) != len(piece.shape) or not offsets:
        raise FormatError(f"{piece.file}: does not say which rows of {piece.name} it holds")
    if not all(type(one) is int for one in offsets) or any(offsets[1:]):
        raise FormatError(f"{piece.file}: saved_offsets of {piece.name} are {brief(offsets)}")
    return offsets[0]


def _check_fit(pieces: Sequence[Tensor]) -> None:
    end = 0
    for piece in pieces:
        first = pieces[0]
        if (piece.dtype, piece.shape[1:]) != (first.dtype, first.shape[1:]):
            raise FormatError(f"{piece.file}: {piece.name} is of another shape or dtype")
        if _first_row(piece, len(pieces)) != end:
            raise FormatError(f"{piece.file}: rows of {piece.name} before are missing or double")
        end += piece.shape[0]
