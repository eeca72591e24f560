"""The samplers against ``ndarray.fill`` and NumPy, and how long the first value takes.

``python benchmarks/fills.py [values]`` prints both tables; everything is measured in one run, the
contenders in turn, with as many threads for NumPy as for Seedbed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from seedbed import initializers
from seedbed.cli import bench

FIRST_VALUE = """
import time
start = time.perf_counter()
import seedbed
imported = time.perf_counter()
from seedbed import initializers
initializers.GlorotUniform(seed=7)((64, 64))
print(imported - start, time.perf_counter() - imported)
"""


def first_value(cache: str) -> tuple[float, float]:
    """Return the seconds that import and the first call take in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_VALUE],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    importing, calling = map(float, done.stdout.split())
    return importing, calling


def latencies(repeats: int = 5) -> dict[str, float]:
    """Return median seconds: import, first call ever, first call with a cache, a small call."""
    importing, ever, cached = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            ever.append(first_value(cache)[1])
            seconds = first_value(cache)
            importing.append(seconds[0])
            cached.append(seconds[1])
    init = initializers.GlorotUniform(seed=7)
    init((64, 64))
    small = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(2000):
            init((64, 64))
        small.append((time.perf_counter() - start) / 2000)
    return {
        "import seedbed": statistics.median(importing),
        "first call ever (compiles)": statistics.median(ever),
        "first call, kernels cached": statistics.median(cached),
        "(64, 64) call": statistics.median(small),
    }


def latency_table(seconds: dict[str, float]) -> str:
    """Return `latencies` as a Markdown table in milliseconds."""
    lines = ["| | ms |", "|---|--:|"]
    return "\n".join(lines + [f"| {name} | {value * 1e3:.4g} |" for name, value in seconds.items()])


def main() -> None:
    size = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**8
    for dtype in ("float32", "float64"):
        rows = bench.compare(size, dtype)
        print(f"\n{size:.0e} {dtype}, 10⁹ values/s; NumPy with {rows[0]['bit_generator']}\n")
        print(bench.table(rows))
    print("\n" + latency_table(latencies()))


if __name__ == "__main__":
    main()
