"""Forks beside running work: every child draws, fills and writes a table, and none hangs.

``python -m tests.faults.forks [FORKS]`` (100) forks at random instants while threads write and
verify tables, draw from one generator and fill arrays.
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

PATIENCE = 30  # seconds; a child needs some milliseconds
SHAPE = (300_000, 4)  # several chunks


def main(forks: int = 100) -> int:
    """Fork so often; return how many children failed or hung."""
    os.environ["NUMBA_NUM_THREADS"] = "4"
    from seedbed import initializers, tables

    random.seed(7)
    init, generator = initializers.RandomNormal(seed=1), initializers.SeedGenerator(2)
    whole = init(SHAPE)
    drawing = initializers.RandomUniform(seed=generator)
    ended = threading.Event()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write(path: Path) -> None:
            tables.write(path, init, SHAPE, force=True, chunk_bytes=1 << 20, checkpoint_seconds=0)

        def forever(call) -> None:
            while not ended.is_set():
                call()

        def child() -> bool:
            generator.next()
            drawing((10,))
            path = folder / f"{os.getpid()}.npy"
            write(path)
            right = tables.verify(path, init).ok and np.array_equal(np.load(path), whole)
            path.unlink()
            return right and np.array_equal(init(SHAPE), whole)

        write(folder / "before.npy")
        assert child()  # compiled and imported
        calls = [
            lambda: write(folder / "one.npy"),
            lambda: write(folder / "two.npy"),
            lambda: tables.verify(folder / "before.npy", init),
            generator.next,
            lambda: init(SHAPE),
        ]
        threads = [threading.Thread(target=forever, args=(call,), daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        outcomes: Counter[str] = Counter()
        for _ in range(forks):
            time.sleep(random.uniform(0, 0.02))
            pid = os.fork()
            if not pid:
                code = 2
                try:
                    code = int(not child())
                finally:
                    os._exit(code)
            outcomes[ended_as(pid)] += 1
        ended.set()
        for thread in threads:
            thread.join()
    print(dict(outcomes))
    return forks - outcomes["right"]


def ended_as(pid: int) -> str:
    """Wait for a child, but not for ever, and return how it ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "right" if code == 0 else f"exit {code}"
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
