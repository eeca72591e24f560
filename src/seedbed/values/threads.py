"""The thread pool: one task over many chunks of a range.

Kernels release the GIL, so plain Python threads run them side by side. Unlike Numba's own
``prange`` this survives ``fork``, may be entered from several threads at once, and lets Ctrl-C
through between chunks.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def count() -> int:
    """Return how many threads a fill uses: as many as Numba is set to.

    ``NUMBA_NUM_THREADS`` sets it for a process and ``numba.set_num_threads`` for a thread of it.
    """
    if "numba" not in sys.modules:
        return most()
    from numba import get_num_threads
    from numba.np.ufunc.parallel import threading_layer

    try:
        threading_layer()
    except ValueError:  # nobody has set a number yet; asking would start Numba's own threads
        return most()
    return get_num_threads()


def most() -> int:
    """Return how many threads Numba may be set to, without importing it."""
    if "numba" in sys.modules:
        from numba.core import config

        return config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(most(), thread_name_prefix="seedbed")
        return _pool


def _start_afresh() -> None:
    """Drop the pool in a forked child, which inherits it without its threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


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
        return

    starts = iter(range(0, n, grain))
    turn = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with turn:
                begin = next(starts, None)
            if begin is None:
                return
            try:
                task(begin, min(begin + grain, n))
            except BaseException:
                stopped.set()
                raise

    workers = min(count(), -(-n // grain))
    helpers = []
    with contextlib.suppress(RuntimeError):  # Python is ending: the calling thread does it all
        helpers = [_executor().submit(work) for _ in range(workers - 1)]
    try:
        work()  # the calling thread takes its share; Ctrl-C arrives here
        # Helpers not begun have nothing left to do; waiting for them could deadlock nested runs.
        for helper in helpers:
            if not helper.cancel():
                helper.result()
    except BaseException:
        stopped.set()
        wait([helper for helper in helpers if not helper.cancel()])
        raise
