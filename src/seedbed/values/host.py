"""Arrays of the host as fills take them; `seedbed.gpu.DeviceArray` has the same four methods.

`constant` and `random` set all elements, `copy` takes them from an array of the host, and `matrix`
makes those of a random orthogonal matrix.
"""

import functools
import math
from typing import Any, Self

import numpy as np

from seedbed_kernels import forking, memory

from . import threads
from .dtypes import BFLOAT16, quiet
from .recipes import Random, kernel_key, kernel_sampler
from .seeds import Stream
from .selection import Keys, Rows, row_distance
from .window import Runs, windows

GRAIN = 1 << 18  # elements in a chunk: some 100 µs of work, against 10 µs to hand it over
LARGE = 1 << 20  # bytes: from there on an array begins with a cache line, on huge pages


class HostArray:
    """An array of NumPy that is filled on all threads.

    Parameters
    ----------
    array : numpy.ndarray
        C-contiguous, or rows of such at equal distances.
    outer : int
        How many of the first axes count its rows.
    """

    __slots__ = ("array", "outer")

    def __init__(self, array: np.ndarray, outer: int = 0) -> None:
        self.array = array
        self.outer = outer
        if array.nbytes >= LARGE and array.flags.c_contiguous:
            memory.advise_huge_pages(array)

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: np.dtype, outer: int = 0) -> Self:
        """Return a new array; JAX and TensorFlow take over a large one without a copy."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < LARGE:
            return cls(np.empty(shape, dtype), outer)
        try:
            return cls(memory.empty(shape, dtype), outer)
        except (MemoryError, ValueError):  # NumPy's, for more than it can address
            raise MemoryError(
                f"no memory for {nbytes / 1e9:,.1f} GB, {' × '.join(map(str, shape))} "
                f"{dtype.name}: window= or rows= makes a part of a table, and "
                "seedbed.tables.write writes one that is larger than memory"
            ) from None

    @property
    def result(self) -> np.ndarray:
        """The array itself."""
        return self.array

    def host(self) -> np.ndarray:
        """Return an array of the host of this shape and dtype, for `copy`: here it is this one."""
        return self.array

    def settle(self) -> None:
        """Wait until the array is filled: it is."""

    def constant(self, item: Any) -> None:
        """Set all elements to one value of the array's dtype."""
        if not self.array.flags.c_contiguous:
            self.copy(np.asarray(item))
            return
        flat = self.array.reshape(-1)
        threads.run_chunks(lambda begin, end: flat[begin:end].fill(item), flat.size, 4 * GRAIN)

    def copy(self, values: np.ndarray) -> None:
        """Copy values, which are broadcast to all of the array and may overlap with it."""
        array = self.array
        if values is array:
            return
        values = np.broadcast_to(values, array.shape)
        if np.may_share_memory(values, array):
            values = values.copy()

        @quiet
        def chunk(begin: int, end: int) -> None:
            for part in windows(array.shape, begin, end):
                array[part] = values[part]

        threads.run_chunks(chunk, array.size, GRAIN)

    def random(self, recipe: Random, selection: Runs | Rows | Keys, stream: Stream) -> None:
        """Set the elements to those that are selected of a random table."""
        out, key = bits(self.array), _packed_key(stream)
        if isinstance(selection, Runs):
            filler = _filler("Filler", recipe, self.array.dtype)
            place = filler.window(*selection) if selection.base or selection.lengths else None
            place = filler.WHOLE if place is None else place
        elif isinstance(selection, Rows):
            ids, row, *window = selection
            filler = _filler("RowFiller", recipe, self.array.dtype)
            place = filler.rows(ids, row, self._distance(), *window)
        else:
            filler = _filler("KeyedFiller", recipe, self.array.dtype)
            place = filler.rows(*selection, self._distance())

        def chunk(begin: int, end: int) -> None:
            filler(out, begin, end, place, key)

        threads.run_chunks(chunk, out.size, GRAIN)

    def _distance(self) -> int:
        """Return how many elements lie between the beginnings of two rows."""
        array, outer = self.array, self.outer
        if array.flags.c_contiguous:
            return math.prod(array.shape[outer:])
        distance = row_distance(array.shape, array.strides, outer, array.itemsize)
        assert distance is not None  # it was checked
        return distance

    def matrix_at(self, number: int) -> "HostArray":
        """Return the matrix of the last two axes at a number of the axes before, as a view."""
        size = self.array.shape[-2:]
        return HostArray(self.array.reshape((-1, *size))[number])

    def matrix(
        self,
        corner: tuple[int, int],
        size: tuple[int, int],
        shape: tuple[int, int],
        stream: Stream,
        gain: float,
        rows: np.ndarray | None,
    ) -> None:
        """Set the elements to those of a window of a random orthogonal matrix.

        Parameters
        ----------
        corner, size, shape : (int, int)
            First row and column of the window; its rows and columns; those of the whole matrix.
        stream : Stream
        gain : float
        rows : array of int, optional
            Rows of the window that are the array's, in the shape of its axes but the last; all of
            them by default.
        """
        with forking.first_use():
            from seedbed_kernels import haar_cpu

        array, key, run = self.array, kernel_key(stream), threads.run_chunks
        values = array.reshape(size) if rows is None else np.empty(size, array.dtype)
        out = bits(values)
        if shape[0] >= shape[1]:
            haar_cpu.haar(out, corner, shape, key, gain, run)
        else:
            (row, column), (height, width) = corner, shape
            haar_cpu.haar(out.T, (column, row), (width, height), key, gain, run)
        if rows is not None:
            array[...] = values[rows]


def bits(array: np.ndarray) -> np.ndarray:
    """Return an array as the kernels take it: of 16-bit formats they know only the bits."""
    if array.itemsize == 2:
        return array.view(np.uint16 if array.dtype == BFLOAT16 else np.int16)
    return array


@functools.lru_cache(256, typed=True)  # tuples of different types are equal
def _filler(kind: str, recipe: Random, dtype: np.dtype) -> Any:
    sampler = kernel_sampler(recipe, dtype)
    return getattr(_fills(), kind)(sampler, bits(np.empty(0, dtype)).dtype)


@functools.lru_cache(64)
def _packed_key(stream: Stream) -> bytes:
    return _fills().packed_key(kernel_key(stream))


@functools.cache
def _fills() -> Any:
    with forking.first_use():
        from seedbed_kernels import fills_cpu

    return fills_cpu
