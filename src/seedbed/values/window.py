"""Windows: slices of a full shape, and the runs of elements that they consist of."""

import math
import operator
from collections.abc import Iterator

Window = tuple[slice, ...]


def check_window(window: Window, shape: tuple[int, ...], owner: str) -> Window:
    """Return a window with plain bounds: ``0 <= start <= stop <= size`` on each axis."""
    given = f"given {window!r} for shape {shape}"
    if not isinstance(window, tuple) or not all(isinstance(part, slice) for part in window):
        raise TypeError(f"{owner}: window must be a tuple of slices; {given}")
    if len(window) != len(shape):
        raise ValueError(f"{owner}: window must have one slice for each axis; {given}")
    bounds = []
    for part, size in zip(window, shape, strict=True):
        try:
            start = 0 if part.start is None else operator.index(part.start)
            stop = size if part.stop is None else operator.index(part.stop)
            step = 1 if part.step is None else operator.index(part.step)
        except TypeError:
            raise TypeError(f"{owner}: window must have integer bounds; {given}") from None
        start, stop = start + size * (start < 0), stop + size * (stop < 0)
        if step != 1:
            raise ValueError(f"{owner}: window must have slices of step 1; {given}")
        if not 0 <= start <= stop <= size:
            raise ValueError(f"{owner}: window must lie inside the shape; {given}")
        bounds.append(slice(start, stop))
    return tuple(bounds)


def everything(shape: tuple[int, ...]) -> Window:
    """Return the window that is the whole table, with plain bounds."""
    return tuple(slice(0, size) for size in shape)


def runs(shape: tuple[int, ...], bounds: Window) -> tuple[int, list[int], list[int], int]:
    """Return a window as runs of elements that follow each other in the full table.

    That is: the number of its first element, the lengths and strides (in elements) of the axes over
    the runs, and the length of a run.
    """
    lengths: list[int] = []
    strides: list[int] = []
    base, run, stride, whole = 0, 1, 1, True
    for size, part in zip(reversed(shape), reversed(bounds), strict=True):
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
    return base, lengths[::-1], strides[::-1], run


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
        yield (slice(first, last), *(slice(0, length) for length in inner))
    if rest:
        yield from _in_row(last, inner, 0, rest)


def _in_row(row: int, inner: tuple[int, ...], begin: int, end: int) -> Iterator[Window]:
    for window in windows(inner, begin, end):
        yield (slice(row, row + 1), *window)
