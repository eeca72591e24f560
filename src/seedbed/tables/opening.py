"""Stored tables as arrays: ``open(path)[name][rows]`` reads those rows and nothing else."""

import bisect
import importlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, FormatError, as_index, brief, naming
from ..storage.places import Place, Reader, is_folder, place_of
from . import formats
from .layout import Tensor, check_headers

NAMELESS = "weight"  # the name of the array in a `.npy`: the one that `write` gives by default


def open(path: str | os.PathLike[str]) -> "Tables":  # as `h5py.File` or `zarr.open`
    """Open a file, a folder of shards, or an array of Zarr, to read rows of its tables.

    Parameters
    ----------
    path : path
        ``.npy``, ``.safetensors``, or a folder; written by Seedbed or others. Or a URL of a store,
        such as ``s3://bucket/table.zarr``, from which it reads the bytes of those rows only.

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
        place = place_of(path)
        found: dict[str, list[Tensor]] = {}
        for tensor in formats.whole(place):
            found.setdefault(tensor.name or NAMELESS, []).append(tensor)
        opened = {name: StoredTable(name, pieces) for name, pieces in found.items()}
        if is_folder(place) and not formats.is_array(place):
            for table in opened.values():
                table.check_whole()
        return Tables(opened)


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
    """A stored table; an index reads the rows it means, with the whole of them in memory.

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
        self._pieces = sorted(pieces, key=_first_row) if len(pieces) > 1 else list(pieces)
        first = self._pieces[0]
        self.dtype = first.dtype
        if len(pieces) > 1:
            _check_fit(self._pieces)
        ends = itertools.accumulate(piece.shape[0] if piece.shape else 1 for piece in self._pieces)
        self._ends = list(ends)
        self.shape = (self._ends[-1], *first.shape[1:]) if first.shape else ()
        self._reader = Reader([piece.file for piece in self._pieces])
        self._seen: set[Place] = set()  # files whose headers are as they must be

    def check_whole(self) -> None:
        """Refuse shards of which the first or the last ones are missing, if they tell."""
        pieces = self._pieces
        if "saved_offsets" in pieces[0].told:
            _check_fit(pieces)
            shape = (pieces[0].description or {}).get("shape", [len(self)])
            if not isinstance(shape, list) or shape[:1] != [len(self)]:
                raise FormatError(f"{pieces[-1].file}: rows of {self.name} after are missing")

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

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from all other tables: its name, where its files are, and their state."""
        return self.name, *self._reader.identities

    def to_dask(self, chunks: Any = "auto") -> Any:
        """Return a lazy array of the table, whose blocks read their rows where they are computed.

        Parameters
        ----------
        chunks : int, tuple, dict, str, optional
            As `dask.array.ones` takes them; ``"auto"`` by default, which are whole rows. Rows are
            read as a whole, also for a block of some columns.

        Returns
        -------
        dask.array.Array
            Equal to ``table[...]``. Its slices read no other blocks. Workers must see the file
            where it was opened. If it changes, they refuse to read it.

        Raises
        ------
        ArgumentError
            If the chunks do not fit.
        ImportError
            Without Dask.

        Examples
        --------
        >>> import tempfile
        >>> from seedbed import initializers, tables
        >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
        >>> path = tempfile.mkdtemp() + "/t.safetensors"
        >>> _ = tables.write(path, init, (1000, 64), "bfloat16")
        >>> table = tables.open(path)["weight"].to_dask(chunks=(300, 64))
        >>> table.numblocks
        (4, 1)
        >>> bool((table[500:504].compute() == init((1000, 64), "bfloat16")[500:504]).all())
        True
        """
        return importlib.import_module("seedbed.dask.arrays").from_table(self, chunks)

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
        runs = itertools.pairwise((*starts.tolist(), order.size))
        self._read((int(order[begin]), found[begin:end]) for begin, end in runs)
        return found, places.reshape(ids.shape)

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """Return consecutive rows."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._read([(start, out)])
        return out

    def _read(self, runs: Iterable[tuple[int, np.ndarray]]) -> None:
        """Fill arrays with consecutive rows each, the first of which is given."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        wanted: list[tuple[Place, int, np.ndarray]] = []
        new: dict[Place, Tensor] = {}
        for at, out in runs:
            stop, data = at + len(out), out.reshape(-1).view(np.uint8)
            number = bisect.bisect_right(self._ends, at)
            while at < stop and row:
                piece, end = self._pieces[number], min(self._ends[number], stop)
                begin = self._ends[number - 1] if number else 0
                some, data = data[: (end - at) * row], data[(end - at) * row :]
                wanted.append((piece.file, piece.offset + (at - begin) * row, some))
                if piece.header and piece.file not in self._seen:
                    new[piece.file] = piece
                at, number = end, number + 1
        with self._reader.reading() as reads:
            check_headers(list(new.values()), reads)
            reads.fill(wanted)
        self._seen.update(new)


def _first_row(piece: Tensor) -> int:
    """Return the number of the first row of one of several pieces, as its file tells."""
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
        if _first_row(piece) != end:
            raise FormatError(f"{piece.file}: rows of {piece.name} before are missing or double")
        end += piece.shape[0]
