"""What files hold, compared bit for bit with what they should hold.

The stream says what that is, or the older file of a grown table: nothing need be kept to find a
flipped bit, in a file that is finished as in one that is not.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..storage import direct
from ..values import threads
from .layout import TOGETHER, Extent, chunks, same_bits

CHUNK_BYTES = 16 << 20
BUFFERS = 3  # one being made, one being compared, one between
SAMPLE = 4096  # elements of a random window
LOOK = 1024  # elements of a window at a fixed place
LOOKS = 64  # at a table

Read = Callable[[Sequence[tuple[Extent, np.ndarray]]], object]
"""Fills arrays with the bytes that are where extents are."""


def on_disk(opened: Callable[[Extent], int]) -> Read:
    """Return how extents of open files are read."""

    def read(wanted: Sequence[tuple[Extent, np.ndarray]]) -> None:
        for extent, data in wanted:
            direct.read_all(opened(extent), data, extent.offset)

    return read


def compare(
    extents: Iterable[Extent],
    read: Read,
    found: Callable[[Extent, np.ndarray, np.ndarray], object],
    shown: Callable[[int], object] = int,
) -> None:
    """Compare what files hold with what they should hold.

    Parameters
    ----------
    extents : iterable of Extent
        Of ``CHUNK_BYTES`` at most; memory for four of them is taken. Smaller ones are read
        together.
    read, found, shown : callable
        Called on one thread at a time: what reads; for each extent that differs, with what is
        there and what should be; how many bytes were compared.
    """
    should = itertools.cycle([_Buffer() for _ in range(BUFFERS)])
    there = _Buffer()

    def made() -> Iterator[list[tuple[Extent, np.ndarray]]]:
        for some in _together(extents):
            memory = next(should).of(some)
            yield [(extent, extent.generate(one)) for extent, one in zip(some, memory, strict=True)]

    def take(items: list[tuple[Extent, np.ndarray]]) -> None:
        some = [extent for extent, _ in items]
        memory = there.of(some)
        data = [one[extent.bounds] for extent, one in zip(some, memory, strict=True)]
        read(list(zip(some, data, strict=True)))
        for (extent, right), one in zip(items, data, strict=True):
            values = one.view(right.dtype)
            if not same_bits(values, right):
                found(extent, values, right)
        shown(sum(extent.nbytes for extent in some))

    threads.hand_over(made(), take, ahead=BUFFERS - 1)


def _together(extents: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Yield extents in lists that are no longer than one of them may be."""
    some: list[Extent] = []
    for extent in extents:
        nbytes = sum(one.nbytes for one in (*some, extent))
        if some and (nbytes > CHUNK_BYTES or len(some) == TOGETHER):
            yield some
            some = []
        some.append(extent)
    if some:
        yield some


def first_difference(extents: Iterable[Extent], read: Read) -> str:
    """Return which element differs first, in words; nothing if all are equal."""
    words: list[str] = []

    def until() -> Iterator[Extent]:
        for extent in extents:
            if words:
                return
            yield extent

    compare(until(), read, lambda *difference: words.append(first(*difference)))
    return words[0] if words else ""


class _Buffer:
    """Memory that grows to what is asked for."""

    def __init__(self) -> None:
        self._memory = direct.buffer(0)

    def of(self, extents: Sequence[Extent]) -> list[np.ndarray]:
        """Return a `direct.buffer` for each extent."""
        sizes = [-(-extent.bounds.stop // direct.PAGE) * direct.PAGE for extent in extents]
        if self._memory.size < sum(sizes):
            self._memory = direct.buffer(sum(sizes))
        ends = itertools.accumulate(sizes)
        return [self._memory[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def everything(extents: Sequence[Extent]) -> Iterator[Extent]:
    """Return all of extents, in pieces of at most ``CHUNK_BYTES``."""
    return chunks(extents, CHUNK_BYTES)


def samples(extents: Sequence[Extent]) -> Iterator[Extent]:
    """Yield windows at equal distances in every extent, and its end."""
    for extent in extents:
        last = max(extent.size - LOOK, 0)
        for start in (*range(0, extent.size, max(extent.size // LOOKS, LOOK)), last):
            if start < extent.size:
                yield extent.cut(start, min(start + LOOK, extent.size))


def random_samples(extents: Sequence[Extent], count: int) -> Iterator[Extent]:
    """Yield so many random windows, more of longer extents; all, if that is no more work."""
    ends = list(itertools.accumulate(extent.size for extent in extents))
    if not ends or count * SAMPLE >= ends[-1]:
        yield from everything(extents)
        return
    for _ in range(count):
        (extent,) = random.choices(extents, cum_weights=ends)
        begin = random.randrange(max(extent.size - SAMPLE, 0) + 1)
        yield extent.cut(begin, min(begin + SAMPLE, extent.size))


def count(there: np.ndarray, right: np.ndarray) -> int:
    """Return how many elements differ."""
    return int(_unequal(there, right).sum())


def first(extent: Extent, there: np.ndarray, right: np.ndarray) -> str:
    """Return which element differs first, what it is and what it should be.

    Its row is that of the file, or of the full table where that is in several files.
    """
    at = int(_unequal(there, right).argmax())
    table = extent.table
    index = list(map(int, np.unravel_index(extent.begin + at, table.stored_shape or (1,))))
    index[0] += table.first_row if extent.file.name else 0
    where = ", ".join(map(str, index)) if table.stored_shape else ""
    return f"{table.name}[{where}] is {there[at]}, should be {right[at]}"


def _unequal(there: np.ndarray, right: np.ndarray) -> np.ndarray:
    unequal = there.view(np.uint8) != right.view(np.uint8)
    return unequal.reshape(-1, right.itemsize).any(axis=1)
