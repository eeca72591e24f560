"""Whether files hold, bit for bit, what the stream says."""

import os
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..storage.direct import room
from .output import Run, chunks, same_bits
from .progress import bar
from .read import Tensor, tensors
from .states import differences
from .table import Table
from .table import table as make_table

CHUNK_BYTES = 16 << 20
SAMPLE = 4096  # elements of a random window


class Report(NamedTuple):
    """What `verify` found; as a string, one line.

    Parameters
    ----------
    path : str
        What was looked at.
    checked : int
        Values compared.
    wrong : int
        Those that differ.
    kept : int
        Values of an older file that a grown table keeps; there is nothing to compare them with.
    first : str
        Where the first difference is, and what it is; or which rows are missing.
    """

    path: str
    checked: int
    wrong: int
    kept: int
    first: str

    @property
    def ok(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return not self.first

    def __str__(self) -> str:
        kept = f"; {self.kept:,} kept from an older file not compared" if self.kept else ""
        if self.ok:
            return f"{self.path}: all {self.checked:,} values compared are right{kept}"
        return (
            f"{self.path}: {self.wrong:,} of {self.checked:,} values are wrong; {self.first}{kept}"
        )


def verify(
    path: str | os.PathLike[str],
    init: Any = None,
    shape: Sequence[int] | None = None,
    *,
    rows: tuple[int, int] | slice | None = None,
    sample: int | None = None,
    progress: bool = False,
) -> Report:
    """Compare a file, or a folder of shards, with what the stream says.

    Parameters
    ----------
    path : path
        ``.safetensors``, ``.npy``, or a folder.
    init : Initializer, str or dict, optional
        What made it, where its metadata do not say: a ``.npy`` has none.
    shape : sequence of int, optional
        With `init`: the full table, if the file holds only `rows` of it.
    rows : tuple of two int, or slice, optional
        With `shape`.
    sample : int, optional
        Compare so many random windows only.
    progress : bool
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    Report
        How many values were compared, and how many differ.

    Raises
    ------
    ValueError, TypeError
        If the file is none of Seedbed's, or of another stream version.

    Examples
    --------
    >>> import tempfile
    >>> from seedbed import tables
    >>> path = tempfile.mkdtemp() + "/table.safetensors"
    >>> _ = tables.write(path, {"class_name": "GlorotUniform", "config": {"seed": 7}}, (1000, 64))
    >>> tables.verify(path).ok
    True
    """
    if init is None and (shape is not None or rows is not None):
        raise ValueError("tables.verify: shape and rows have no meaning without init")
    if sample is not None and sample < 1:
        raise ValueError(f"tables.verify: sample must be at least 1; given {sample}")
    pairs = [(tensor, _table(tensor, init, shape, rows)) for tensor in tensors(path)]
    todo = [tensor.run(table).cut(table.kept_size, table.size) for tensor, table in pairs]
    kept = sum(table.kept_size for _, table in pairs)
    if sample is not None:
        todo = _samples(todo, sample)
    checked = sum(run.end - run.begin for run in todo)
    wrong, first = 0, ""
    if Path(path).is_dir():
        first = _gap([table for _, table in pairs])
    right = room(CHUNK_BYTES)
    with bar(checked, sum(run.nbytes for run in todo), 0, progress) as shown:
        for chunk, there in _read_ahead(chunks(todo, 0, CHUNK_BYTES)):
            count, where = _compare(chunk, there, chunk.generate(right))
            wrong += count
            first = first or where
            shown.update(chunk.nbytes)
    return Report(os.fspath(path), checked, wrong, kept, first)


def _table(
    tensor: Tensor,
    init: Any,
    shape: Sequence[int] | None,
    rows: tuple[int, int] | slice | None,
) -> Table:
    if init is None:
        found = tensor.table()
        if found is None:
            raise ValueError(
                f"{tensor.file}: does not say how {tensor.name or 'it'} was made; "
                "give the initializer and its seed"
            )
        return found
    full = tensor.shape if shape is None else shape
    made = make_table(init, full, tensor.dtype, rows=rows, owner="tables.verify")
    if made.stored_shape != tensor.shape:
        raise ValueError(
            f"tables.verify: {tensor.file} holds {tensor.shape}, not {made.stored_shape}"
        )
    return made


def _samples(runs: list[Run], count: int) -> list[Run]:
    """Return random windows of runs, more of the longer ones."""
    sizes = [run.end - run.begin for run in runs]
    if not any(sizes):
        return []
    picked = []
    for run in random.choices(runs, sizes, k=count):
        size = run.end - run.begin
        begin = random.randrange(max(size - SAMPLE, 0) + 1)
        picked.append(run.cut(begin, min(begin + SAMPLE, size)))
    return picked


def _gap(tables: list[Table]) -> str:
    """Return which rows no shard holds, or what differs between shards but their rows."""
    shards: dict[str, list[Table]] = {}
    for table in tables:
        shards.setdefault(table.name, []).append(table)
    for name, pieces in shards.items():
        first, *others = ({**piece.describe(), "rows": None} for piece in pieces)
        for other in others:
            for key, one, another in differences(first, other):
                return f"shards of {name} are of different runs: {key} {one!r} and {another!r}"
        whole = pieces[0].shape[0] if pieces[0].shape else 0
        end = 0
        for start, stop in (*sorted(piece.rows or (0, whole) for piece in pieces), (whole, whole)):
            if start > end:
                return f"rows {end} to {start} of {name} are missing"
            end = max(end, stop)
    return ""


def _read_ahead(chunks: Iterable[Run]) -> Iterator[tuple[Run, np.ndarray]]:
    """Yield chunks and what the files hold there; the next is read while one is looked at."""
    spare = deque(room(CHUNK_BYTES) for _ in range(2))
    coming: deque[tuple[Run, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="seedbed-reader") as thread:
        for chunk in chunks:
            coming.append((chunk, thread.submit(_read, chunk, spare[0])))
            spare.rotate()
            if len(coming) == len(spare):
                chunk, future = coming.popleft()
                yield chunk, future.result()
        for chunk, future in coming:
            yield chunk, future.result()


def _read(chunk: Run, into: np.ndarray) -> np.ndarray:
    with open(chunk.file.name, "rb", buffering=0) as file:
        return chunk.read(file.fileno(), into)


def _compare(chunk: Run, there: np.ndarray, right: np.ndarray) -> tuple[int, str]:
    """Return how many elements differ, and the first of them."""
    if same_bits(there, right):
        return 0, ""
    unequal = there.view(np.uint8) != right.view(np.uint8)
    unequal = unequal.reshape(-1, right.itemsize).any(axis=1)
    at = int(unequal.argmax())
    index = np.unravel_index(chunk.begin + at, chunk.table.stored_shape)
    place = ", ".join(str(int(i)) for i in index)
    name = chunk.table.name
    first = f"{chunk.file.name}: {name}[{place}] is {there[at]}, should be {right[at]}"
    return int(unequal.sum()), first
