"""Which bytes of which files hold which elements.

A file is a header and tables, one after the other. An extent is some of the consecutive elements of
a table there; work is cut into extents. A tensor is what a file that was found holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seedbed_kernels import STREAM_VERSION

from ..errors import ArgumentError, FormatError, brief
from ..locks import cached_property
from ..storage import direct
from ..storage.direct import PAGE
from ..storage.foreign import understanding
from ..storage.places import Place, Reads
from .configurations import absent_array
from .table import Table

TOGETHER = 32  # parts of files that are read together


class Chunks(NamedTuple):
    """Rows of a chunk of a Zarr array, and of a shard: a file of one or more chunks."""

    rows: int
    shard: int


@dataclass(frozen=True)
class File:
    """A file: a header, then tables one after the other.

    Parameters
    ----------
    name : str
        In the folder of an output of several files; empty where the output is one file.
    tables : tuple of Table
        In order.
    make_header : callable
        Returns the header: a process needs that of few of many files.
    tail : int
        Zeros after the last table.
    """

    name: str
    tables: tuple[Table, ...]
    make_header: Callable[[], bytes]
    tail: int = 0

    @cached_property
    def header(self) -> bytes:
        """All before the data of the first table."""
        return self.make_header()

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.header) + sum(table.nbytes for table in self.tables) + self.tail

    def extents(self) -> Iterator["Extent"]:
        """Yield every table as an extent."""
        offset = len(self.header)
        for table in self.tables:
            yield Extent(self, table, offset, 0, table.size)
            offset += table.nbytes


class Extent(NamedTuple):
    """Consecutive elements of a table, `begin` to `end`, in a file from byte `offset`."""

    file: File
    table: Table
    offset: int
    begin: int
    end: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.end - self.begin

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.table.dtype.itemsize

    def cut(self, begin: int, end: int) -> "Extent":
        """Return the extent from its element `begin` to its element `end`."""
        offset = self.offset + begin * self.table.dtype.itemsize
        return Extent(self.file, self.table, offset, self.begin + begin, self.begin + end)

    @property
    def bounds(self) -> slice:
        """Where in a `direct.buffer` its bytes go."""
        return direct.bounds(self.offset, self.nbytes)

    def generate(self, buffer: np.ndarray) -> np.ndarray:
        """Return the elements that the file should hold, in a `direct.buffer`."""
        values = buffer[self.bounds].view(self.table.dtype)
        self.table.fill(values, self.begin)
        return values


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Parameters
    ----------
    file : Path or Remote
        Which file.
    name : str
        Its name there; empty in a ``.npy``.
    offset : int
        Of its first byte in the file.
    shape : tuple of int
        Of what the file holds.
    dtype : numpy.dtype
        Of the elements.
    metadata : dict
        Of the file: strings by name; empty in a ``.npy``.
    description : dict, optional
        Of the table that it was made as, if the file tells; `Table.describe` says what is in it.
    told : dict
        What else the file says of the tensor, and should: ``seed``, ``saved_offsets``.
    header : bytes
        What the file must begin with, which whoever reads from it compares.
    """

    file: Place
    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    metadata: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, Any] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    header: bytes = b""

    def table(self) -> Table | None:
        """Return the table that it was made as, or None where the file does not say.

        Raises
        ------
        FormatError, ArgumentError
            If its values are of another stream version, if metadata and tensor disagree, or if it
            was made from an array that the file does not hold.
        """
        if self.description is None:
            return None
        stream = self.metadata.get("stream_version")
        if stream != str(STREAM_VERSION):
            raise FormatError(
                f"{self.file}: of stream version {stream}; this is version {STREAM_VERSION}"
            )
        with understanding(self.file, f"bad metadata of {self.name}"):
            absent = absent_array(self.description.get("initializer"))
            table = None if absent else Table.from_description(self.name, dict(self.description))
        if table is None:
            raise ArgumentError(f"{self.file}: {self.name} is {absent}; give the initializer")
        if (table.stored_shape, table.dtype) != (self.shape, self.dtype):
            raise FormatError(
                f"{self.file}: {self.name} is {self.shape} {self.dtype.name}; "
                f"by its metadata {table.stored_shape} {table.dtype.name}"
            )
        return table

    def contradiction(self, table: Table) -> str:
        """Return what the file says of a tensor but its values, and should not; or nothing."""
        right = {
            "seed": table.seed,
            "saved_offsets": [table.first_row, *(0 for _ in table.shape[1:])],
        }
        for key, value in self.told.items():
            if value != right[key]:
                return (
                    f"{self.name}: {key} is {brief(value)} in the metadata, "
                    f"should be {brief(right[key])}"
                )
        return ""

    def extent(self, table: Table, name: str) -> Extent:
        """Return where the elements of its table are, in a file of a name."""
        return Extent(File(name, (table,), bytes), table, self.offset, 0, table.size)


def check_headers(tensors: Sequence[Tensor], reads: Reads) -> None:
    """Refuse files that begin otherwise than they must."""
    headed = [tensor for tensor in tensors if tensor.header]
    for start in range(0, len(headed), TOGETHER):
        some = headed[start : start + TOGETHER]
        there = [np.empty(len(tensor.header), np.uint8) for tensor in some]
        reads.fill([(one.file, 0, header) for one, header in zip(some, there, strict=True)])
        for tensor, header in zip(some, there, strict=True):
            if header.tobytes() != tensor.header:
                raise FormatError(
                    f"{tensor.file}: its chunks are not in order, as Seedbed writes them"
                )


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether flat arrays of the same dtype and size are equal, bit for bit."""
    a, b = a.view(np.uint8), b.view(np.uint8)
    words = a.size // 8 * 8  # compared eight at a time, which is several times as fast
    return np.array_equal(a[:words].view(np.uint64), b[:words].view(np.uint64)) and np.array_equal(
        a[words:], b[words:]
    )


def page_start(extent: Extent, element: int) -> int:
    """Return the element where the page of an element begins: parts do not share pages."""
    if element == extent.end:
        return element
    itemsize = extent.table.dtype.itemsize
    byte = (extent.offset + element * itemsize) // PAGE * PAGE
    return max(byte - extent.offset, 0) // itemsize


def chunks(
    extents: Sequence[Extent], nbytes: int, begin: int = 0, end: int | None = None
) -> Iterator[Extent]:
    """Yield the bytes `begin` to `end` of extents, counted over all, in pieces of at most `nbytes`.

    Bytes are rounded down to whole elements.
    """
    at = 0
    for extent in extents:
        itemsize = extent.table.dtype.itemsize
        start = min(max(begin - at, 0) // itemsize, extent.size)
        stop = extent.size if end is None else min(max(end - at, 0) // itemsize, extent.size)
        step = max(nbytes // itemsize, 1)
        for first in range(start, stop, step):
            yield extent.cut(first, min(first + step, stop))
        at += extent.nbytes
