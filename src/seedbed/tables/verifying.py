"""Whether files hold, bit for bit, what the stream says."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, brief, naming
from ..storage.foreign import naturals, understanding
from ..storage.places import Place, Reader, failing, is_folder, place_of
from . import comparing
from .formats import problem, tensors
from .growing import older, placed_by
from .layout import Extent, Tensor, check_headers
from .progress import bar
from .state import differences
from .table import Table
from .table import table as make_table


class Report(NamedTuple):
    """What `verify` found; as a string, one line.

    Attributes
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
    name: str | None = None,
    rows: tuple[int, int] | slice | None = None,
    sample: int | None = None,
    progress: bool = False,
    grow: str | os.PathLike[str] | None = None,
    ids: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    by: str = "row",
) -> Report:
    """Compare a file, or a folder of shards, with what the stream says.

    All that is looked at is read, in bounded memory, and compared with values made meanwhile.

    Parameters
    ----------
    path : path
        ``.safetensors``, ``.npy``, or a folder. Or a URL of a store, such as
        ``s3://bucket/table.zarr``, where several requests are under way at a time.
    init : Initializer, str or dict, optional
        What made it, where its metadata do not say: a ``.npy`` has none, and a large array of
        constants is not in them.
    shape : sequence of int
        With `init`: the full table, if the file holds only `rows` of it and does not say so.
    name : str, optional
        Of the only tensor that is compared; all by default.
    rows : tuple of two int, or slice, optional
        With `shape`.
    sample : int, optional
        Compare so many random windows of 4096 values only.
    progress : bool
        Show a progress bar if standard error is a terminal.
    grow, ids, by : optional
        As `write` took them, for a table whose rows were placed by ids: the older rows are
        compared, too. Its metadata tell `by`.

    Returns
    -------
    Report
        How many values were compared, and how many differ.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is not as said above, or does not fit the file.
    FormatError
        If the file is none of Seedbed's, is damaged, or of another stream version.
    StorageError
        If the disk fails.

    Examples
    --------
    >>> import tempfile
    >>> from seedbed import tables
    >>> path = tempfile.mkdtemp() + "/table.safetensors"
    >>> _ = tables.write(path, {"class_name": "GlorotUniform", "config": {"seed": 7}}, (1000, 64))
    >>> tables.verify(path).ok
    True
    """
    with naming("tables.verify"):
        place = place_of(path)
        _check(init, shape, rows, sample)
        if (grow is None) != (ids is None):
            raise ArgumentError("grow and ids must be given together")
        every = tensors(place)
        found = [tensor for tensor in every if name in (None, tensor.name)]
        if name is not None and not found:
            raise ArgumentError(f"{place} holds no tensor of the name {brief(name)}")
        pairs = [
            (tensor, _with_ids(_table(tensor, init, shape, rows), grow, ids, by))
            for tensor in found
        ]
        first = problem(place, every)
        if init is None and not first:
            first = next(filter(None, (tensor.contradiction(table) for tensor, table in pairs)), "")
        return _compare(place, pairs, first, sample, progress)


def _check(init: Any, shape: Any, rows: Any, sample: Any) -> None:
    if init is None and (shape is not None or rows is not None):
        raise ArgumentError("shape and rows have no meaning without init")
    if sample is not None and (not isinstance(sample, int) or isinstance(sample, bool)):
        raise ArgumentTypeError(f"sample must be an integer; given {brief(sample)}")
    if sample is not None and sample < 1:
        raise ArgumentError(f"sample must be at least 1; given {brief(sample)}")


def _table(
    tensor: Tensor,
    init: Any,
    shape: Sequence[int] | None,
    rows: tuple[int, int] | slice | None,
) -> Table:
    if init is None:
        found = tensor.table()
        if found is None:
            raise ArgumentError(
                f"{tensor.file}: does not say how {tensor.name or 'it'} was made; "
                "give the initializer and its seed"
            )
        return found
    if shape is None:
        shape, described = _described(tensor)
        rows = described if rows is None else rows
    made = make_table(init, shape, tensor.dtype, rows=rows, name=tensor.name or "array")
    if made.stored_shape != tensor.shape:
        raise ArgumentError(f"{tensor.file} holds {tensor.shape}, not {made.stored_shape}")
    return made


