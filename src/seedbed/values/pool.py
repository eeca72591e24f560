"""The thread pool: threads that help their callers, and are never waited for in vain.

No work is left to a helper alone: the caller does what no thread has taken. So a thread that cannot
be started, is busy or has ended costs time, and nothing else.
"""

import atexit
import contextlib
import os
import queue
import sys
import time
import weakref
from _thread import allocate_lock, start_new_thread  # as one, where gevent replaces them
from collections.abc import Callable
from typing import Any

from seedbed_kernels.locks import Lock

LONGEST = 1000  # offers that wait: no thread is free for long, and more of them would not help
LAYERS = 5  # interrupts that may come within the microseconds in which one is dealt with
PATIENCE = 5.0  # seconds that the end of the interpreter waits for threads at work


def most() -> int:
    """Return how many threads Numba may be set to, without importing it."""
    config = sys.modules.get("numba.core.config")  # no import: another thread may be at it
    if hasattr(config, "NUMBA_NUM_THREADS"):
        return config.NUMBA_NUM_THREADS  # pyright: ignore[reportOptionalMemberAccess]
    asked = os.environ.get("NUMBA_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """Threads that help with jobs. They are started on demand and sleep in between.

    They are no `threading.Thread`s: to start one is a single call, which an interrupt cannot
    divide and which waits for nothing, and the interpreter does not wait for them at its end.
    """

    def __init__(self) -> None:
        self._offers: queue.SimpleQueue[Callable[[], Job | None] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._turn = allocate_lock()  # of the threads; callers look on without it
        self._threads = self._busy = 0
        self._closed = False

    def invite(self, job: "Job", helpers: int) -> None:
        """Ask so many threads to help with a job; start those that are missing."""
        if self._closed:
            return
        limit, there = most(), self._threads
        try:
            for _ in range(min(helpers + self._busy, limit) - there):
                start_new_thread(self._serve, (limit,))
                there += 1
        except (RuntimeError, MemoryError):  # the system, or the end of the interpreter, says no
            pass
        offer = weakref.ref(job)  # who comes late must not keep alive what is over
        for _ in range(min(helpers, there, LONGEST - self._offers.qsize())):
            self._offers.put(offer)

    def _serve(self, limit: int) -> None:
        with self._turn:
            if self._closed or self._threads >= limit:
                return
            self._threads += 1
        try:
            while (offer := self._offers.get()) is not None:
                self._help(offer())
        finally:
            with self._turn:
                self._threads -= 1
            self._ended.put(None)

    def _help(self, job: "Job | None") -> None:
        if job is None:  # over
            return
        with self._turn:
            self._busy += 1
        try:
            job.help()
        finally:
            with self._turn:
                self._busy -= 1

    def close(self) -> None:
        """End the threads, so that none is at work while the interpreter is taken apart."""
        with self._turn:
            self._closed = True
        for _ in range(self._threads):
            self._offers.put(None)
        end = time.monotonic() + PATIENCE
        while self._threads and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=max(end - time.monotonic(), 0))


class Job:
    """Work of a caller that threads of the pool may help with, part by part."""

    def __init__(self, room: int) -> None:
        self.room = room  # for so many helpers
        self.turn = Lock()
        self.helpers = 0
        self.left = allocate_lock()  # released as the last helper leaves a stopped job
        self.left.acquire()
        self.stopped = False  # nobody joins any more
        self.over = False
        self.failure: BaseException | None = None

    def claim(self) -> Any:
        """Return a part that nobody does yet, or None. The turn is held."""
        raise NotImplementedError

    def do(self, part: Any) -> None:
        """Do a part."""
        raise NotImplementedError

    def go(self) -> None:
        """Do what is left of the job, on the calling thread, and wait for the helpers."""
        raise NotImplementedError

    def help(self) -> None:
        """Do parts of the job, on a thread of the pool."""
        joined = False
        while True:
            try:
                with self.turn:
                    if not joined:
                        if self.stopped or self.helpers >= self.room:
                            return
                        self.helpers += 1
                        joined = True
                    part = self.claim()
                    if part is None:
                        self.helpers -= 1
                        if self.stopped and not self.helpers:
                            self.left.release()
                        return
                self.do(part)
                del part  # before the next one is waited for
            except BaseException as error:
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Stop. The first error counts, but an interrupt more than an error."""
        self.stopped = True
        interrupted = not isinstance(error, Exception)
        if self.failure is None or (interrupted and isinstance(self.failure, Exception)):
            self.failure = error

    def settle(self) -> None:
        """Wait until no helper is at work; none joins any more."""
        while True:
            with self.turn:
                self.stopped = True
                if not self.helpers:
                    break
            self.left.acquire()
        self.over = True


def complete(job: Job) -> None:
    """Do a job, and raise what stopped it once no helper is at work."""
    _persist(job, LAYERS)
    failure, job.failure = job.failure, None  # no cycle with its traceback
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


def _persist(job: Job, layers: int) -> None:
    """Go on until a job is over, whatever interrupts it.

    An interrupt may come between any two instructions, and the next while one is dealt with. Each
    layer guards those inside it.
    """
    while not job.over:
        try:
            if layers:
                _persist(job, layers - 1)
            else:
                job.go()
        except BaseException as error:
            job.stopped = True  # no call: nothing comes between
            job.fail(error)


_pool = Pool()


def invite(job: Job, helpers: int) -> None:
    """Ask so many threads to help with a job; as many come as the system allows."""
    _pool.invite(job, helpers)


def _start_afresh() -> None:
    """Give a forked child a pool of its own: it inherits the one of its parent without threads."""
    global _pool
    _pool = Pool()


atexit.register(lambda: _pool.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
