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
from .layout import Extent, chunks, same_bits

CHUNK_BYTES = 16 << 20
BUFFERS = 3  # one being made, one being compared, one between
SAMPLE = 4096  # elements of a random window
LOOK = 1024  # elements of a window at a fixed place
LOOKS = 64  # at a table

Opened = Callable[[Extent], int]
"""Returns the open file that an extent is in."""


def compare(
    extents: Iterable[Extent],
    opened: Opened,
    found: Callable[[Extent, np.ndarray, np.ndarray], object],
    shown: Callable[[int], object] = int,
) -> None:
    """Compare what files hold with what they should hold.

    Parameters
    ----------
    extents : iterable of Extent
        Memory for four of them is taken.
    opened, found, shown : callable
        Called on one thread at a time: where to read an extent; for each that differs, with what is
        there and what should be; how many bytes were compared.
    """
    should = itertools.cycle([_Buffer() for _ in range(BUFFERS)])
    there = _Buffer()

    def made() -> Iterator[tuple[Extent, np.ndarray]]:
        for extent in extents:
            yield extent, extent.generate(next(should).of(extent))

    def take(item: tuple[Extent, np.ndarray]) -> None:
        extent, right = item
        values = extent.read(opened(extent), there.of(extent))
        if not same_bits(values, right):
            found(extent, values, right)
        shown(extent.nbytes)

    threads.hand_over(made(), take, ahead=BUFFERS - 1)


def first_difference(extents: Iterable[Extent], opened: Opened) -> str:
    """Return which element differs first, in words; nothing if all are equal."""
    words: list[str] = []

    def until() -> Iterator[Extent]:
        for extent in extents:
            if words:
                return
            yield extent

    compare(until(), opened, lambda *difference: words.append(first(*difference)))
    return words[0] if words else ""


class _Buffer:
    """Memory that grows to what is asked for."""

    def __init__(self) -> None:
        self._memory = direct.buffer(0)

    def of(self, extent: Extent) -> np.ndarray:
        """Return a `direct.buffer` in which an extent has room."""
        if self._memory.size < extent.bounds.stop:
            self._memory = direct.buffer(extent.nbytes)
        return self._memory


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
    """Return which element differs first, what it is and what it should be."""
    at = int(_unequal(there, right).argmax())
    index = np.unravel_index(extent.begin + at, extent.table.stored_shape or (1,))
    where = ", ".join(str(int(i)) for i in index) if extent.table.stored_shape else ""
    return f"{extent.table.name}[{where}] is {there[at]}, should be {right[at]}"


def _unequal(there: np.ndarray, right: np.ndarray) -> np.ndarray:
    unequal = there.view(np.uint8) != right.view(np.uint8)
    return unequal.reshape(-1, right.itemsize).any(axis=1)
