"""Rows placed by ids: a vocabulary that was shuffled, shortened, grown or widened."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, FormatError, brief, is_one_of
from ..locks import cached_property
from ..storage.foreign import local_path, mapping, natural, open_regular, text, understanding

AT_ONCE = 1 << 18  # ids looked at together
BY = ("row", "key")


@dataclass(frozen=True)
class Placed:
    """Which rows of a table come from where in an older file.

    Parameters
    ----------
    path : Path
        The older file.
    offset, rows, columns : int
        Where in it the tensor begins, and its shape.
    ids_old, ids_new : Path
        ``.npy`` files of the ids of the older rows, and of those of the table: none is repeated.
    by : {"row", "key"}
        Whether ids that are new draw a row of the table, or the row of the id as a key.
    """

    path: Path
    offset: int
    rows: int
    columns: int
    ids_old: Path
    ids_new: Path
    by: str

    def fill(self, out: np.ndarray, first: int) -> None:
        """Put the older rows into rows that have been drawn, the first of which is `first`.

        Parameters
        ----------
        out : numpy.ndarray
            Of shape (rows, columns).
        first : int
            Its first row's number in the full table.
        """
        for begin in range(0, len(out), AT_ONCE):
            some = out[begin : begin + AT_ONCE]
            found, where = self._find(self.new[first + begin : first + begin + len(some)])
            some[found, : self.columns] = self._values(out.dtype)[where]

    def check(self) -> None:
        """Refuse ids of which one is repeated.

        Raises
        ------
        ArgumentError
            That names the file, the id and where it stands.
        """
        for path, ids in ((self.ids_old, self.old), (self.ids_new, self.new)):
            order = self._order if ids is self.old else np.argsort(ids)
            for part in _parts(len(ids), 1):
                some = ids[order[part]]
                if (same := np.flatnonzero(some[1:] == some[:-1])).size:
                    at = sorted(order[part][same[0] : same[0] + 2].tolist())
                    raise ArgumentError(
                        f"{path} must not repeat an id; given {_id(path, at[0])} "
                        f"at places {at[0]} and {at[1]}"
                    )

    def describe(self) -> dict[str, Any]:
        """Return what the values depend on, as JSON: where files are does not matter."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "kept_rows": self._kept,
            "by": self.by,
            "ids_old": self._digests[0],
            "ids_new": self._digests[1],
        }

    def files(self) -> dict[str, Any]:
        """Return where the files are, and what tells if they change, as JSON."""
        found: dict[str, Any] = {"offset": self.offset}
        for name in ("path", "ids_old", "ids_new"):
            path = getattr(self, name)
            stat = path.stat()
            found[name] = str(path.resolve())
            found[f"{name}_bytes"] = stat.st_size
            found[f"{name}_modified_ns"] = stat.st_mtime_ns
        return found

    @classmethod
    def from_files(cls, description: Any, files: Any) -> "Placed":
        """Return what `describe` and `files` described; it comes from a file."""
        found, where = mapping(description, "placed"), mapping(files, "placed files")
        path, old, new = (
            Path(text(where.get(name), name)) for name in ("path", "ids_old", "ids_new")
        )
        rows, columns = natural(found.get("rows"), "rows"), natural(found.get("columns"), "columns")
        by = check_by(found.get("by"))
        return cls(path, natural(where.get("offset"), "offset"), rows, columns, old, new, by)

    @cached_property
    def old(self) -> np.ndarray:
        """The ids of the older rows, as 64 bits."""
        return read_ids(self.ids_old)

    @cached_property
    def new(self) -> np.ndarray:
        """The ids of the table's rows, as 64 bits."""
        return read_ids(self.ids_new)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.old)

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return _digest(self.old), _digest(self.new)

    @cached_property
    def _kept(self) -> int:
        return sum(len(self._find(self.new[part])[0]) for part in _parts(len(self.new)))

    def _find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the ids that the older file has, and the rows that it has them in.

        Sorted ids are looked up, which touches memory in order.
        """
        if not len(self.old):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        turn = np.argsort(ids)
        at = np.searchsorted(self.old, ids[turn], sorter=self._order)
        where = self._order[np.minimum(at, len(self.old) - 1)]
        known = self.old[where] == ids[turn]
        return turn[known], where[known]

    @cached_property
    def _map(self) -> np.ndarray:
        """The bytes of the older tensor, which the system reads when they are looked at."""
        fd = open_regular(self.path)
        with open(fd, "rb") as file:
            return np.memmap(file, np.uint8, "r", self.offset)

    def _values(self, dtype: np.dtype) -> np.ndarray:
        size = self.rows * self.columns * dtype.itemsize
        return self._map[:size].view(dtype).reshape(self.rows, self.columns)


def placed_of(found: dict[str, Any], shape: tuple[int, ...]) -> Placed | dict[str, Any] | None:
    """Return what the description of a table, from a file, says of placed rows."""
    if "placed" not in found:
        return None
    placed = mapping(found["placed"], "placed")
    if len(shape) != 2:
        raise FormatError(f"placed rows need two axes; given {list(shape)}")
    natural(placed.get("kept_rows"), "kept_rows", shape[0])
    if "placed_files" in found:
        return Placed.from_files(placed, found["placed_files"])
    return placed


def read_ids(path: Path) -> np.ndarray:
    """Return the ids in a ``.npy`` file as 64 bits; those of 8 bytes stay on the disk.

    Raises
    ------
    FormatError
        If it is no ``.npy`` file of one axis of integers.
    """
    with understanding(path, "not a .npy file of ids"):
        os.close(open_regular(path))
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(ids, np.ndarray):
            raise FormatError("it is an archive")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise FormatError(f"it must have one axis of integers; has {ids.shape} {ids.dtype}")
        wide = np.dtype(np.uint64 if ids.dtype.kind == "u" else np.int64)
        return np.asarray(ids if ids.dtype == wide else ids.astype(wide)).view(np.uint64)


def check_by(by: Any) -> str:
    """Return how new ids are drawn."""
    if not is_one_of(BY, by):
        raise ArgumentError(f"by must be 'row' or 'key'; given {brief(by)}")
    return by


def check_ids(ids: Any) -> tuple[Path, Path]:
    """Return the paths of the ids of older and of new rows."""
    if not isinstance(ids, (tuple, list)) or len(ids) != 2:
        raise ArgumentError(f"ids must be two files, of older and of new ids; given {brief(ids)}")
    return local_path(ids[0], "ids_old"), local_path(ids[1], "ids_new")


def _id(path: Path, at: int) -> int:
    return int(np.load(path, mmap_mode="r")[at])


def _parts(size: int, more: int = 0) -> Iterator[slice]:
    for begin in range(0, size, AT_ONCE):
        yield slice(begin, min(begin + AT_ONCE + more, size))


def _digest(ids: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in _parts(len(ids)):
        digest.update(ids[part].tobytes())
    return digest.hexdigest()
