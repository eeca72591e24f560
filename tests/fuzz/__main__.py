"""Random use in great numbers: ``python -m tests.fuzz [SHARE]``.

Makes a million calls of initializers, of which the oracle checks 800,000 and 200,000 have odd
arguments; 20,000 commands of random words; 5,000 tables written in random ways; and damages 35,000
files. SHARE (1.0) of each. Seeds are new in each run, and printed.
"""

import contextlib
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable

from . import calls, commands, files

COUNTS: dict[Callable[[random.Random, int], Counter[str]], int] = {
    calls.values: 800_000,
    calls.odd_calls: 200_000,
    commands.odd_commands: 20_000,
    commands.written: 5000,
    files.damaged: 35_000,
}


def run(what: Callable[[random.Random, int], Counter[str]], count: int, seed: int) -> Counter[str]:
    """Do so much of one kind, in a folder of its own."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # files are flushed often
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return what(random.Random(seed), count)


def main(share: float = 1.0) -> None:
    """Do all of it."""
    for what, count in COUNTS.items():
        seed, begin = random.SystemRandom().getrandbits(32), time.monotonic()
        print(f"{what.__name__}, seed {seed}:", flush=True)
        outcomes = run(what, max(int(count * share), 1), seed)
        print(f"  {sum(outcomes.values()):,} in {time.monotonic() - begin:.0f} s: "
              f"{dict(sorted(outcomes.items()))}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
