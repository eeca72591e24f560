"""Fills on the CPU: parts of a table, or rows of keys, for a sampler and a dtype at a time.

What is drawn, and how, stands in `tiles_cpu` and `keyed_cpu`; their kernels are loaded here without
importing Numba.
"""

import ctypes
import functools
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, cast

import numpy as np

from . import arithmetic, forking, machine_code
from .layout import KeyedPlace, Place, position, precision

INTEGER, POINTER = ctypes.c_int64, ctypes.c_void_p
PACKED = ctypes.c_char_p  # bytes go as a pointer to them
ARGUMENTS = (POINTER, INTEGER, INTEGER, PACKED, PACKED, PACKED)
BITS = 2**64

addressof, from_buffer = ctypes.addressof, cast(Any, ctypes.c_char.from_buffer)

_kernels: dict[tuple[str, type, np.dtype], Callable[..., None]] = {}


class _Fills:
    """What both classes below do."""

    family: str

    @arithmetic.usual()
    def __init__(self, sampler: Any, dtype: np.dtype) -> None:
        self._kernel = _kernel(self.family, type(sampler), dtype)
        self._real = precision(dtype)
        self._sampler = struct.pack(f"{len(sampler)}{np.dtype(self._real).char}", *sampler)

    def __call__(self, out: np.ndarray, begin: int, end: int, place: bytes, key: bytes) -> None:
        """Fill the elements of a place from number `begin` to before `end`, in its own C order.

        Parameters
        ----------
        out : array, written
            Of the whole place. C-contiguous, or rows of such for a place with a stride.
        begin, end : int
            ``0 <= begin < end``, and no more than the place has, which is not checked.
        place : bytes
            Which elements these are: from one of the methods below.
        key : bytes
            From `packed_key`.
        """
        self._kernel(_address(out), begin, end, place, key, self._sampler)

    def _place(
        self,
        base: int,
        shape: Sequence[int],
        strides: Sequence[int],
        run: int,
        row: int,
        ids: int,
        start: int,
        step: int,
        stride: int,
    ) -> bytes:
        before, after = _around(self._real, base, tuple(shape), tuple(strides), run, row, stride)
        return before + struct.pack("3Q", ids, start % BITS, step % BITS) + after


@functools.lru_cache(64)
def _around(
    real: type,
    base: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    run: int,
    row: int,
    stride: int,
) -> tuple[bytes, bytes]:
    """Return what stands before and after the ids in a place: all batches of one table share it."""
    axes = [(size, *position(step, real)) for size, step in zip(shape, strides, strict=True)]
    place = Place(
        *position(base, real),
        run,
        math.prod(shape),
        *position(row, real),
        0,
        0,
        0,
        stride,
        len(axes),
    )
    numbers = [number % BITS for numbers in (place, *axes) for number in numbers]
    ids = Place._fields.index("ids")
    before, after = numbers[:ids], numbers[ids + 3 :]
    return struct.pack(f"{len(before)}Q", *before), struct.pack(f"{len(after)}Q", *after)


class Filler(_Fills):
    """Fills elements of tables by one sampler, in one dtype.

    Parameters
    ----------
    sampler : one of the classes of `samplers`
        Its numbers are rounded to float64 for float64 output, to float32 for all others.
    dtype : numpy.dtype
        Of the output: float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).

    Examples
    --------
    >>> from seedbed_kernels.samplers import Uniform
    >>> fill, key = Filler(Uniform(1.0, 0.0, 0.0, 1.0), np.dtype(np.float32)), packed_key((7, 0, 0))
    >>> out = np.empty(3, np.float32)
    >>> fill(out, 0, 3, fill.WHOLE, key)
    >>> out
    array([0.9545971 , 0.40696037, 0.00607508], dtype=float32)
    """

    family = "fill"
    # The window that is the table: a run without end.
    WHOLE = struct.pack(f"{len(Place._fields)}q", 0, 0, 2**63 - 1, 1, *[0] * 7)

    def window(self, base: int, shape: Sequence[int], strides: Sequence[int], run: int) -> bytes:
        """Return the place of a window.

        Parameters
        ----------
        base : int
            Number, in the full table, of the window's first element.
        shape, strides : sequences of int
            Outer axes of the window: lengths, and steps in elements of the full table.
        run : int
            Elements that follow each other in the full table: the window's inner axes.
        """
        return self._place(base, shape, strides, run, 0, 0, 0, 1, 0)


