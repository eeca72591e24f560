"""Ctrl-C at random instants: the process ends soon, whatever it is doing, and leaves no wrong file.

``python -m tests.faults.signals [CHILDREN [COMMANDS]]`` (500 and 50) interrupts so many forked
children that fill arrays and write tables, and so many runs of the real command.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from subprocess import TimeoutExpired

import numpy as np

from tests import processes
from tests.faults.forks import PATIENCE, ended_as

SHAPE = (300_000, 4)  # several chunks


def children(number: int, folder: Path) -> Counter[str]:
    """Interrupt forked children; return how they ended, or go on as one of them."""
    from seedbed import initializers, tables

    init, path = initializers.TruncatedNormal(seed=1), folder / "table.npy"
    out, whole = np.empty(SHAPE, "float32"), init(SHAPE)
    tables.write(path, init, SHAPE, force=True)
    outcomes: Counter[str] = Counter()
    for _ in range(number):
        ready, begun = os.pipe()
        pid = os.fork()
        if not pid:  # ends as every Python process does
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the traceback
            os.write(begun, b"!")
            while True:
                init(SHAPE, out=out)
                init((64, 64))
                tables.write(path, init, SHAPE, force=True, chunk_bytes=1 << 20)
        os.close(begun)
        os.read(ready, 1)
        os.close(ready)
        time.sleep(random.uniform(0, 0.05))
        os.kill(pid, signal.SIGINT)
        outcomes[ended_as(pid)] += 1
        assert np.array_equal(np.load(path), whole)
    return outcomes


def commands(number: int, folder: Path) -> Counter[str]:
    """Interrupt runs of the command at any instant of their life; return how they ended."""
    outcomes: Counter[str] = Counter()
    command = [sys.executable, "-m", "seedbed", "table", "--shape=3000000x16", "--seed=7"]
    command += ["--initializer=truncated_normal", "--out=table.npy", "--force"]
    for _ in range(number):
        with processes.started(command, cwd=folder) as process:
            time.sleep(random.uniform(0.1, 2))
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=PATIENCE)
                outcomes[f"exit {process.returncode}"] += 1
            except TimeoutExpired:
                outcomes["hung"] += 1
    return outcomes


def main(number: int = 500, runs: int = 50) -> int:
    """Interrupt everything; return how many processes hung."""
    random.seed(7)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    folder, parent = Path(tempfile.mkdtemp()), os.getpid()
    try:
        outcomes = children(number, folder)
        print("children:", dict(outcomes), flush=True)
        more = commands(runs, folder)
        print("commands:", dict(more), flush=True)
        return (outcomes + more)["hung"]
    finally:
        if os.getpid() == parent:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
