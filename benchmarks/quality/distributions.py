"""Distributions of the values: χ², Kolmogorov–Smirnov, Anderson–Darling, moments, tails, ends."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy import special, stats

from seedbed import initializers
from seedbed_kernels import floats, gaussian

from .results import Finding

CHUNK = 1 << 22
BINS = 1 << 16
KINDS: dict[str, tuple[Callable[..., Any], Any]] = {
    "uniform": (lambda seed: initializers.RandomUniform(0.0, 1.0, seed=seed), stats.uniform()),
    "normal": (lambda seed: initializers.RandomNormal(0.0, 1.0, seed=seed), stats.norm()),
    "truncated normal": (
        lambda seed: initializers.TruncatedNormal(0.0, 1.0, seed=seed), stats.truncnorm(-2, 2)),
    "tail beyond 3σ": (
        lambda seed: initializers.TruncatedNormal(0.0, 1.0, lower=3.0, upper=math.inf, seed=seed),
        stats.truncnorm(3, math.inf)),
}  # fmt: skip


def chunks(init: Any, count: int, dtype: str) -> Iterator[np.ndarray]:
    """Yield the values of a table of `count` elements, some at a time."""
    for begin in range(0, count, CHUNK):
        yield init((count,), dtype, window=(slice(begin, min(begin + CHUNK, count)),))


def chi_square(counts: np.ndarray, shares: Any = None) -> float:
    """Return the p-value of counts that should be equal, or in proportion to shares."""
    expected = counts.sum() * (1 / counts.size if shares is None else shares)
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1))


def bins_of(law: Any, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the inner edges of bins, each halfway between two floats, and the bins' shares.

    A uniform value is no rounded number but the lower end of its share: there an edge is a float.
    """
    edges = law.ppf(np.arange(1, BINS) / BINS)
    if law.dist.name != "uniform":
        floats = edges.astype(dtype)
        edges = floats.astype(np.float64) + np.spacing(floats).astype(np.float64) / 2
    return edges, np.diff(law.cdf(edges), prepend=0.0, append=1.0)


def shares_of_words(inner: np.ndarray) -> np.ndarray:
    """Return the shares of bins of the tail beyond 3σ in float32 that its words can have.

    A distance is made of one uniform number of 24 bits. Near the bound a bin of 2**-16 is some 256
    of these, one more or less: what 10**9 values tell from the law. Here each 16th word is counted,
    with the chance that its value is kept.
    """
    log = numba.vectorize(["f4(f4)"])(lambda u: gaussian.minus_two_log_float32(u))
    unit = numba.vectorize(["f4(u8)"])(lambda word: floats.unit_float32_open_closed(word))
    total, near = np.zeros(inner.size + 1), np.float32(3)
    for start in range(0, 1 << 32, CHUNK << 4):
        y = log(unit(np.arange(start + 8, start + (CHUNK << 4), 16, dtype=np.uint64)))
        distance = y / (np.sqrt(near * near + y) + near)
        kept = (near / (near + distance)).astype(np.float64)
        at = np.searchsorted(inner, (near + distance)[::-1].astype(np.float64), "right")
        total += np.bincount(at, kept[::-1], total.size)
    return total / total.sum()


def anderson_darling(sorted_uniforms: np.ndarray) -> float:
    """Return the p-value of a sample that should be uniform (Marsaglia and Marsaglia, 2004)."""
    u = np.clip(sorted_uniforms.astype(np.float64), 1e-300, 1 - 1e-16)
    n = u.size
    weights = 2 * np.arange(1, n + 1) - 1
    z = -n - np.sum(weights * (np.log(u) + np.log1p(-u[::-1]))) / n
    if z < 2:
        factors = 2.00012, 0.247105, -0.0649821, 0.0347962, -0.011672, 0.00168691
        below = math.exp(-1.2337141 / z) / math.sqrt(z) * polyval(z, factors)
    else:
        factors = 1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146
        below = math.exp(-math.exp(polyval(z, factors)))
    return float(1 - below)


def moment_p(values_sum: float, count: int, mean: float, variance: float) -> float:
    """Return the p-value of a sum of `count` independent numbers."""
    z = (values_sum - count * mean) / math.sqrt(count * variance)
    return float(special.ndtr(z))


