"""What files hold, compared bit for bit with what they should hold.

The stream says what that is, or the older file of a grown table: nothing need be kept to find a
flipped bit, in a file that is finished as in one that is not.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ..storage import direct
from .layout import Extent, chunks, same_bits

CHUNK_BYTES = 16 << 20
SAMPLE = 4096  # elements of a window that is looked at
SAMPLES = 64  # of a table, where not everything is

Opened = Callable[[Extent], int]
"""Returns the open file that an extent is in."""


def differing(
    extents: Iterable[Extent], opened: Opened, shown: Callable[[int], object] = int
) -> Iterator[tuple[Extent, np.ndarray, np.ndarray]]:
    """Yield where files differ: an extent, what is there, and what should be.

    Parameters
    ----------
    extents : iterable of Extent
        Memory for three of them is taken.
    opened : callable
        Called on a thread of its own.
    shown : callable
        Told of the bytes that were compared.
    """
    right = direct.buffer(0)
    for extent, there in _read_ahead(extents, opened):
        right = _enough(right, extent)
        should = extent.generate(right)
        if not same_bits(there, should):
            yield extent, there, should
        shown(extent.nbytes)


def _read_ahead(extents: Iterable[Extent], opened: Opened) -> Iterator[tuple[Extent, np.ndarray]]:
    """Yield extents and what is there; the next one is read while one is looked at."""

    def read(extent: Extent, buffer: np.ndarray) -> np.ndarray:
        return extent.read(opened(extent), buffer)

    spare = deque([direct.buffer(0), direct.buffer(0)])
    coming: deque[tuple[Extent, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="seedbed-reader") as thread:
        for extent in extents:
            spare[0] = _enough(spare[0], extent)
            coming.append((extent, thread.submit(read, extent, spare[0])))
            spare.rotate()
            if len(coming) == len(spare):
                extent, future = coming.popleft()
                yield extent, future.result()
        for extent, future in coming:
            yield extent, future.result()


def _enough(buffer: np.ndarray, extent: Extent) -> np.ndarray:
    """Return a buffer in which an extent has room: this one if it does."""
    return buffer if extent.bounds.stop <= buffer.size else direct.buffer(extent.nbytes)


def everything(extents: Sequence[Extent]) -> Iterator[Extent]:
    """Return all of extents, in pieces that `differing` takes."""
    return chunks(extents, CHUNK_BYTES)


def samples(extents: Sequence[Extent]) -> Iterator[Extent]:
    """Yield windows at equal distances in every extent, and its end."""
    for extent in extents:
        last = max(extent.size - SAMPLE, 0)
        for start in (*range(0, extent.size, max(extent.size // SAMPLES, SAMPLE)), last):
            if start < extent.size:
                yield extent.cut(start, min(start + SAMPLE, extent.size))


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
