"""Work on all threads: chunks of a range side by side; items that another thread takes in order.

Kernels and system calls release the GIL, so plain Python threads run them side by side. Unlike
Numba's own ``prange`` they survive ``fork``, may be asked by several threads at once, and let
Ctrl-C through between chunks.
"""

import sys
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from . import pool
from .pool import most


def count() -> int:
    """Return how many threads a fill uses: as many as Numba is set to.

    ``NUMBA_NUM_THREADS`` sets it for a process and ``numba.set_num_threads`` for a thread of it.
    """
    numba: Any = sys.modules.get("numba.np.ufunc.parallel")  # no import: as in `most`
    if not hasattr(numba, "get_num_threads"):
        return most()
    try:
        numba.threading_layer()
    except ValueError:  # nobody has set a number yet; asking would start Numba's own threads
        return most()
    return numba.get_num_threads()


def run_chunks(task: Callable[[int, int], object], n: int, grain: int) -> None:
    """Call ``task(begin, end)`` for consecutive chunks of ``range(n)``, on all threads.

    Parameters
    ----------
    task : callable
        Must not depend on how the range is cut, nor on the order of the chunks.
    n : int
        Length of the range.
    grain : int
        Length of a chunk. A range no longer than this runs on the calling thread at once.

    Raises
    ------
    BaseException
        The first that a task raised (or KeyboardInterrupt, within the time of one chunk), once
        no thread works on the range any more.

    Examples
    --------
    >>> squares = [0] * 10
    >>> def task(begin, end):
    ...     squares[begin:end] = [i * i for i in range(begin, end)]
    >>> run_chunks(task, 10, grain=3)
    >>> squares
    [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
    """
    if n <= grain:
        task(0, n)
    else:
        pool.complete(_Chunks(task, n, grain))


def hand_over(items: Iterable[Any], take: Callable[[Any], object], ahead: int) -> None:
    """Call ``take(item)`` for each item, in order, while the next ones are being made.

    Parameters
    ----------
    items : iterable
        Makes the items, on the calling thread.
    take : callable
        Called on one thread at a time.
    ahead : int
        How many items at most are made and not taken when the next one is begun.

    Raises
    ------
    BaseException
        The first that either raised (or KeyboardInterrupt), once neither is at work any more.

    Examples
    --------
    >>> taken = []
    >>> hand_over(range(5), taken.append, ahead=2)
    >>> taken
    [0, 1, 2, 3, 4]
    """
    pool.complete(_Handover(items, take, ahead))


class _Chunks(pool.Job):
    """Consecutive chunks of a range."""

    def __init__(self, task: Callable[[int, int], object], n: int, grain: int) -> None:
        super().__init__(room=min(count(), -(-n // grain)) - 1)
        self.task, self.n, self.grain = task, n, grain
        self.begin = 0
        self.invited = False

    def claim(self) -> tuple[int, int] | None:
        if self.stopped or self.begin >= self.n:
            return None
        begin, self.begin = self.begin, min(self.begin + self.grain, self.n)
        return begin, self.begin

    def do(self, part: tuple[int, int]) -> None:
        self.task(*part)

    def go(self) -> None:
        if not self.invited:
            self.invited = True
            pool.invite(self, self.room)
        while True:
            with self.turn:
                part = self.claim()
            if part is None:
                break
            self.task(*part)
        self.settle()


class _Handover(pool.Job):
    """Items on their way from the caller to whoever takes them: a helper, else the caller."""

    def __init__(self, items: Iterable[Any], take: Callable[[Any], object], ahead: int) -> None:
        super().__init__(room=1)
        self.items, self.take, self.ahead = iter(items), take, ahead
        self.waiting: deque[tuple[Any, Any]] = deque()  # items that nobody takes yet
        self.made: deque[Any] = deque()  # a lock for each that is perhaps not taken yet
        self.alone = False  # the caller takes one

    def claim(self) -> tuple[Any, Any] | None:
        return self.waiting.popleft() if self.waiting and not self.alone else None

    def do(self, part: tuple[Any, Any]) -> None:
        item, taken = part
        try:
            if not self.stopped:
                self.take(item)
        except BaseException as error:
            self.fail(error)
        finally:
            taken.release()

    def go(self) -> None:
        if not self.stopped:
            for item in self.items:
                self._hand(item)
                while len(self.made) > self.ahead:
                    self._wait()
                if self.stopped:
                    break
            while self.made:
                self._wait()
        self.settle()

    def _hand(self, item: Any) -> None:
        taken = allocate_lock()
        taken.acquire()
        self.made.append(taken)
        with self.turn:
            self.waiting.append((item, taken))
            helped = self.helpers
        if not helped:
            pool.invite(self, 1)

    def _wait(self) -> None:
        """Return once the oldest item is taken: by a helper, or by the caller if there is none."""
        taken = self.made.popleft()
        while True:
            part = None
            with self.turn:
                if self.waiting and not self.helpers and not self.stopped:
                    self.alone = True
                    part = self.waiting.popleft()
            if part is None:
                break
            self.do(part)
            self.alone = False
        if not self.stopped:  # who takes it tells, also if it fails
            taken.acquire()
