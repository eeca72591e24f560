"""A picture of an initializer: its values beside what theory says, with their moments."""

import math
import os
import secrets
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, MissingPackageError, OutputError
from ..storage.atomic import Folder, failing, refusing, resolved
from ..storage.foreign import local_path
from ..tables.table import table
from ..values.dtypes import largest_below, smallest_not_below
from ..values.recipes import Haar, Normal, Recipe, TruncatedNormal, Uniform

VALUES = 1 << 22  # drawn at most
BINS = 101
FORMATS = (".png", ".svg", ".pdf")
MOMENTS = ("mean", "stddev", "skewness", "excess kurtosis", "least", "largest")
INK, QUIET, HISTOGRAM, THEORY = "#1b1f24", "#6a737d", "#9ecae1", "#d9480f"


class Theory(NamedTuple):
    """A distribution of SciPy's, and what it is in words."""

    words: str
    distribution: Any

    @property
    def moments(self) -> tuple[float, ...]:
        """Moments and bounds, in the order of `MOMENTS`."""
        mean, variance, skewness, kurtosis = self.distribution.stats("mvsk")
        return tuple(
            float(x)
            for x in (mean, variance**0.5, skewness, kurtosis, *self.distribution.support())
        )


def draw(
    init: Any,
    shape: tuple[int, ...],
    dtype: Any,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
) -> str:
    """Draw the histogram of an initializer's values, and return its moments in a line.

    Parameters
    ----------
    init : Initializer
        With real values.
    shape : tuple of int
        Of the table, of which the first 2**22 elements are drawn.
    dtype : dtype or name, optional
        float32 by default.
    path : path
        Of the picture: .png, .svg or .pdf.
    force : bool
        Whether to replace an existing file.

    Returns
    -------
    str
        Values and theory in words.

    Raises
    ------
    SeedbedError
        If an argument is not as said above, or if matplotlib is missing; before any work.
    """
    path = local_path(path, "--out")
    target = resolved(path)
    if path.suffix not in FORMATS:
        raise ArgumentError(f"a picture ends in {', '.join(FORMATS)}; given {path}")
    if not os.path.isdir(target.parent) or not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: folder {target.parent} is not there or not writable")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{path}: exists; --force replaces it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{path}: exists, and is not a regular file")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError(
            "seedbed show needs matplotlib: pip install 'seedbed[plot]'"
        ) from None
    drawn = table(init, shape, dtype)
    if drawn.size < 2 or drawn.dtype.kind == "c":
        raise ArgumentError(f"show draws two or more real values; given {drawn}")
    values = np.empty(min(drawn.size, VALUES), drawn.dtype)
    drawn.fill(values, 0)
    if not np.isfinite(values).all():
        raise ArgumentError(f"show draws finite values; {drawn} has others")
    try:
        theory = _theory(drawn.init.recipe(shape), shape)
    except NotImplementedError:  # an initializer of the user's own
        theory = None
    figure = Figure((8, 6), dpi=150, layout="constrained")
    _paint(figure, str(drawn), values.astype(np.float64), drawn.dtype, theory)
    with refusing(path):
        folder = Folder(target.parent)
    partial = f".{target.name}.{secrets.token_hex(4)}"  # nobody else's
    with folder, failing(path):
        try:
            with open(folder.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                figure.savefig(file, format=path.suffix[1:])
            folder.publish(partial, target.name, replace=force)
            folder.sync()
        finally:
            folder.remove(partial)
    mean, stddev = _moments(values.astype(np.float64))[:2]
    wanted = f" (theory {theory.moments[0]:.6g} and {theory.moments[1]:.6g})" if theory else ""
    found = f"mean {mean:.6g}, stddev {stddev:.6g}"
    return f"{path}: {values.size:,} values of {drawn}: {found}{wanted}"


def _theory(source: Recipe, shape: tuple[int, ...]) -> Theory | None:
    """Return the distribution of a value of a table, if it has a density."""
    from scipy import stats

    match source:
        case Uniform(low, high) if low < high:
            return Theory(f"uniform on [{low:.4g}, {high:.4g})", stats.uniform(low, high - low))
        case Normal(mean, stddev) if stddev > 0:
            return Theory(f"normal, mean {mean:.4g}, stddev {stddev:.4g}", stats.norm(mean, stddev))
        case TruncatedNormal(mean, stddev, lower, upper) if stddev > 0:
            words = f"normal, mean {mean:.4g}, stddev {stddev:.4g}, truncated at"
            words += f" {lower:g} and {upper:g} stddev"
            return Theory(words, stats.truncnorm(lower, upper, mean, stddev))
        case Haar(gain) if gain and (longer := max(shape[-1], math.prod(shape[:-1]))) > 1:
            half, size = (longer - 1) / 2, abs(gain)
            words = f"entry of a random orthogonal matrix of {longer}²"
            return Theory(words, stats.beta(half, half, -size, 2 * size))
    return None


def _moments(values: np.ndarray) -> tuple[float, ...]:
    mean, stddev = float(values.mean()), float(values.std())
    z = (values - mean) / (stddev or 1.0)
    skewness, kurtosis = (float((z**power).mean()) for power in (3, 4))
    return mean, stddev, skewness, kurtosis - 3, float(values.min()), float(values.max())


def _paint(
    figure: Any, title: str, values: np.ndarray, dtype: np.dtype, theory: Theory | None
) -> None:
    """Paint histogram and density, below them their difference, and the moments beside."""
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, min(BINS, max(20, math.isqrt(values.size))) + 1)
    counts = np.histogram(values, edges)[0]
    density = counts / values.size / np.diff(edges)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1), width_ratios=(3, 1.35))
    top = figure.add_subplot(grid[0 if theory else slice(None), 0])
    top.stairs(density, edges, fill=True, color=HISTOGRAM, label=f"{values.size:,} values")
    top.set_ylabel("density")
    top.locator_params(axis="x", nbins=7)
    top.set_title(title, loc="left", fontsize=10, color=INK)
    margin = 0.04 * (high - low)
    top.set_xlim(low - margin, high + margin)
    if theory:
        x = np.linspace(low - margin, high + margin, 1000)
        top.plot(x, theory.distribution.pdf(x), color=THEORY, linewidth=1.8, label=theory.words)
        bottom = figure.add_subplot(grid[1, 0], sharex=top)
        expected = values.size * np.diff(theory.distribution.cdf(_before_rounding(edges, dtype)))
        pull = (counts - expected) / np.sqrt(np.maximum(expected, 1))
        bottom.stairs(pull, edges, fill=True, color=HISTOGRAM)
        for line in (-3, 0, 3):
            bottom.axhline(line, color=QUIET, linewidth=0.8, linestyle=":" if line else "-")
        limit = max(5.0, 1.1 * float(np.abs(pull).max()))
        bottom.set_ylim(-limit, limit)
        bottom.set_ylabel("difference\n(standard errors)")
        bottom.set_xlabel("value")
        top.tick_params(labelbottom=False)
    else:
        top.set_xlabel("value")
    top.set_ylim(0, 1.3 * float(max(density.max(), 1e-300)))
    top.legend(loc="upper left", frameon=False, fontsize=8)
    _paint_moments(figure.add_subplot(grid[:, 1]), _moments(values), theory)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)


def _paint_moments(axes: Any, found: tuple[float, ...], theory: Theory | None) -> None:
    axes.axis("off")
    wanted = theory.moments if theory else (math.nan,) * len(MOMENTS)
    line, y = 0.052, 0.97
    for name, value, exact in zip(MOMENTS, found, wanted, strict=True):
        axes.text(0, y, name, fontsize=9, fontweight="bold", color=INK, va="top")
        axes.text(0, y - line, f"{value:.5g}", fontsize=9, family="monospace", va="top")
        if math.isfinite(exact):
            text = f"{exact:.5g}  in theory"
            axes.text(0, y - 2 * line, text, fontsize=9, family="monospace", color=THEORY, va="top")
        y -= 3.1 * line


def _before_rounding(edges: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return between which numbers a value lies that is between `edges` once it is rounded."""
    above = [smallest_not_below(float(edge), dtype) for edge in edges[1:-1]]
    middles = [(largest_below(value, dtype) + value) / 2 for value in above]
    return np.array([-math.inf, *middles, math.inf])
