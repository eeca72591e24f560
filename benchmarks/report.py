"""All timings in one go: ``python -m benchmarks.report [--quick] [--out FOLDER]``.

Writes report.md and its plots into the folder, by default benchmarks/results. Libraries that are
not installed are left out, and named so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from seedbed import initializers
from seedbed.cli import bench
from seedbed.values import threads

from . import orthogonal
from .contenders import DISTRIBUTIONS, DTYPES, LIBRARIES, contender
from .fills import latencies, latency_table
from .machine import RESULTS, environment

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS: dict[str, Any] = {name: plt.get_cmap("tab20")(i) for i, name in enumerate(LIBRARIES)}

Rates = dict[tuple[str, str, str], float]  # distribution, dtype, library -> values a second


def rates(size: int, repeats: int, dtypes: tuple[str, ...] = DTYPES) -> Rates:
    """Time every library on every distribution and dtype, the libraries in turn."""
    found: Rates = {}
    for distribution in DISTRIBUTIONS:
        for dtype in dtypes:
            calls = {name: contender(name, distribution, dtype, size) for name in LIBRARIES}
            seconds = bench.medians({n: call for n, call in calls.items() if call}, repeats)
            found |= {(distribution, dtype, name): size / s for name, s in seconds.items()}
            print(distribution, dtype, {name: f"{size / s:.3g}" for name, s in seconds.items()})
    return found


def rates_in_turn(size: int, repeats: int) -> Rates:
    """Time what the aims compare, all in turn: a tenant that comes and goes meets them alike."""
    keys = [(kind, dtype, "seedbed") for kind in DISTRIBUTIONS for dtype in DTYPES]
    keys += [("uniform", "float32", "fill"), ("uniform", "float32", "numpy")]
    calls = {key: contender(key[2], key[0], key[1], size) for key in keys}
    seconds = bench.medians({key: call for key, call in calls.items() if call}, repeats)
    return {key: size / s for key, s in seconds.items()}


def rates_table(found: Rates) -> str:
    """Return rates as a Markdown table in 10⁹ values/s."""
    libraries = [name for name in LIBRARIES if any(key[2] == name for key in found)]
    lines = [
        "| distribution | dtype | " + " | ".join(libraries) + " | Seedbed × NumPy | × best other |",
        "|---|---|" + "--:|" * (len(libraries) + 2),
    ]
    for distribution in DISTRIBUTIONS:
        for dtype in DTYPES:
            row = {name: found.get((distribution, dtype, name)) for name in libraries}
            cells = [f"{rate / 1e9:.3f}" if rate else "" for rate in row.values()]
            ours = row["seedbed"] or 0.0
            others = [
                rate for name, rate in row.items() if rate and name not in ("fill", "seedbed")
            ]
            numpy = f"{ours / row['numpy']:.1f}" if row["numpy"] else ""
            best = f"{ours / max(others):.1f}" if max(others) else ""
            lines.append(f"| {distribution} | {dtype} | {' | '.join(cells)} | {numpy} | {best} |")
    return "\n".join(lines)


def allocating(size: int) -> float:
    """Return how long a call that allocates takes, over ``np.full`` plus a fill in place."""
    init = initializers.RandomUniform(seed=7)
    out = np.zeros(size, np.float32)
    seconds = bench.medians(
        {
            "whole": lambda: init((size,)),
            "full": lambda: np.full(size, 1.0, np.float32),
            "fill": lambda: init((size,), out=out),
        },
        5,
    )
    return seconds["whole"] / (seconds["full"] + seconds["fill"])


def aims(
    found: Rates,
    narrow: dict[str, float],
    first: dict[str, float],
    orthonormal: dict[orthogonal.Shape, dict[str, tuple[float, float]]],
    whole: float,
) -> str:
    """Return what the project aims at beside what was measured."""

    def rate(distribution: str, dtype: str = "float32", library: str = "seedbed") -> float:
        return found[distribution, dtype, library]

    rows = [
        ("uniform / fill", rate("uniform") / rate("uniform", library="fill"), 0.55),
        ("normal / uniform", rate("normal") / rate("uniform"), 0.6),
        ("truncated normal / normal", rate("truncated normal") / rate("normal"), 0.7),
    ]
    for distribution in DISTRIBUTIONS:
        for dtype, aim in (("float64", 0.45), ("bfloat16", 0.85), ("float16", 0.85)):
            ratio = rate(distribution, dtype) / rate(distribution)
            rows.append((f"{distribution}: {dtype} / float32", ratio, aim))
    rows.append(("uniform / NumPy", rate("uniform") / rate("uniform", library="numpy"), 7))
    rows += [(f"{kind}: AVX2 / this CPU", ratio, 0.5) for kind, ratio in narrow.items()]
    for shape, row in orthonormal.items():
        if "torch" in row:
            aim = {(4096, 4096): 4, (16384, 1024): 3.5}.get(shape, 2.5)
            ratio = row["torch"][0] / row["seedbed"][0]
            rows.append((f"Orthogonal {shape[0]} × {shape[1]}: × torch", ratio, aim))
    most = [("whole call / (np.full + fill)", whole, 1.3)]
    most += [
        (f"{name}, s", seconds, aim)
        for (name, seconds), aim in zip(first.items(), (0.3, 3.0, 0.2, 12e-6), strict=True)
    ]
    for shape, row in orthonormal.items():
        if "torch" in row:
            ratio = row["seedbed"][1] / row["torch"][1]
            most.append((f"Orthogonal {shape[0]} × {shape[1]}: error / torch's", ratio, 0.6))
    lines = ["| | measured | aim | |", "|---|--:|--:|---|"]
    for sign, group in (("≥", rows), ("≤", most)):
        for name, value, aim in group:
            missed = value < aim if sign == "≥" else value > aim
            lines.append(f"| {name} | {value:.3g} | {sign} {aim:g} | {'missed' * missed} |")
    return "\n".join(lines)


def plot_bars(found: Rates, path: Path) -> None:
    """Draw float32 rates of all libraries side by side."""
    figure, axes = plt.subplots(figsize=(11, 4.5), layout="constrained")
    names = [name for name in LIBRARIES if any(key[1:] == ("float32", name) for key in found)]
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        heights = [found.get((kind, "float32", name), 0.0) / 1e9 for kind in DISTRIBUTIONS]
        places = [x + (i - (len(names) - 1) / 2) * width for x in range(len(DISTRIBUTIONS))]
        bars = axes.bar(places, heights, width, label=name, color=COLOURS[name])
        axes.bar_label(bars, [f"{h:.2f}" if h else "" for h in heights], fontsize=6)
    axes.set_xticks(range(len(DISTRIBUTIONS)), DISTRIBUTIONS)
    axes.set_yscale("log")
    axes.set_ylabel("10⁹ float32 values/s")
    figure.legend(ncols=(len(names) + 1) // 2, fontsize=8, loc="outside upper center")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_sizes(largest: int, path: Path) -> None:
    """Draw values/s of Seedbed and NumPy over the size of the array."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    sizes = [10**power for power in range(2, 10) if 10**power <= largest]
    for distribution, style in zip(DISTRIBUTIONS, ("-", "--", ":"), strict=True):
        for name in ("seedbed", "numpy"):
            points = []
            for size in sizes:
                call = contender(name, distribution, "float32", size)
                assert call is not None
                call()
                loops = max(1, 10**6 // size)
                times = []
                for _ in range(3):
                    start = time.perf_counter()
                    for _ in range(loops):
                        call()
                    times.append((time.perf_counter() - start) / loops)
                points.append(size / statistics.median(times) / 1e9)
            axes.plot(sizes, points, style, color=COLOURS[name], label=f"{name} {distribution}")
    axes.set(xscale="log", yscale="log", xlabel="float32 values", ylabel="10⁹ values/s")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


THREADS = """
import json, sys
from benchmarks import contenders
from seedbed.cli import bench
size = int(sys.argv[1])
calls = {d: contenders.contender("seedbed", d, "float32", size) for d in contenders.DISTRIBUTIONS}
print(json.dumps({name: size / s for name, s in bench.medians(calls, 5).items()}))
"""


def rates_in_a_process(size: int, **environment: str) -> dict[str, float]:
    """Return Seedbed's float32 rates in a process of another environment."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(size)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def avx2(size: int, repeats: int) -> dict[str, float]:
    """Return Seedbed's float32 rates with AVX2 over those with this CPU's own instructions."""
    ratios: dict[str, list[float]] = {kind: [] for kind in DISTRIBUTIONS}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(repeats):
            ours = rates_in_a_process(size)
            theirs = rates_in_a_process(
                size, NUMBA_CPU_NAME="x86-64-v3", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=cache
            )
            for kind, found in ratios.items():
                found.append(theirs[kind] / ours[kind])
    return {kind: statistics.median(found) for kind, found in ratios.items()}


def plot_threads(size: int, path: Path) -> None:
    """Draw Seedbed's values/s over the number of threads, each in a process of its own."""
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    counts = sorted({1, 2, threads.count(), *range(4, threads.count(), 4)})
    counts = [count for count in counts if count <= threads.count()]
    found: dict[str, list[float]] = {name: [] for name in DISTRIBUTIONS}
    for count in counts:
        for name, rate in rates_in_a_process(size, NUMBA_NUM_THREADS=str(count)).items():
            found[name].append(rate / 1e9)
    for name, points in found.items():
        axes.plot(counts, points, "o-", label=name)
    axes.set(xlabel="threads", ylabel="10⁹ float32 values/s", xticks=counts, ylim=0)
    axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_latencies(seconds: dict[str, float], path: Path) -> None:
    """Draw how long the first value takes."""
    figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
    bars = axes.barh(list(seconds), [value * 1e3 for value in seconds.values()])
    axes.bar_label(bars, [f"{value * 1e3:.3g} ms" for value in seconds.values()], padding=3)
    axes.set(xscale="log", xlabel="ms")
    axes.invert_yaxis()
    axes.margins(x=0.2)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the report")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write into")
    options = parser.parse_args()
    quick, out = options.quick, options.out
    size = 10**6 if quick else 10**8
    out.mkdir(parents=True, exist_ok=True)

    first = latencies()
    found = rates(size, 3 if quick else 5)
    compared = rates_in_turn(size, 3 if quick else 9)
    narrow = avx2(size, 1 if quick else 5)
    shapes = orthogonal.SHAPES[:1] if quick else orthogonal.SHAPES
    orthonormal = {shape: orthogonal.compare(shape) for shape in shapes}
    whole = allocating(size)
    limits = f"[limits.md]({os.path.relpath(RESULTS / 'limits.md', out)})"
    plot_bars(found, out / "libraries.png")
    plot_sizes(10**6 if quick else 10**9, out / "sizes.png")
    plot_threads(size, out / "threads.png")
    plot_latencies(first, out / "latency.png")
    (out / "report.md").write_text(
        f"""# Timings

{environment()}

Medians of one run, contenders in turn, in 10⁹ values/s, {size:.0e} values a call. `fill` is
`ndarray.fill` on the same threads; NumPy runs one Generator a thread. Seedbed, NumPy and PyTorch
fill an existing array; the others cannot.

{rates_table(found)}

![float32 rates by library](libraries.png)

## Orthogonal

float32, milliseconds; in brackets how many times slower than Seedbed, and Seedbed's distance from
orthonormal over theirs.

{orthogonal.table(orthonormal)}

## Aims

Rates are those of one loop over all that is compared here, the median of nine turns.

{aims(compared, narrow, first, orthonormal, whole)}

{limits} says what limits those that were missed.

## Time to the first value

{latency_table(first)}

![time to the first value](latency.png)

## Over size and threads

![values/s over size](sizes.png)
![values/s over threads](threads.png)
"""
    )
    print(out / "report.md")


if __name__ == "__main__":
    main()
