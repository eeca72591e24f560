"""Gathered and keyed rows against the contiguous fill of as many values, all in one run.

``python benchmarks/rows.py [rows] [dtype]`` prints a table of ratios: 1.0 is as fast as the
contiguous fill. The contenders take turns, and the medians of many turns are compared.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from seedbed.values import recipes, threads
from seedbed.values.seeds import Stream
from seedbed_kernels import fills_cpu
from seedbed_kernels.memory import empty

GRAIN = 1 << 18
RECIPES = {
    "uniform": recipes.Uniform(-0.05, 0.05),
    "normal": recipes.Normal(0.0, 0.02),
    "truncated": recipes.TruncatedNormal(0.0, 0.02),
}
WIDTHS = (16, 32, 64, 100, 128, 256)
HEIGHT = 10**9  # rows of the table
TURNS = 15


def contenders(kind: str, dtype: np.dtype, rows: int, width: int) -> dict[str, Callable[[], None]]:
    """Return functions that fill the same array: contiguous, gathered, keyed."""
    sampler = recipes.kernel_sampler(RECIPES[kind], dtype)
    key = fills_cpu.packed_key(recipes.kernel_key(Stream(7)))
    dense = fills_cpu.Filler(sampler, dtype)
    gathered = fills_cpu.RowFiller(sampler, dtype)
    keyed = fills_cpu.KeyedFiller(sampler, dtype)
    generator = np.random.default_rng(1)
    ids = generator.integers(0, HEIGHT, rows).astype(np.uint64)
    hashes = generator.integers(0, 2**64, rows, np.uint64)
    out = empty((rows, width), dtype)
    places = {
        "contiguous": (dense, dense.WHOLE),
        "gathered": (gathered, gathered.rows(ids, width, width)),
        "keyed": (keyed, keyed.rows(hashes, 0, width, width)),
    }
    kept = ids, hashes  # places hold their addresses

    def function(filler: Callable[..., None], place: bytes) -> None:
        assert kept is not None
        threads.run_chunks(lambda a, b: filler(out, a, b, place, key), out.size, GRAIN)

    return {name: (lambda pair=pair: function(*pair)) for name, pair in places.items()}


def compare(functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(TURNS + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def one_row(dtype: np.dtype) -> float:
    """Return the seconds that one row of 64 takes through the kernels' door."""
    sampler = recipes.kernel_sampler(RECIPES["normal"], dtype)
    filler = fills_cpu.RowFiller(sampler, dtype)
    key, out = fills_cpu.packed_key(recipes.kernel_key(Stream(7))), np.empty((1, 64), dtype)
    ids = np.array([12345], np.uint64)
    seconds = []
    for _ in range(2000):
        start = time.perf_counter()
        filler(out, 0, 64, filler.rows(ids, 64, 64), key)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 400_000
    dtype = np.dtype(sys.argv[2] if len(sys.argv) > 2 else "float32")
    print(f"{rows} rows, {dtype.name}, {threads.count()} threads; 1.0: as the contiguous fill\n")
    print("| | width | contiguous, 10⁹ values/s | gathered | keyed |\n|---|--:|--:|--:|--:|")
    for kind in RECIPES:
        for width in WIDTHS:
            taken = compare(contenders(kind, dtype, rows, width))
            rate = rows * width / taken["contiguous"] / 1e9
            ratios = (taken["contiguous"] / taken[name] for name in ("gathered", "keyed"))
            print(
                f"| {kind} | {width} | {rate:.2f} | " + " | ".join(f"{r:.2f}" for r in ratios), "|"
            )
    print(f"\none row of 64: {one_row(dtype) * 1e6:.1f} µs")


if __name__ == "__main__":
    main()
