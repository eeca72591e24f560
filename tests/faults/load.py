"""Load: many callers, processes of every kind, signals, little memory, very many calls.

``python -m tests.faults.load [SHARE]`` (1.0) does so much of: 64 threads that call initializers at
once; children by fork, spawn and forkserver; fills under a timer's signals; fills and tables in
less and less memory; 100,000 calls, after which memory, threads and descriptors are those of
before. Each line says what was done; the first that is wrong ends the program.
"""

import gc
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.forks import ended_as

CALLS: dict[str, tuple[tuple[int, ...], str]] = {
    "RandomUniform": ((1200, 1000), "float32"),
    "RandomNormal": ((64, 64), "bfloat16"),
    "TruncatedNormal": ((700_001,), "float64"),
    "GlorotUniform": ((64, 64), "float32"),
    "Orthogonal": ((96, 64), "float32"),
    "Constant": ((3_000_000,), "int8"),
}


def draw(name: str) -> bytes:
    """Return the bytes of one of the calls."""
    from seedbed import initializers

    kind = getattr(initializers, name)
    shape, dtype = CALLS[name]
    return (kind(3) if name == "Constant" else kind(seed=7))(shape, dtype).tobytes()


def callers(expected: dict[str, bytes], threads: int, calls: int) -> Counter[str]:
    """Call from so many threads at once."""
    outcomes: Counter[str] = Counter()
    together = threading.Barrier(threads)

    def call(number: int) -> None:
        order = random.Random(number)
        together.wait(60)
        for _ in range(calls):
            name = order.choice(list(CALLS))
            outcomes["right" if draw(name) == expected[name] else f"{name} wrong"] += 1

    started = [threading.Thread(target=call, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return outcomes


def children(expected: dict[str, bytes], method: str) -> Counter[str]:
    """Draw in the children of a pool of processes."""
    with multiprocessing.get_context(method).Pool(2) as workers:
        found = workers.map_async(draw, list(CALLS)).get(timeout=300)
    return Counter(
        "right" if values == expected[name] else f"{name} wrong"
        for name, values in zip(CALLS, found, strict=True)
    )


def signals(expected: dict[str, bytes], calls: int) -> Counter[str]:
    """Draw while a handler is called a thousand times a second."""
    seen: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        outcomes = callers(expected, 2, calls)
        for name in list(CALLS) * (calls // len(CALLS) + 1):  # in the main thread, too
            outcomes["right" if draw(name) == expected[name] else f"{name} wrong"] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    outcomes["signals"] = bool(seen)
    return outcomes


def little_memory(expected: dict[str, bytes], steps: int) -> Counter[str]:
    """Draw in children that may map little more than they have: right, or MemoryError."""
    outcomes: Counter[str] = Counter()
    for megabytes in np.linspace(0, 100, steps).astype(int).tolist():
        child = os.fork()
        if not child:
            code = 2
            try:
                code = _limited(expected, megabytes << 20)
            finally:
                os._exit(code)
        outcomes[{"right": "right", "exit 3": "no memory"}.get(how := ended_as(child), how)] += 1
    return outcomes


def _limited(expected: dict[str, bytes], nbytes: int) -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + nbytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    code = 0
    for name in list(CALLS) * 3:
        try:
            if draw(name) != expected[name]:
                return 1
        except MemoryError:
            code = 3
    return code


def flat(expected: dict[str, bytes], calls: int) -> Counter[str]:
    """Call very often, and compare what the process holds before and after."""
    from seedbed import initializers, tables

    init = initializers.RandomNormal(seed=7)
    small = initializers.GlorotUniform(seed=7)

    def some(calls: int, folder: Path) -> None:
        for number in range(calls):
            small((64, 64))
            if number % 100 == 0:
                init((600_000,))
            if number % 1000 == 0:
                tables.write(folder / "table.npy", init, (300_000,), force=True, progress=True)
                assert tables.verify(folder / "table.npy", init).ok

    def held() -> dict[str, int]:
        gc.collect()
        return {
            "resident": int(Path("/proc/self/statm").read_text().split()[1])
            * resource.getpagesize(),
            "threads": len(os.listdir("/proc/self/task")),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    with tempfile.TemporaryDirectory() as name:
        some(2000, Path(name))
        before = held()
        some(calls, Path(name))
        after = held()
    more = {what: after[what] - before[what] for what in before}
    grown = more["resident"] > 8 << 20 or more["threads"] > 0 or more["descriptors"] > 0
    return Counter({f"grown: {more}" if grown else "right": calls})


def main(share: float = 1.0) -> int:
    """Do everything; return 1 if anything is wrong."""
    os.environ.setdefault("NUMBA_NUM_THREADS", "4")
    expected = {name: draw(name) for name in CALLS}

    def many(number: int) -> int:
        return max(int(number * share), 2)

    tried: dict[str, Callable[[], Any]] = {
        "64 threads": lambda: callers(expected, 64, many(50)),
        "fork": lambda: children(expected, "fork"),
        "spawn": lambda: children(expected, "spawn"),
        "forkserver": lambda: children(expected, "forkserver"),
        "signals": lambda: signals(expected, many(300)),
        "little memory": lambda: little_memory(expected, many(60)),
        "many calls": lambda: flat(expected, many(100_000)),
    }
    for name, call in tried.items():
        outcomes = call()
        print(f"{name}: {dict(outcomes)}", flush=True)
        if set(outcomes) - {"right", "no memory", "signals"} or not outcomes["right"]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