def _described(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    """Return the full shape of a tensor's table, and its rows, as far as the file says them."""
    if tensor.description is None:
        if "saved_offsets" in tensor.told:
            raise ArgumentError(f"{tensor.file}: does not say of which table it holds rows")
        return tensor.shape, None
    with understanding(tensor.file, f"bad metadata of {tensor.name}"):
        shape = naturals(tensor.description.get("shape"), "shape")
        if "rows" not in tensor.description:
            return shape, None
        start, stop = naturals(tensor.description["rows"], "rows", 2)
        return shape, (start, stop)


def _with_ids(table: Table, grow: Any, ids: Any, by: str) -> Table:
    """Return a table with the rows that were placed by ids."""
    if grow is None:
        if table.placed is not None:
            raise ArgumentError(
                f"rows of {table.name} were placed by ids; give grow and ids (--grow, --ids)"
            )
        return table
    told = table.placed
    placed = placed_by(older(grow, None), ids, told["by"] if isinstance(told, dict) else by)
    if len(table.shape) != 2 or len(placed.new) != table.shape[0]:
        raise ArgumentError(f"ids_new must have an id for each row of {table.name}")
    if placed.columns > table.shape[1]:
        raise ArgumentError(f"{placed.path} has more columns than {table.name}")
    placed.check()
    if isinstance(told, dict):
        for key, here, there in differences(placed.describe(), told):
            raise ArgumentError(
                f"{key} of {table.name} is {brief(there)} by its metadata; "
                f"{brief(here)} of what is given"
            )
    return replace(table, placed=placed)


def _compare(
    place: Place,
    pairs: Sequence[tuple[Tensor, Table]],
    first: str,
    sample: int | None,
    progress: bool,
) -> Report:
    folder = is_folder(place)
    places = {tensor.file.name if folder else "": tensor.file for tensor, _ in pairs}
    extents = [
        tensor.extent(table, tensor.file.name if folder else "").cut(table.kept_size, table.size)
        for tensor, table in pairs
    ]
    kept = sum(table.kept_size for _, table in pairs)
    if folder:
        first = first or _gap([table for _, table in pairs])
    if sample is None:
        looked_at = comparing.everything(extents)
    else:
        looked_at = comparing.random_samples(extents, sample)
    checked, wrong = 0, 0

    def counted() -> Iterator[Extent]:
        nonlocal checked
        for extent in looked_at:
            checked += extent.size
            yield extent

    def found(extent: Extent, there: np.ndarray, right: np.ndarray) -> None:
        nonlocal wrong, first
        first = first or f"{places[extent.file.name]}: {comparing.first(extent, there, right)}"
        wrong += comparing.count(there, right)

    values = sum(extent.size for extent in extents)
    nbytes = sum(extent.nbytes for extent in extents)
    if sample is not None and sample * comparing.SAMPLE < values:
        nbytes = nbytes * sample * comparing.SAMPLE // values
        values = sample * comparing.SAMPLE
    with (
        failing(place),
        Reader(list(places.values())).reading() as reads,
        bar(values, nbytes, 0, progress) as shown,
    ):

        def read(wanted: Sequence[tuple[Extent, np.ndarray]]) -> None:
            reads.fill([(places[one.file.name], one.offset, data) for one, data in wanted])

        check_headers([tensor for tensor, _ in pairs], reads)
        comparing.compare(counted(), read, found, shown.update)
    return Report(str(place), checked, wrong, kept, first)


def _gap(tables: list[Table]) -> str:
    """Return which rows no shard holds, or what differs between shards but their rows."""
    shards: dict[str, list[Table]] = {}
    for table in tables:
        shards.setdefault(table.name, []).append(table)
    for name, pieces in shards.items():
        first, *others = ({**piece.describe(), "rows": None} for piece in pieces)
        for other in others:
            for key, one, another in differences(first, other):
                told = f"{key} {brief(one)} and {brief(another)}"
                return f"shards of {name} are of different jobs: {told}"
        whole = pieces[0].shape[0] if pieces[0].shape else 0
        end = 0
        for start, stop in (*sorted(piece.rows or (0, whole) for piece in pieces), (whole, whole)):
            if start != end:
                wrong = "are missing" if start > end else "are there twice"
                return f"rows {min(start, end)} to {max(start, end)} of {name} {wrong}"
            end = stop
    return ""
