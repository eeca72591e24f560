"""Windows: slices of a full shape, and the runs of elements that they consist of."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ArgumentError, ArgumentTypeError, as_index, brief

Window = tuple[slice, ...]
"""One slice of step 1 for each axis."""


class Runs(NamedTuple):
    """A window as runs: elements that follow each other in the C order of the full table.

    Parameters
    ----------
    base : int
        The number of the window's first element.
    lengths, strides : list of int
        The axes over the runs: how many there are, and how many elements lie between two.
    run : int
        Elements of a run.
    """

    base: int
    lengths: list[int]
    strides: list[int]
    run: int


WHOLE = Runs(0, [], [], 2**63 - 1)  # the whole table: a run without end


def check_window(window: Window, shape: tuple[int, ...]) -> Window:
    """Return a window with plain bounds: ``0 <= start <= stop <= size`` on each axis."""
    if not isinstance(window, tuple) or not all(isinstance(part, slice) for part in window):
        raise _refused(ArgumentTypeError, "a tuple of slices", window, shape)
    if len(window) != len(shape):
        raise _refused(ArgumentError, "one slice for each axis", window, shape)
    axes = zip(window, shape, strict=True)
    return tuple([_bounds(part, size, window, shape) for part, size in axes])


def _bounds(part: slice, size: int, window: Window, shape: tuple[int, ...]) -> slice:
    try:
        start = 0 if part.start is None else as_index(part.start)
        stop = size if part.stop is None else as_index(part.stop)
        step = 1 if part.step is None else as_index(part.step)
    except TypeError:
        raise _refused(ArgumentTypeError, "integer bounds", window, shape) from None
    if start < 0:
        start += size
    if stop < 0:
        stop += size
    if step != 1:
        raise _refused(ArgumentError, "slices of step 1", window, shape)
    if not 0 <= start <= stop <= size:
        raise _refused(ArgumentError, "bounds inside the shape", window, shape)
    return slice(start, stop)


def _refused(kind: type[Exception], need: str, window: object, shape: object) -> Exception:
    return kind(f"window must have {need}; given {brief(window)} for shape {brief(shape)}")


def everything(shape: tuple[int, ...]) -> Window:
    """Return the window that is the whole table, with plain bounds."""
    return tuple(slice(0, size) for size in shape)


def runs(shape: tuple[int, ...], window: Window | None) -> Runs:
    """Return a window, or the whole table, as runs.

    Examples
    --------
    >>> runs((5, 4, 3), (slice(1, 3), slice(2, 4), slice(0, 3)))
    Runs(base=18, lengths=[2], strides=[12], run=6)
    """
    if window is None:
        return WHOLE
    lengths: list[int] = []
    strides: list[int] = []
    base, run, stride, whole = 0, 1, 1, True
    for size, part in zip(reversed(shape), reversed(window), strict=True):
        length = part.stop - part.start
        base += part.start * stride
        if whole:
            run *= length
        elif lengths and strides[-1] * lengths[-1] == stride:
            lengths[-1] *= length
        elif length > 1:
            lengths.append(length)
            strides.append(stride)
        whole = whole and length == size
        stride *= size
    return Runs(base, lengths[::-1], strides[::-1], run)


def windows(shape: tuple[int, ...], begin: int, end: int) -> Iterator[Window]:
    """Yield windows of a shape that together are the elements `begin` to `end` in C order.

    Examples
    --------
    >>> list(windows((5, 4), 2, 13))  # doctest: +NORMALIZE_WHITESPACE
    [(slice(0, 1, None), slice(2, 4, None)),
     (slice(1, 3, None), slice(0, 4, None)),
     (slice(3, 4, None), slice(0, 1, None))]
    """
    if begin >= end:
        return
    if not shape:
        yield ()
        return
    inner = shape[1:]
    row = math.prod(inner)
    first, skip = divmod(begin, row)
    last, rest = divmod(end, row)
    if first == last:
        yield from _in_row(first, inner, skip, rest)
        return
    if skip:
        yield from _in_row(first, inner, skip, row)
        first += 1
    if first < last:
        yield (slice(first, last), *everything(inner))
    if rest:
        yield from _in_row(last, inner, 0, rest)


def _in_row(row: int, inner: tuple[int, ...], begin: int, end: int) -> Iterator[Window]:
    for window in windows(inner, begin, end):
        yield (slice(row, row + 1), *window)
