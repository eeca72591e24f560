"""The words themselves, in the order of a table's elements, through dieharder.

Dieharder (Brown, Eddelbuettel and Bauer) is a package of Debian. It reads the words from a pipe,
of one seed, or of many seeds by turns, and for comparison those of NumPy's Philox.
"""

import contextlib
import itertools
import re
import shutil
import subprocess
from collections.abc import Callable

import numba
import numpy as np

from seedbed_kernels.philox import lane_words

from .results import Finding

TILES = 1 << 14  # made at a time: 8 MiB
QUICK = ("0", "2", "8", "15", "100", "101")  # birthdays, ranks, ones, runs, monobit, runs of bits
LONG = ("1", "3", "4", "5", "6", "7", "9", "10", "11", "12", "13", "16", "17", "102", "200 -n 1",
        "200 -n 2", "200 -n 4", "200 -n 8", "201 -n 2", "202", "203", "204", "205", "206", "207",
        "208", "209")  # fmt: skip


@numba.njit(nogil=True)
def fill_words(out, first_tile, seed):
    """Fill an array of uint32 with the words of a seed, in the order of float32 elements."""
    low, high = np.uint64(seed & np.uint64(0xFFFFFFFF)), np.uint64(seed >> np.uint64(32))
    for tile in range(out.size // 128):
        for j in range(32):
            lane = (np.uint64(first_tile) + np.uint64(tile)) * np.uint64(32) + np.uint64(j)
            words = lane_words(lane, np.uint64(0), np.uint64(0), low, high)
            for k in range(4):
                out[tile * 128 + k * 32 + j] = np.uint32(words[k])


def of_one_seed() -> Callable[[int], np.ndarray]:
    """Return a function of a step that gives the next words of seed 7."""
    out = np.empty(TILES * 128, np.uint32)

    def step(number: int) -> np.ndarray:
        fill_words(out, number * TILES, np.uint64(7))
        return out

    return step


def of_many_seeds(seeds: int = 1024) -> Callable[[int], np.ndarray]:
    """Return a function that gives one word of each of so many neighbouring seeds by turns."""
    each = max(TILES // seeds, 1) * 128
    table = np.empty((seeds, each), np.uint32)

    def step(number: int) -> np.ndarray:
        for seed in range(seeds):
            fill_words(table[seed], number * each // 128, np.uint64(seed))
        return np.ascontiguousarray(table.T)

    return step


def of_numpy() -> Callable[[int], np.ndarray]:
    """Return a function that gives the words of NumPy's Philox."""

    def step(number: int) -> np.ndarray:  # a counter is four numbers of 64 bits
        bits = np.random.Philox(7)
        bits.advance(number * TILES * 16)
        return bits.random_raw(TILES * 64).view(np.uint32)

    return step


STREAMS = {
    "Seedbed, one seed": of_one_seed,
    "Seedbed, 1024 seeds by turns": of_many_seeds,
    "NumPy's Philox": of_numpy,
}


def dieharder(test: str, words: Callable[[int], np.ndarray]) -> list[tuple[str, float, int]]:
    """Return names and p-values of a test of dieharder, and how many words it read at most."""
    wanted = ["-D", "test_name", "-D", "ntuple", "-D", "pvalues"]
    command = ["dieharder", "-g", "200", "-d", *test.split(), *wanted]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        number = 0
        with contextlib.suppress(BrokenPipeError):  # when it has read enough
            for number in itertools.count():
                process.stdin.write(words(number).tobytes())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        printed = process.stdout.read().decode()
    found = re.findall(r"^\s*(\w+)\s*\|\s*(\d+)\s*\|\s*([\d.]+)\s*\|?\s*$", printed, re.MULTILINE)
    read = (number + 1) * TILES * 128
    return [(f"{name} {size}", float(p), read) for name, size, p in found]


def check(full: bool) -> list[Finding]:
    """Run dieharder where it is installed, on each stream."""
    if shutil.which("dieharder") is None:
        print("dieharder is not installed: the words are not tested")
        return []
    found = []
    for name, make in STREAMS.items():
        words = make()
        for test in (*QUICK, *LONG) if full else QUICK:
            found += [
                Finding(f"dieharder: {name}", what, read, p)
                for what, p, read in dieharder(test, words)
            ]
    return found
