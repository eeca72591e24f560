"""Fills on a CUDA GPU: what `fills_cpu` does, with the same classes, methods and arguments.

What is drawn, and how, stands in `tiles_cuda` and `keyed_cuda`. Everything is queued on a CUDA
stream: nothing is allocated, copied from the GPU, or waited for.
"""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from . import kernels_cuda, launch_cuda
from .driver_cuda import LEGACY_STREAM
from .launch_cuda import WARPS, Launch, block_count
from .layout import LANES, position, precision, slots, tile_values

AXES = kernels_cuda.AXES  # over the runs of a row, in one launch
RUNS = 2**31  # in one launch

Key = tuple[np.uint64, np.uint64, np.uint64]


class Place(NamedTuple):
    """Which elements are filled: the arguments of `Filler.window` or `RowFiller.rows`."""

    base: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    run: int
    ids: Any = range(1)
    row: int = 0
    stride: int = 0


class KeyedPlace(NamedTuple):
    """Which elements are filled: the arguments of `KeyedFiller.rows`."""

    keys: Any
    column: int
    width: int
    stride: int


class _Fills:
    """What all classes below do."""

    def __init__(self, sampler: Any, dtype: np.dtype) -> None:
        self._kind = type(sampler)
        self._real = precision(dtype)
        self._sampler = self._kind(*map(self._real, sampler))

    def __call__(
        self,
        out: Any,
        begin: int,
        end: int,
        place: Any,
        key: Key,
        stream: Any = LEGACY_STREAM,
        launch: Launch | None = None,
    ) -> None:
        """Fill the elements of a place from number `begin` to before `end`, in its own C order.

        Parameters
        ----------
        out : 1-D contiguous device array, written
            All memory from the first element of the whole place to its last.
        begin, end : int
            ``0 <= begin <= end``, and no more than the place has, which is not checked.
        place
            Which elements these are: from one of the methods below.
        key : tuple of three uint64
            From `packed_key`.
        stream : CUDA stream, optional
            Where the kernel is queued.
        launch : tuple of two int, optional
            Blocks, and warps (at most 8) in each. Values do not depend on it.
        """
        if begin < end:
            self._launch(out, begin, end, place, key, stream, launch)

    def _launch(
        self, out: Any, begin: int, end: int, place: Any, key: Key, stream: Any, launch: Any
    ) -> None:
        raise NotImplementedError