class RowFiller(_Fills):
    """Fills rows of tables by one sampler, in one dtype; see `Filler`.

    Examples
    --------
    Rows 5 and 0 of a table of three columns:

    >>> from seedbed_kernels.samplers import Uniform
    >>> fill = RowFiller(Uniform(1.0, 0.0, 0.0, 1.0), np.dtype(np.float32))
    >>> rows, ids = np.empty((2, 3), np.float32), np.array([5, 0], np.uint64)
    >>> fill(rows, 0, 6, fill.rows(ids, 3, 3), packed_key((7, 0, 0)))
    >>> rows[1]
    array([0.9545971 , 0.40696037, 0.00607508], dtype=float32)
    """

    family = "rows"

    def rows(
        self,
        ids: np.ndarray | range,
        row: int,
        stride: int,
        base: int = 0,
        shape: Sequence[int] = (),
        strides: Sequence[int] = (),
        run: int | None = None,
    ) -> bytes:
        """Return the place of rows of a table, or of a window in each of them.

        Parameters
        ----------
        ids : range, or contiguous array of uint64 or int64
            Numbers of the rows, not negative. Whoever calls keeps the array as long as the place.
        row : int
            Elements of a row of the full table.
        stride : int
            Elements of the output from one of its rows to the next.
        base : int
            Number, in a row, of the window's first element.
        shape, strides, run
            Of the window in a row, as `window` takes them; by default the whole row.
        """
        run = row if run is None else run
        numbers = (0, ids.start, ids.step) if isinstance(ids, range) else (_address(ids), 0, 0)
        return self._place(base, shape, strides, run, row, *numbers, stride)


class KeyedFiller(_Fills):
    """Fills rows of keys by one sampler, in one dtype.

    Parameters
    ----------
    sampler, dtype
        As `Filler` takes them.

    Examples
    --------
    >>> from seedbed_kernels.samplers import Uniform
    >>> fill = KeyedFiller(Uniform(1.0, 0.0, 0.0, 1.0), np.dtype(np.float32))
    >>> out, keys = np.empty((2, 6), np.float32), np.array([2**64 - 1, 3], np.uint64)
    >>> fill(out, 0, 12, fill.rows(keys, 0, 6, 6), packed_key((7, 0, 0)))
    """

    family = "keyed"

    def rows(self, keys: np.ndarray, column: int, width: int, stride: int) -> bytes:
        """Return the place of rows of keys.

        Parameters
        ----------
        keys : contiguous array of uint64 or int64
            Whoever calls keeps it as long as the place.
        column, width : int
            First column, and how many; the last is below 2**33, in float64 below 2**32.
        stride : int
            Elements of the output from one of its rows to the next.
        """
        return struct.pack("4q", *KeyedPlace(_address(keys), column, width, stride))


def packed_key(key: tuple[SupportsIndex, SupportsIndex, SupportsIndex]) -> bytes:
    """Return a key as kernels take it: low and high word of the seed, and the stream (or 0)."""
    return struct.pack("3Q", *key)


def _address(array: np.ndarray) -> int:
    try:
        return addressof(from_buffer(array))  # quickest
    except (TypeError, ValueError, BufferError):  # not contiguous, or not to be written
        return array.ctypes.data


def _kernel(family: str, kind: type, dtype: np.dtype) -> Callable[..., None]:
    found = _kernels.get((family, kind, dtype))
    if found is not None:
        return found
    with forking.first_use():  # threads that fill together: one compiles
        if (family, kind, dtype) not in _kernels:
            _kernels[family, kind, dtype] = machine_code.load(
                f"{family}_{kind.__name__}_{dtype.name}",
                lambda: _defined(family, kind, dtype),
                ARGUMENTS,
            )
    return _kernels[family, kind, dtype]


def _defined(family: str, kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    from . import keyed_cpu, tiles_cpu

    if family == "keyed":
        return keyed_cpu.make_kernel(kind, dtype)
    return tiles_cpu.make_kernel(kind, dtype, by_halves=family == "rows")
