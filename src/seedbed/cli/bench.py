"""Timing Seedbed against NumPy on this machine: ``seedbed bench``."""

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..values import threads
from ..values.fill import sample
from ..values.recipes import Normal, Recipe, TruncatedNormal, Uniform
from ..values.seeds import Stream

RECIPES: dict[str, Recipe] = {
    "uniform": Uniform(-0.05, 0.05),
    "normal": Normal(0.0, 0.05),
    "truncated normal": TruncatedNormal(0.0, 0.05),
}
Name = TypeVar("Name")

BIT_GENERATORS = (np.random.PCG64, np.random.SFC64, np.random.PCG64DXSM, np.random.Philox)


def medians(calls: dict[Name, Callable[[], Any]], repeats: int) -> dict[Name, float]:
    """Return the median seconds of each call, taken in turn so that drift meets all alike."""
    for call in calls.values():
        call()
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class NumPyBaseline:
    """NumPy filling one array from as many threads as Seedbed uses, a Generator each."""

    def __init__(self, bit_generator: Any, count: int) -> None:
        seeds = np.random.SeedSequence(7).spawn(count)
        self.generators = [np.random.Generator(bit_generator(seed)) for seed in seeds]

    def fill(self, kind: str, out: np.ndarray) -> None:
        """Fill a 1-D array with ``uniform``, ``normal`` or ``truncated normal`` values."""
        count = len(self.generators)
        parts = np.array_split(out, count)

        def part(begin: int, end: int) -> None:
            for generator, values in zip(self.generators[begin:end], parts[begin:end], strict=True):
                _draw(generator, kind, values)

        threads.run_chunks(part, count, 1)


def _draw(generator: np.random.Generator, kind: str, part: np.ndarray) -> None:
    dtype = part.dtype.type
    # In pieces, so that scaling and the search for values to redraw stay in the cache.
    for start in range(0, part.size, 1 << 16):
        piece = part[start : start + (1 << 16)]
        if kind == "uniform":
            generator.random(dtype=dtype, out=piece)
            piece *= dtype(0.1)
            piece -= dtype(0.05)
            continue
        generator.standard_normal(dtype=dtype, out=piece)
        if kind == "truncated normal":
            rejected = np.flatnonzero(np.abs(piece) > 2)
            while rejected.size:
                piece[rejected] = generator.standard_normal(rejected.size, dtype=dtype)
                rejected = rejected[np.abs(piece[rejected]) > 2]
        piece *= dtype(0.05)


def fastest_bit_generator(threads: int) -> Any:
    """Return the bit generator with which NumPy is fastest here."""
    out = np.empty(1 << 22, np.float32)
    baselines = {kind.__name__: NumPyBaseline(kind, threads) for kind in BIT_GENERATORS}
    seconds = medians(
        {name: lambda b=baseline: b.fill("normal", out) for name, baseline in baselines.items()}, 3
    )
    fastest = min(seconds, key=lambda name: seconds[name])
    return getattr(np.random, fastest)


def compare(size: int = 10**8, dtype: str = "float32", repeats: int = 5) -> list[dict[str, Any]]:
    """Time ``ndarray.fill``, NumPy and Seedbed filling one resident array in turn.

    Parameters
    ----------
    size : int
        Values in the array.
    dtype : {"float32", "float64"}
        What NumPy can draw.
    repeats : int
        Runs of each, of which the median counts.

    Returns
    -------
    list of dict
        One row a distribution: `values` a second for ``fill``, ``numpy`` and ``seedbed``.
    """
    count = threads.count()
    bit_generator = fastest_bit_generator(count)
    baseline = NumPyBaseline(bit_generator, count)
    out = np.zeros(size, dtype)

    def plain_fill() -> None:
        threads.run_chunks(lambda begin, end: out[begin:end].fill(1.0), size, 1 << 20)

    rows = []
    for kind, recipe in RECIPES.items():
        seconds = medians(
            {
                "fill": plain_fill,
                "numpy": lambda kind=kind: baseline.fill(kind, out),
                "seedbed": lambda recipe=recipe: sample(recipe, (size,), stream=Stream(7), out=out),
            },
            repeats,
        )
        rates = {name: size / value for name, value in seconds.items()}
        rows.append({"distribution": kind, "bit_generator": bit_generator.__name__, **rates})
    return rows


def heading(rows: list[dict[str, Any]], size: int, dtype: str) -> str:
    """Return what the numbers of `table` are, in a line."""
    return (
        f"10⁹ {dtype} values a second, into an array of {size:,} that exists already, on "
        f"{threads.count()} threads; NumPy with {rows[0]['bit_generator']}"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `compare` as a Markdown table in 10⁹ values a second."""
    lines = [
        "| distribution | ndarray.fill | NumPy | Seedbed | × NumPy | × fill |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        fill_rate, numpy_rate, rate = (row[name] / 1e9 for name in ("fill", "numpy", "seedbed"))
        lines.append(
            f"| {row['distribution']} | {fill_rate:.2f} | {numpy_rate:.3f} | {rate:.2f} "
            f"| {rate / numpy_rate:.1f} | {rate / fill_rate:.2f} |"
        )
    return "\n".join(lines)
