"""Pictures of initializers: values beside what theory says, with their moments."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, MissingPackageError, brief, naming
from ..values.dtypes import as_dtype, largest_below, smallest_not_below
from ..values.recipes import Haar, Normal, Recipe, TruncatedNormal, Uniform
from ..values.request import check_shape
from ..values.window import Window

VALUES = 1 << 22  # drawn at most
BINS = 101
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


class Picture(NamedTuple):
    """A figure of matplotlib's, and what it shows in words."""

    figure: Any
    words: str


def picture(init: Any, shape: Any, dtype: Any = None) -> Picture:
    """Return the histogram of an initializer's values beside the density that theory gives.

    Parameters
    ----------
    init : Initializer
        With real values.
    shape : sequence of int
        Of the table, of which at most 2**22 values are made: its first rows.
    dtype : dtype or name, optional
        float32 by default.

    Raises
    ------
    SeedbedError
        If an argument is not as said above, or if matplotlib is missing; before any work.
    """
    with naming("show"):
        if not hasattr(init, "recipe"):
            raise ArgumentTypeError(f"must be given an initializer of Seedbed; given {brief(init)}")
        shape, dtype = check_shape(shape, "show"), as_dtype(dtype, "show")
        try:
            from .figure import ShownFigure
        except ImportError:
            raise MissingPackageError(
                "a picture needs matplotlib: pip install 'seedbed[plot]'"
            ) from None
        sizes = " × ".join(f"{size:,}" for size in shape)
        seed = getattr(init, "seed", None)
        title = f"{sizes} {dtype.name} {type(init).__name__}"
        title += f" seed {seed}" if isinstance(seed, int) else ""
        if math.prod(shape) < 2 or dtype.kind == "c":
            raise ArgumentError(f"a picture needs two or more real values; given {title}")
        try:
            values = np.asarray(init(shape, dtype, window=first_part(shape, VALUES))).ravel()
        except NotImplementedError as error:  # of a class that makes no values
            raise ArgumentTypeError(str(error)) from None
        if not np.isfinite(values.astype(np.float64)).all():
            raise ArgumentError(f"a picture needs finite values; {title} has others")
    try:
        theory = _theory(init.recipe(shape), shape)
    except NotImplementedError:  # an initializer of the user's own
        theory = None
    figure = ShownFigure((8, 6), dpi=100, layout="constrained")
    numbers = values.astype(np.float64)
    _paint(figure, title, numbers, dtype, theory)
    mean, stddev = _moments(numbers)[:2]
    wanted = f" (theory {theory.moments[0]:.6g} and {theory.moments[1]:.6g})" if theory else ""
    found = f"mean {mean:.6g}, stddev {stddev:.6g}"
    return Picture(figure, f"{values.size:,} values of {title}: {found}{wanted}")


def first_part(shape: tuple[int, ...], most: int) -> Window:
    """Return the window of the first elements of a shape, in C order: no more than `most`.

    Examples
    --------
    >>> first_part((1000, 64), 128)
    (slice(0, 2, None), slice(0, 64, None))
    """
    sizes, inner = [], math.prod(shape)
    for size in shape:
        inner //= max(size, 1)
        sizes.append(max(1, min(size, most // max(inner, 1))))
    return tuple(slice(0, size) for size in sizes)


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
            words = f"entry of a random unit vector of {longer:,}"
            words += "" if gain == 1.0 else f", times {gain:g}"
            return Theory(words, stats.beta(half, half, -size, 2 * size))
    return None


def _moments(values: np.ndarray) -> tuple[float, ...]:
    mean, stddev = float(values.mean()), float(values.std())
    skewness = kurtosis = math.nan  # one value has none
    if stddev:
        z = (values - mean) / stddev
        skewness, kurtosis = (float((z**power).mean()) for power in (3, 4))
    return mean, stddev, skewness, kurtosis - 3, float(values.min()), float(values.max())


def _paint(
    figure: Any, title: str, values: np.ndarray, dtype: np.dtype, theory: Theory | None
) -> None:
    """Paint histogram and density, below them their difference, and the moments beside."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        _paint_one_value(figure, title, values)
        return
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


def _paint_one_value(figure: Any, title: str, values: np.ndarray) -> None:
    """Paint a bar where all values are equal: they have no density."""
    value = float(values[0])
    axes = figure.add_subplot()
    axes.bar([value], [1.0], width=0.02, color=HISTOGRAM, label=f"{values.size:,} values")
    axes.set(xlim=(value - 0.5, value + 0.5), ylim=(0, 1.3), xlabel="value")
    axes.set_ylabel("share of the values")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.text(value, 1.02, f"all are {value:g}", ha="center", va="bottom", color=INK)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _paint_moments(axes: Any, found: tuple[float, ...], theory: Theory | None) -> None:
    axes.axis("off")
    wanted = theory.moments if theory else (math.nan,) * len(MOMENTS)
    line, y = 0.052, 0.97
    for name, value, exact in zip(MOMENTS, found, wanted, strict=True):
        axes.text(0, y, name, fontsize=9, fontweight="bold", color=INK, va="top")
        text = f"{value:.5g}" if math.isfinite(value) else "none"
        axes.text(0, y - line, text, fontsize=9, family="monospace", va="top")
        if math.isfinite(exact):
            text = f"{exact:.5g}  in theory"
            axes.text(0, y - 2 * line, text, fontsize=9, family="monospace", color=THEORY, va="top")
        y -= 3.1 * line


def _before_rounding(edges: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return between which numbers a value lies that is between `edges` once it is rounded."""
    above = [smallest_not_below(float(edge), dtype) for edge in edges[1:-1]]
    middles = [(largest_below(value, dtype) + value) / 2 for value in above]
    return np.array([-math.inf, *middles, math.inf])
