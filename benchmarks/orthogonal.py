"""Orthogonal beside PyTorch, Keras and ``numpy.linalg.qr``: time, and how orthonormal it is.

``python benchmarks/orthogonal.py [library ...]`` prints a table; everything is measured in one run,
the contenders in turn, with as many threads for PyTorch and NumPy as for Seedbed.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from seedbed import initializers
from seedbed.cli import bench
from seedbed.values import threads

SHAPES = ((1024, 1024), (4096, 4096), (16384, 1024), (100_000, 128))
LIBRARIES = ("seedbed", "torch", "keras", "numpy.linalg.qr")
SECONDS = 20.0  # to spend on a shape, about

Shape = tuple[int, int]
Call = Callable[[], Any]


def contender(library: str, shape: Shape) -> Call | None:
    """Return a call that makes one matrix, as an array that NumPy reads; None if not installed."""
    try:
        return {
            "seedbed": _seedbed,
            "torch": _torch,
            "keras": _keras,
            "numpy.linalg.qr": _numpy,
        }[library](shape)
    except ImportError:
        return None


def _seedbed(shape: Shape) -> Call:
    init = initializers.Orthogonal(seed=7)
    out = np.empty(shape, np.float32)
    return lambda: init(shape, out=out)


def _torch(shape: Shape) -> Call:
    import torch

    torch.set_num_threads(threads.count())
    out = torch.empty(shape)
    return lambda: torch.nn.init.orthogonal_(out)


def _keras(shape: Shape) -> Call:
    import keras

    init = keras.initializers.Orthogonal(seed=7)
    return lambda: keras.ops.convert_to_numpy(init(shape))


def _numpy(shape: Shape) -> Call:
    """Return a call that factors a Gaussian matrix drawn before."""
    matrix = np.random.default_rng(7).standard_normal(shape, np.float32)
    return lambda: np.linalg.qr(matrix)[0]


def away_from_orthonormal(matrix: Any) -> float:
    """Return the largest element of QᵀQ - I, in absolute value, computed in float64."""
    q = np.asarray(matrix, np.float64)
    product = q.T @ q
    product[np.diag_indices_from(product)] -= 1
    return float(max(product.max(), -product.min()))


def compare(shape: Shape, libraries: tuple[str, ...] = LIBRARIES) -> dict[str, tuple[float, float]]:
    """Return, for each library, the median seconds and the distance from orthonormal columns."""
    calls = {library: contender(library, shape) for library in libraries}
    made = {library: call for library, call in calls.items() if call}
    distance = {library: away_from_orthonormal(call()) for library, call in made.items()}
    once = sum(bench.medians(made, 1).values())
    repeats = max(3, min(25, int(SECONDS / once)))
    seconds = bench.medians(made, repeats)
    return {library: (seconds[library], distance[library]) for library in made}


def table(found: dict[Shape, dict[str, tuple[float, float]]]) -> str:
    """Return the results of `compare` as a Markdown table; ratios are Seedbed's advantage."""
    libraries = list(next(iter(found.values())))
    lines = [
        "| shape | " + " | ".join(f"{library}, ms | ‖QᵀQ − I‖max" for library in libraries) + " |",
        "|---|" + "--:|--:|" * len(libraries),
    ]
    for shape, row in found.items():
        own = row["seedbed"]
        cells = [f"{own[0] * 1e3:.1f} | {own[1]:.1e}"] + [
            f"{row[library][0] * 1e3:.1f} ({row[library][0] / own[0]:.1f} ×) "
            f"| {row[library][1]:.1e} ({own[1] / row[library][1]:.2f})"
            for library in libraries[1:]
        ]
        lines.append(f"| {shape[0]} × {shape[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    libraries = ("seedbed", *sys.argv[1:]) if sys.argv[1:] else LIBRARIES
    print(f"float32, {threads.count()} threads; (×: slower than Seedbed; its error over theirs)\n")
    print(table({shape: compare(shape, libraries) for shape in SHAPES}))


if __name__ == "__main__":
    main()