class Filler(_Fills):
    """Fills elements of tables by one sampler, in one dtype.

    Parameters
    ----------
    sampler : one of the classes of `samplers`
        Its numbers are rounded to float64 for float64 output, to float32 for all others.
    dtype : numpy.dtype
        Of the output: float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    """

    WHOLE = Place(0, (), (), 2**63 - 1)  # the window that is the table: a run without end

    def window(self, base: int, shape: Sequence[int], strides: Sequence[int], run: int) -> Place:
        """Return the place of a window, of which `fills_cpu.Filler.window` says more."""
        return Place(base, tuple(shape), tuple(strides), run)

    def _launch(
        self, out: Any, begin: int, end: int, place: Any, key: Key, stream: Any, launch: Any
    ) -> None:
        if len(place.shape) > AXES or math.prod(place.shape) * len(place.ids) > RUNS:
            for first, memory, part in _halves(place):
                size = len(part.ids) * math.prod(part.shape) * part.run
                bounds = max(begin - first, 0), min(end - first, size)
                self(out[memory:], *bounds, part, key, stream, launch)
            return
        first_run = begin // place.run
        runs = (end - 1) // place.run - first_run + 1
        size = tile_values(self._real)
        tiles = (min(place.run, end - begin) + size - 2) // size + 1  # of a run, at most
        blocks, warps = launch or (block_count(-(-runs * tiles // WARPS)), WARPS)
        by_range = isinstance(place.ids, range)
        start, step = (place.ids.start, place.ids.step) if by_range else (0, 0)
        numbers = (
            *position(place.base, self._real),
            place.run,
            math.prod(place.shape),
            *position(place.row, self._real),
            start,
            step,
            place.stride,
        )
        padding = kernels_cuda.AXES - len(place.shape)
        strides = [position(stride, self._real) for stride in (*[0] * padding, *place.strides)]
        _kernel(self._kind, out.dtype.name)[blocks, warps * LANES, stream](
            out,
            out[:0].view(np.uint64) if by_range else place.ids,
            np.int64(begin),
            np.int64(end),
            tuple(map(_int64, numbers)),
            tuple(np.uint32(length) for length in (*[1] * padding, *place.shape)),
            tuple(np.int64(tiles) for tiles, _ in strides),
            tuple(np.int64(offset) for _, offset in strides),
            np.uint32(first_run),
            np.uint32(runs),
            key,
            self._sampler,
            np.uint32(min(tiles, blocks * warps)),
        )


class RowFiller(Filler):
    """Fills rows of tables by one sampler, in one dtype; see `Filler`."""

    def rows(
        self,
        ids: Any,
        row: int,
        stride: int,
        base: int = 0,
        shape: Sequence[int] = (),
        strides: Sequence[int] = (),
        run: int | None = None,
    ) -> Place:
        """Return the place of rows of a table, of which `fills_cpu.RowFiller.rows` says more.

        Parameters
        ----------
        ids : range, or 1-D contiguous device array of uint64
            Numbers of the rows.
        stride : int
            Not negative.
        row, base, shape, strides, run
            As there.
        """
        run = row if run is None else run
        return Place(base, tuple(shape), tuple(strides), run, ids, row, stride)


class KeyedFiller(_Fills):
    """Fills rows of keys by one sampler, in one dtype; see `Filler`."""

    def rows(self, keys: Any, column: int, width: int, stride: int) -> KeyedPlace:
        """Return the place of rows of keys, of which `fills_cpu.KeyedFiller.rows` says more.

        Parameters
        ----------
        keys : 1-D contiguous device array of uint64
        column, width : int
            First column, and how many.
        stride : int
            Not negative.
        """
        return KeyedPlace(keys, column, width, stride)

    def _launch(
        self, out: Any, begin: int, end: int, place: Any, key: Key, stream: Any, launch: Any
    ) -> None:
        keys, column, width, stride = place
        first_row = begin // width
        rows = (end - 1) // width - first_row + 1
        group = slots(self._real)
        lanes = rows * ((column + width - 1) // group - column // group + 1)
        together, itemsize = group * out.dtype.itemsize, out.dtype.itemsize
        steps = launch_cuda.address(out) - column * itemsize, stride * itemsize
        blocks, warps = launch or (block_count(-(-lanes // (LANES * WARPS))), WARPS)
        _keyed_kernel(self._kind, out.dtype.name)[blocks, warps * LANES, stream](
            out,
            keys,
            np.int64(begin),
            np.int64(end),
            np.int64(column),
            np.int64(width),
            np.int64(stride),
            np.uint32(not any(step % together for step in steps)),
            np.int64(first_row),
            np.int64(rows),
            key,
            self._sampler,
        )


def packed_key(key: tuple[SupportsIndex, SupportsIndex, SupportsIndex]) -> Key:
    """Return a key as kernels take it: low and high word of the seed, and the stream (or 0)."""
    low, high, stream = (np.uint64(operator.index(word)) for word in key)
    return low, high, stream


def _halves(place: Place) -> Iterator[tuple[int, int, Place]]:
    """Yield two parts of a place: its first position, where it is in the output, and itself."""
    count, inner = len(place.ids), math.prod(place.shape) * place.run
    if count > 1:
        for start, stop in ((0, count // 2), (count // 2, count)):
            part = place._replace(ids=place.ids[start:stop])
            yield start * inner, start * place.stride, part
        return
    length, *shape = place.shape
    stride, *strides = place.strides
    for start, stop in ((0, length // 2), (length // 2, length)):
        if start < stop:
            axis = ((stop - start,), (stride,)) if stop - start > 1 else ((), ())
            part = place._replace(
                base=place.base + start * stride,
                shape=(*axis[0], *shape),
                strides=(*axis[1], *strides),
            )
            yield start * (inner // length), start * (inner // length), part


def _int64(number: int) -> np.int64:
    """Return the low 64 bits of an integer."""
    return np.int64((number + 2**63) % 2**64 - 2**63)


def _kernel(sampler: type, dtype: str) -> Any:
    return launch_cuda.kernel(kernels_cuda.drawing, sampler, dtype, False)


def _keyed_kernel(sampler: type, dtype: str) -> Any:
    return launch_cuda.kernel(kernels_cuda.drawing, sampler, dtype, True)


def _constant_kernel(word: str) -> Any:
    return launch_cuda.kernel(kernels_cuda.constant, word)


def constant(
    out: Any, even: Any, odd: Any, stream: Any = LEGACY_STREAM, launch: Launch | None = None
) -> None:
    """Fill an array with one value, or with two by turns (the halves of a complex128).

    Parameters
    ----------
    out : 1-D contiguous device array, written
        uint8, uint16, uint32 or uint64: the bits of whatever the elements are.
    even, odd : scalars of the dtype of `out`
        The bits of the values.
    stream, launch
        As the classes above take them.
    """
    if out.size:
        blocks, warps = launch or (block_count(-(-out.size // (LANES * WARPS))), WARPS)
        _constant_kernel(out.dtype.name)[blocks, warps * LANES, stream](out, even, odd)
