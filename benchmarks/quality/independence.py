"""Whether values tell of each other: near and far, of lanes, tiles, seeds, rows and keys."""

import math

import numpy as np
from scipy import special, stats

from seedbed.initializers import Orthogonal, RandomNormal
from seedbed.seeds import SeedGenerator

from .distributions import chi_square, moment_p
from .results import Finding

GROUP = "Independence"
LAGS = (1, 2, 31, 32, 33, 64, 96, 127, 128, 129, 4096)
SIDE = 256


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of the correlation of two samples of standard normal values."""
    total = float(np.dot(a.astype(np.float64).ravel(), b.astype(np.float64).ravel()))
    return moment_p(total, a.size, 0.0, 1.0)


def pairs(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of χ² over the squares that pairs of standard normal values fall in."""
    x, y = ((special.ndtr(v.astype(np.float64)) * SIDE).astype(np.int64) for v in (a, b))
    return chi_square(np.bincount((x * SIDE + y).ravel(), minlength=SIDE * SIDE))


def check(count: int, seeds: int) -> list[Finding]:
    """Check some `count` values and so many neighbouring seeds."""
    values = RandomNormal(0.0, 1.0, seed=11)((count,))
    found = []
    for lag in LAGS:
        a, b = values[:-lag], values[lag:]
        found.append(
            Finding(GROUP, f"correlation, {lag} elements apart", a.size, correlation(a, b))
        )
        found.append(Finding(GROUP, f"of squares, {lag} elements apart", a.size,
                             correlation(_square(a), _square(b))))  # fmt: skip
    for lag in (1, 32, 64, 128):
        a, b = values[:-lag], values[lag:]
        found.append(Finding(GROUP, f"χ² of pairs, {lag} elements apart", a.size, pairs(a, b)))
    tiles = values[: count // 128 * 128].reshape(-1, 4, 32)
    found.append(Finding(GROUP, "correlation of a tile's words", tiles.size // 2,
                         correlation(tiles[:, 0::2], tiles[:, 1::2])))  # fmt: skip
    found.append(Finding(GROUP, "correlation of a tile's lanes", tiles.size // 2,
                         correlation(tiles[..., 0::2], tiles[..., 1::2])))  # fmt: skip
    sums = tiles.sum(axis=(1, 2), dtype=np.float64) / math.sqrt(128)
    found.append(Finding(GROUP, "means of tiles: Kolmogorov–Smirnov", sums.size,
                         float(stats.kstest(sums, "norm").pvalue)))  # fmt: skip
    return found + _seeds(seeds) + _rows(count)


def _square(values: np.ndarray) -> np.ndarray:
    """Return squares, of mean 0 and variance 1."""
    return (values.astype(np.float64) ** 2 - 1) / math.sqrt(2)


def _seeds(count: int) -> list[Finding]:
    """Neighbouring seeds: the same elements of each, as a matrix."""
    table = np.stack([RandomNormal(0.0, 1.0, seed=seed)((128,)) for seed in range(count)])
    means = table.sum(1, dtype=np.float64) / math.sqrt(128)
    found = [
        Finding(GROUP, f"{count:,} neighbouring seeds: correlation", table[1:].size,
                correlation(table[:-1], table[1:])),
        Finding(GROUP, f"{count:,} neighbouring seeds: χ² of pairs", table[1:].size,
                pairs(table[:-1], table[1:])),
        Finding(GROUP, f"{count:,} neighbouring seeds: first values", count,
                float(stats.kstest(table[:, 0], "norm").pvalue)),
        Finding(GROUP, f"{count:,} neighbouring seeds: means", count,
                float(stats.kstest(means, "norm").pvalue)),
    ]  # fmt: skip
    generator = RandomNormal(0.0, 1.0, seed=SeedGenerator(5))
    draws = np.stack([generator((128,)) for _ in range(min(count, 4096))])
    found.append(Finding(GROUP, "neighbouring draws of a generator: correlation", draws[1:].size,
                         correlation(draws[:-1], draws[1:])))  # fmt: skip
    return found


def _rows(count: int) -> list[Finding]:
    """Neighbouring rows, neighbouring keys, and rows of keys beside those of a table."""
    init = RandomNormal(0.0, 1.0, seed=11)
    rows = init((count // 100, 100))
    keyed = init.keyed(np.arange(count // 100), 100)
    spread = init.keyed(np.arange(count // 100, dtype=np.uint64) << np.uint64(40), 100)
    return [
        Finding(GROUP, "neighbouring rows: correlation", rows[1:].size,
                correlation(rows[:-1], rows[1:])),
        Finding(GROUP, "neighbouring keys: correlation", keyed[1:].size,
                correlation(keyed[:-1], keyed[1:])),
        Finding(GROUP, "neighbouring keys: χ² of pairs", keyed[1:].size,
                pairs(keyed[:-1], keyed[1:])),
        Finding(GROUP, "keys 2⁴⁰ apart: correlation", spread[1:].size,
                correlation(spread[:-1], spread[1:])),
        Finding(GROUP, "columns of a key: correlation", keyed[:, 1:].size,
                correlation(keyed[:, :-1], keyed[:, 1:])),
        Finding(GROUP, "rows of keys and of a table: correlation", rows.size,
                correlation(rows, keyed)),
        Finding(GROUP, "keyed values: Kolmogorov–Smirnov", keyed.size,
                float(stats.kstest(keyed.ravel(), "norm").pvalue)),
    ]  # fmt: skip


def haar(count: int, size: int = 8) -> list[Finding]:
    """Check matrices of `Orthogonal`: entries, signs, determinants and traces."""
    group = "Orthogonal"
    made = np.stack([Orthogonal(seed=seed)((size, size)) for seed in range(count)])
    made = made.astype(np.float64)
    beta = stats.beta(0.5, (size - 1) / 2)
    found = [
        Finding(group, f"square of entry {i}, {j}: Kolmogorov–Smirnov", count,
                float(stats.kstest(made[:, i, j] ** 2, beta.cdf).pvalue))
        for i, j in ((0, 0), (0, size - 1), (size - 1, 0), (3, 4), (size - 1, size - 1))
    ]  # fmt: skip
    positive = int((np.linalg.det(made) > 0).sum())
    p = float(stats.binom.cdf(positive, count, 0.5))
    found.append(Finding(group, "as many rotations as reflections", count, p, f"{positive:,}"))
    traces = np.trace(made, axis1=1, axis2=2)
    found.append(Finding(group, "mean of traces", count,
                         moment_p(float(traces.sum()), count, 0.0, 1.0)))  # fmt: skip
    found.append(Finding(group, "variance of traces", count,
                         moment_p(float((traces**2).sum()), count, 1.0, 2.0)))  # fmt: skip
    inner = np.abs(np.einsum("nij,nik->njk", made, made) - np.eye(size)).max()
    found.append(Finding(group, "columns are orthonormal", count, figure=f"{inner:.1e}",
                         holds=bool(inner < 2e-6)))  # fmt: skip
    return found