def check(many: int, some: int) -> list[Finding]:
    """Check each distribution: `many` values for counts and moments, `some` for sorting."""
    found = []
    for number, (kind, (make, law)) in enumerate(KINDS.items()):
        for dtype in ("float32", "float64"):
            found += _counts(kind, make(1000 + number), law, dtype, many)
            values = np.concatenate(list(chunks(make(2000 + number), some, dtype)))
            uniforms = np.sort(law.cdf(values.astype(np.float64)))
            group = f"Distribution: {kind}"
            ks = stats.kstest(uniforms, "uniform").pvalue
            found.append(Finding(group, f"Kolmogorov–Smirnov, {dtype}", some, float(ks)))
            found.append(Finding(group, f"Anderson–Darling, {dtype}", some,
                                 anderson_darling(uniforms), alone=False))  # fmt: skip
    return found + ends(some)


def _counts(kind: str, init: Any, law: Any, dtype: str, count: int) -> list[Finding]:
    bins = np.zeros(BINS, np.int64)
    inner, shares = bins_of(law, dtype)
    powers = np.zeros(9)
    beyond = np.zeros(4, np.int64)
    edges = (3, 4, 5, 6)
    for values in chunks(init, count, dtype):
        wide = np.sort(values).astype(np.float64)  # sorted, they are counted some ten times faster
        below = np.searchsorted(wide, inner)
        bins += np.diff(below, prepend=0, append=wide.size)
        beyond += [
            wide.size - np.searchsorted(wide, edge, "right") + np.searchsorted(wide, -edge)
            for edge in edges
        ]
        power = np.ones_like(wide)
        for k in range(1, 9):
            power *= wide
            powers[k] += power.sum()
    group = f"Distribution: {kind}"
    told = f"χ² of {BINS:,} bins, {dtype}"
    if kind == "tail beyond 3σ" and dtype == "float32":
        wide = [each.reshape(1 << 12, -1).sum(1) for each in (bins, shares)]
        return [
            Finding(group, f"χ² of {1 << 12:,} bins, {dtype}", count, chi_square(*wide)),
            Finding(group, f"{told}, of the shares that 24 bits have", count,
                    chi_square(bins, shares_of_words(inner)), alone=False),
        ]  # fmt: skip
    found = [Finding(group, told, count, chi_square(bins, shares))]
    if kind == "tail beyond 3σ":
        return found
    moments = [float(law.expect(lambda x, k=k: x**k)) for k in range(17)]
    for k in range(1, 9):
        variance = moments[2 * k] - moments[k] ** 2
        p = moment_p(powers[k], count, moments[k], variance)
        found.append(Finding(group, f"moment {k}, {dtype}", count, p, f"{powers[k] / count:.6g}",
                             alone=k == 1))  # fmt: skip
    if kind == "normal":
        for edge, number in zip(edges, beyond, strict=True):
            expected = 2 * stats.norm.sf(edge) * count
            middle = stats.poisson.sf(number, expected) + stats.poisson.pmf(number, expected) / 2
            told, large = f"{number:,} of {expected:,.1f}", bool(expected > 100)
            found.append(Finding(group, f"beyond {edge}σ, {dtype}", count, float(middle), told,
                                 alone=large))  # fmt: skip
    return found


def ends(count: int) -> list[Finding]:
    """Check the least and the largest values in every dtype."""
    found = []
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        for low, high in ((0.0, 1.0), (-0.05, 0.05), (1.0, 1.5)):
            values = initializers.RandomUniform(low, high, seed=3)((count,), dtype)
            least, most = float(values.min()), float(values.max())
            found.append(Finding("End points", f"uniform [{low}, {high}), {dtype}", count,
                                 figure=f"{least:.9g} to {most:.9g}",
                                 holds=low <= least and most < high))  # fmt: skip
        values = initializers.TruncatedNormal(0.0, 1.0, seed=3)((count,), dtype)
        least, most = float(values.min()), float(values.max())
        found.append(Finding("End points", f"truncated normal, {dtype}", count,
                             figure=f"{least:.9g} to {most:.9g}",
                             holds=least >= -2 and most <= 2))  # fmt: skip
    return found
