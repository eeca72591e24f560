"""What is made of a table: a window, rows by number, or rows by key, as the kernels take them."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, as_index, brief
from .window import Window, check_window, everything, runs

FEW = 16  # numbers of which Python finds the ends more quickly than NumPy

Ids = np.ndarray | range
"""Row numbers: one-dimensional, contiguous, int64 or uint64; or an arithmetic sequence."""

GPUS = (2, 13)  # DLPack's numbers of CUDA devices


class Rows(NamedTuple):
    """Rows of a table by their numbers, or a window in each of them.

    Parameters
    ----------
    ids : Ids, or seedbed.gpu.ids.DeviceIds
        Inside the table; of those on a GPU nobody knows.
    row : int
        Elements of a row of the full table.
    base, lengths, strides, run
        The window in a row, as `Runs` has it.
    """

    ids: Any
    row: int
    base: int
    lengths: list[int]
    strides: list[int]
    run: int


class Keys(NamedTuple):
    """Rows by their keys: consecutive columns of each.

    Parameters
    ----------
    keys : numpy.ndarray, or seedbed.gpu.ids.DeviceIds
        One-dimensional, contiguous, uint64.
    column, width : int
        The first column, and how many.
    """

    keys: Any
    column: int
    width: int


def rows_of(ids: Any, shape: tuple[int, ...], window: Window) -> Rows:
    """Return the selection of some rows, and of a window on all other axes."""
    inner = runs(shape[1:], window[1:])
    return Rows(ids, math.prod(shape[1:]), *inner)


def row_distance(
    shape: Sequence[int], strides: Sequence[int], outer: int, unit: int = 1
) -> int | None:
    """Return how many elements lie between the beginnings of two rows of an array.

    None if it does not consist of contiguous rows, at one distance and without overlap.

    Parameters
    ----------
    shape, strides : sequence of int
    outer : int
        How many of the first axes count the rows.
    unit : int
        An element, as `strides` count it: 1, or its bytes.

    Examples
    --------
    >>> row_distance((5, 3), (8, 1), 1), row_distance((5, 3), (8, 2), 1)
    (8, None)
    """
    if 0 in shape:
        return math.prod(shape[outer:])
    step = unit
    for length, stride in reversed(list(zip(shape[outer:], strides[outer:], strict=True))):
        if length > 1 and stride != step:
            return None
        step *= length
    axes = [(n, s) for n, s in zip(shape[:outer], strides[:outer], strict=True) if n > 1]
    if any(s != t * n for (_, s), (n, t) in itertools.pairwise(axes)):
        return None
    distance = axes[-1][1] if axes else step
    return distance // unit if abs(distance) >= step and distance % unit == 0 else None


def check_rows(rows: Any, count: int) -> tuple[Ids, tuple[int, ...]]:
    """Return row numbers, and the shape in which they were given.

    Parameters
    ----------
    rows : slice, range, or array or sequence of int
        A slice means what it means in NumPy; numbers must lie in [0, count).
    count : int
        Rows of the full table.
    """
    if isinstance(rows, slice):
        try:
            rows = range(*rows.indices(count))
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"rows must be integers; given {rows}: {error}") from None
    if isinstance(rows, range):
        length = max(0, -((rows.start - rows.stop) // rows.step))  # len() has less range
        ends = (rows.start, rows.start + (length - 1) * rows.step) if length else ()
        for number, place in zip(ends, (0, length - 1), strict=False):
            if not 0 <= number < count:
                raise _outside(number, place, count)
        return range(rows.start, rows.start + length * rows.step, rows.step), (length,)
    ids = _integers(rows, "rows")
    flat = ids.reshape(-1)
    if flat.size:
        numbers = flat.tolist() if flat.size <= FEW else (int(flat.min()), int(flat.max()))
        least, most = min(numbers), max(numbers)
        if not (least >= 0 and most < count):
            lost = flat < 0 if most < count else (flat < 0) | (flat >= count)
            place = int(np.argmax(lost))
            raise _outside(int(flat[place]), place, count)
    return flat, ids.shape


def _outside(number: int, place: int, count: int) -> ArgumentError:
    return ArgumentError(f"rows must lie in [0, {count}); given {number} at place {place}")


def on_gpu(values: Any) -> bool:
    """Return whether an array says that it is in the memory of a GPU."""
    try:
        kind, _ = values.__dlpack_device__()
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return hasattr(values, "__cuda_array_interface__")
    return kind in GPUS


def check_window_of_rows(window: Any, shape: tuple[int, ...]) -> Window:
    """Return a window whose first axis is left to row numbers: ``(None, slice(0, 32))``."""
    if not shape:
        raise ArgumentError("rows need a table with rows; given shape ()")
    if window is None:
        return everything(shape)
    if not isinstance(window, tuple) or len(window) != len(shape):
        raise ArgumentTypeError(
            f"window must have None and one slice for each other axis; given {brief(window)} "
            f"for shape {brief(shape)}"
        )
    first, *others = window
    if first is not None and not _is_full(first):
        raise ArgumentError(
            "window must have None for the first axis, of which rows are given; "
            f"given {brief(first)}"
        )
    return check_window((slice(None), *(slice(None) if o is None else o for o in others)), shape)


def _is_full(axis: Any) -> bool:
    """Return whether something is ``:``; it may be anything."""
    return isinstance(axis, slice) and axis.start is axis.stop is axis.step is None


def check_keys(keys: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return keys as bits (uint64), and the shape in which they were given.

    Parameters
    ----------
    keys : int, array or sequence of int
        In [-2**63, 2**64): -1 and 2**64 - 1 are the same key.
    """
    if isinstance(keys, (list, tuple)):
        keys = _bits_of_integers(keys)
    found = _integers(keys, "keys")
    return found.reshape(-1).view(np.uint64), found.shape


def _bits_of_integers(keys: Sequence[Any]) -> Any:
    """Return Python's integers as uint64, so that large and negative ones may stand together."""
    try:
        numbers = [as_index(key) for key in keys if not isinstance(key, bool)]
    except TypeError:
        return keys
    if len(numbers) < len(keys) or not all(-(2**63) <= number < 2**64 for number in numbers):
        raise ArgumentError(f"keys must be integers in [-2**63, 2**64); given {brief(keys)}")
    return np.array([number % 2**64 for number in numbers], np.uint64)


def check_columns(columns: slice | None, width: Any, most: int) -> tuple[int, int, int]:
    """Return width, first column and how many of rows of keys."""
    try:
        width = as_index(width)
    except TypeError:
        raise ArgumentTypeError(f"width must be an integer; given {brief(width)}") from None
    if not 0 <= width <= most:
        raise ArgumentError(f"width must be in [0, {most}]; given {brief(width)}")
    if columns is None:
        return width, 0, width
    try:
        (axis,) = check_window((columns,), (width,))
    except (ArgumentError, ArgumentTypeError):
        raise ArgumentError(
            f"columns must be a slice of step 1 inside the width {width}; given {brief(columns)}"
        ) from None
    return width, axis.start, axis.stop - axis.start


def _integers(values: Any, name: str) -> np.ndarray:
    """Return integers of any library as a contiguous array of int64 or uint64."""
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        given = f"given {brief(values)}: {error}"
        raise ArgumentTypeError(f"{name} must be integers; {given}") from None
    if found.size == 0 and found.dtype.kind == "f":  # an empty list
        found = found.astype(np.int64)
    if found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name} must be integers; given {brief(values)}")
    wide = np.uint64 if found.dtype.kind == "u" else np.int64
    return np.ascontiguousarray(found, wide).reshape(found.shape)
