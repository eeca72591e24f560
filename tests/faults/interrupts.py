"""Interrupts at every instruction: when an interrupt comes out, no helper is at work any more.

``python -m tests.faults.interrupts [STEP]`` (1) sends SIGINT to a run of chunks, and to a handing
over, at each of their instructions (each STEP-th); then up to three more at each small distance.

Tracing only says when; the interpreter itself raises KeyboardInterrupt, where it would do so.
"""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from seedbed.values import pool, threads
from seedbed_kernels import locks

interrupt = ctypes.PyDLL(None).PyErr_SetInterrupt  # is a trace function that runs no Python code
interrupt.restype, interrupt.argtypes = None, [ctypes.py_object] * 3


class Interrupts:
    """Interrupts of the code of the pool: so many, at trace event `first` and each `gap` later."""

    def __init__(self, first: int, count: int = 1, gap: int = 1) -> None:
        self.at, self.left, self.gap = first, count, gap
        self.seen = self.raised = 0
        self.late = False

    def __enter__(self) -> "Interrupts":
        signal.signal(signal.SIGINT, self._handle)
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self.left = 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename == __file__:
            self.late = frame.f_code.co_name in ("_enter", "_step")  # once more in what is traced
        elif self.left:
            self.left -= 1
            self.raised += 1
            self.at = self.seen + self.gap
            raise KeyboardInterrupt

    def _enter(self, frame: FrameType, *_: object) -> Any:
        if frame.f_code.co_filename not in (pool.__file__, threads.__file__, locks.__file__):
            return None
        frame.f_trace_opcodes = True
        return self._step()

    def _step(self, *_: object) -> Any:
        self.seen += 1
        if self.late or self.seen == self.at:
            self.late = False
            return interrupt
        return self._step


class Chunks:
    """A run of chunks: the main thread soon has done its own and waits for others."""

    def __init__(self) -> None:
        self.main = threading.get_ident()
        self.done: list[int] = []
        self.working = 0
        self.begun = threading.Event()

    def __call__(self) -> None:
        threads.run_chunks(self.task, 8, 1)

    def task(self, begin: int, end: int) -> None:
        if threading.get_ident() == self.main:
            self.begun.wait(0.003)
        else:
            self.working += 1
            self.begun.set()
            time.sleep(0.001)
            self.working -= 1
        self.done += range(begin, end)

    def is_right(self) -> bool:
        return sorted(self.done) == list(range(8))


class Handover(Chunks):
    """Items that are handed over."""

    def __call__(self) -> None:
        threads.hand_over(range(4), lambda item: self.task(item, item + 1), 1)

    def is_right(self) -> bool:
        return self.done == list(range(4))


def tried(kind: Callable[[], Chunks], interrupts: Interrupts) -> bool:
    """Interrupt one run; return whether there was still something to interrupt."""
    body, how = kind(), (kind, interrupts.at, interrupts.gap)
    came_out = False
    try:
        with interrupts:
            body()
    except KeyboardInterrupt:
        came_out = True
    assert not body.working, ("a helper is at work", how)
    assert came_out == bool(interrupts.raised), ("an interrupt is lost", how)
    assert came_out or body.is_right(), ("wrong without an interrupt", how)
    return came_out or interrupts.seen >= interrupts.at


def main(step: int = 1) -> None:
    """Try everything."""
    import numba

    numba.set_num_threads(3)
    for kind in (Chunks, Handover):
        runs = 0
        for count in (1, 2, 4):
            for gap in range(1, 40, 1 if step == 1 else 6) if count > 1 else (1,):
                first = 1 + gap % step
                while tried(kind, Interrupts(first, count, gap)):
                    first += step * (1 if count == 1 else 7)
                    runs += 1
        print(
            f"{runs} interrupted runs of {kind.__name__.lower()} ended as they should", flush=True
        )
    together = threading.Barrier(3, timeout=20)
    threads.run_chunks(lambda begin, end: together.wait(), 3, 1)  # all threads are there still


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
