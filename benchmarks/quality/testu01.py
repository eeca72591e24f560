"""The words themselves through TestU01: ``python -m benchmarks.quality.testu01 crush``.

TestU01 (L'Ecuyer and Simard, 2007) is `libtestu01-0`, of Debian's section non-free. Each test of a
battery reads words of its own: test n those from element n·2³⁷ of the table on. The report,
docs/quality/testu01.md, is written after each test. What it has is not run again, so a battery may
be run in pieces.
"""

import argparse
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba import types

from ..machine import environment
from .__main__ import FOLDER
from .results import Finding, fails, p_values, summary
from .streams import of_many_seeds, of_numpy, of_one_seed

BATTERIES = {"small": ("SmallCrush", 10), "crush": ("Crush", 96), "big": ("BigCrush", 106)}
APART = 1 << 37  # words


def reversed_bits(words: np.ndarray) -> np.ndarray:
    """Return words with their bits in the other order: most tests look at the upper ones."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F)):
        words = (words >> shift & mask) | ((words & mask) << shift)
    return words.byteswap()


def of_reversed_bits() -> Callable[[int], np.ndarray]:
    """Return a function of a step that gives the words of seed 7 with their bits reversed."""
    words = of_one_seed()
    return lambda number: reversed_bits(words(number))


STREAMS = {
    "seed": ("Seedbed, one seed", of_one_seed),
    "seeds": ("Seedbed, 65,536 seeds by turns", lambda: of_many_seeds(1 << 16)),
    "reversed": ("Seedbed, one seed, bits reversed", of_reversed_bits),
    "numpy": ("NumPy's Philox", of_numpy),
}


class Generator(ctypes.Structure):
    """TestU01's unif01_Gen."""

    _fields_ = [
        ("state", ctypes.c_void_p),
        ("param", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("uniform", ctypes.c_void_p),
        ("bits", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
    ]


@contextlib.contextmanager
def generator(words: Callable[[int], np.ndarray], first: int) -> Iterator[Generator]:
    """Give TestU01 a generator of words; its state: the next word of a step, the next step."""
    buffer = np.empty(words(0).size, np.uint32)
    size = buffer.size
    state = np.array([size, first // size], np.uint64)

    @ctypes.CFUNCTYPE(None)
    def refill():
        buffer[:] = words(int(state[1])).reshape(-1)
        state[:] = 0, state[1] + np.uint64(1)

    pointers = (types.CPointer(types.uint32), types.CPointer(types.uint64))

    @numba.cfunc(types.uint64(*pointers))
    def bits(param, state):
        if state[0] == size:
            refill()
        word = param[state[0]]
        state[0] += 1
        return word

    @numba.cfunc(types.float64(*pointers))
    def uniform(param, state):
        if state[0] == size:
            refill()
        word = param[state[0]]
        state[0] += 1
        return word * 2.0**-32

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def write(_):
        pass

    yield Generator(
        state.ctypes.data,
        buffer.ctypes.data,
        b"words",
        uniform.address,
        bits.address,
        ctypes.cast(write, ctypes.c_void_p),
    )


def library() -> ctypes.CDLL:
    """Return TestU01."""
    try:
        return ctypes.CDLL("libtestu01.so.0")
    except OSError as error:
        sys.exit(f"TestU01: {error}; install libtestu01-0 (Debian, section non-free)")


def run(battery: str, number: int, stream: str, again: int = 0) -> list[Finding]:
    """Run one test of a battery on a stream, `again` on other words: some give several p-values."""
    testu01 = library()
    name, count = BATTERIES[battery]
    wanted = (ctypes.c_int * (count + 1))()
    wanted[number] = 1
    title, make = STREAMS[stream]
    ctypes.c_int.in_dll(testu01, "swrite_Basic").value = 0
    first = (number + 200 * again) * APART
    with generator(words := make(), first) as given:
        getattr(testu01, f"bbattery_Repeat{name}")(ctypes.byref(given), wanted)
        position, step = (ctypes.c_uint64 * 2).from_address(given.state)
    read = (step - 1) * words(0).size + position - first
    values = (ctypes.c_double * 200).in_dll(testu01, "bbattery_pVal")
    names = (ctypes.c_char_p * 200).in_dll(testu01, "bbattery_TestNames")
    return [
        Finding(
            f"{name}: {title}",
            f"{number}: {(names[k] or b'').decode()}",
            read,
            values[k],
            alone=k == 0,
        )
        for k in range(ctypes.c_int.in_dll(testu01, "bbattery_NTests").value)
    ]


def run_before(end: float, *arguments: Any) -> list[Finding] | None:
    """Do what `run` does, unless it is too late to begin."""
    return run(*arguments) if time.monotonic() < end else None


def main() -> int:
    """Run what the report lacks of a battery; return 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.testu01")
    parser.add_argument("battery", choices=BATTERIES)
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--seconds", type=float, default=1e9, help="no test begins after so many")
    parser.add_argument("--jobs", type=int, default=1, help="tests that run at a time")
    parser.add_argument("--tests", nargs="+", type=int, help="their numbers; default: all")
    parser.add_argument("--again", type=int, help="print what other words give, and report nothing")
    options = parser.parse_args()
    numbers = options.tests or range(1, BATTERIES[options.battery][1] + 1)
    if options.again:
        for stream in options.streams:
            for number in numbers:
                print(*run(options.battery, number, stream, options.again), sep="\n")
        return 0
    path = FOLDER / "testu01.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    end = time.monotonic() + options.seconds
    # TestU01 has global state: a process for each test.
    with concurrent.futures.ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        tests = {
            pool.submit(run_before, end, options.battery, number, stream): key
            for stream in options.streams
            for number in numbers
            if (key := f"{options.battery} {stream} {number}") not in known
        }
        for test in concurrent.futures.as_completed(tests):
            if (found := test.result()) is not None:
                known[tests[test]] = [dataclasses.asdict(each) for each in found]
                path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    groups: dict[str, list[Finding]] = {}
    for battery in BATTERIES:
        for stream in STREAMS:
            for number in range(1, 200):
                for each in known.get(f"{battery} {stream} {number}", ()):
                    groups.setdefault(each["group"], []).append(Finding(**each))
    findings = [each for some in groups.values() for each in some]
    (FOLDER / "testu01.md").write_text(
        f"# The words through TestU01\n\nMade by `python -m benchmarks.quality.testu01`. "
        f"{environment()}\n\n{summary(findings)}\n"
    )
    failed = [each for each in findings if fails(each, len(p_values(findings)))]
    for each in failed:
        print(f"FAILED: {each.group}: {each.what}: {each.p}")
    return int(bool(failed))


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
