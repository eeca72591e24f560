"""Pictures of the report: densities, quantiles, tails and p-values."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from .distributions import KINDS, chunks
from .results import Finding, p_values

BLUE, GREY = "#1f6fb4", "#777777"


def draw(folder: Path, findings: list[Finding], count: int) -> None:
    """Write the pictures into a folder."""
    plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})
    _densities(folder / "densities.png", count)
    _tails(folder / "tails.png", count)
    _p_values(folder / "p-values.png", findings)


def _densities(path: Path, count: int) -> None:
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.6))
    for column, (kind, (make, law)) in enumerate(KINDS.items()):
        values = np.concatenate(list(chunks(make(1), count, "float32"))).astype(np.float64)
        low, high = law.ppf(1e-4), law.ppf(1 - 1e-4)
        x = np.linspace(low, high, 400)
        top, bottom = axes[:, column]
        top.hist(values, 200, (low, high), density=True, color=BLUE, alpha=0.5)
        top.plot(x, law.pdf(x), color="black", linewidth=1)
        top.set_title(kind)
        shares = (np.arange(1000) + 0.5) / 1000
        bottom.plot(law.ppf(shares), np.quantile(values, shares), ".", color=BLUE, markersize=3)
        bottom.plot([low, high], [low, high], color="black", linewidth=0.7)
        bottom.set_xlabel("quantile of the distribution")
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("quantile of the values")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _tails(path: Path, count: int) -> None:
    make, law = KINDS["normal"]
    edges = np.linspace(0, 6, 61)
    beyond = np.zeros(edges.size)
    for values in chunks(make(2), count, "float32"):
        beyond += values.size - np.searchsorted(np.sort(np.abs(values)), edges)
    figure, axis = plt.subplots(figsize=(6, 3.6))
    axis.semilogy(edges, 2 * law.sf(edges), color="black", linewidth=1, label="normal")
    there = beyond > 0
    axis.semilogy(edges[there], beyond[there] / count, ".", color=BLUE, label=f"{count:,} values")
    axis.set_xlabel("z")
    axis.set_ylabel("share of |values| beyond z")
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _p_values(path: Path, findings: list[Finding]) -> None:
    values = np.sort(p_values([finding for finding in findings if finding.alone]))
    ranks = (np.arange(values.size) + 0.5) / values.size
    figure, axis = plt.subplots(figsize=(4.4, 4.2))
    band = stats.kstwo.ppf(0.99, values.size)
    axis.fill_between([0, 1], [-band, 1 - band], [band, 1 + band], color=GREY, alpha=0.2)
    axis.plot(ranks, values, ".", color=BLUE, markersize=4)
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.7)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="rank", ylabel="p-value",
             title="p-values; grey: 99 % of samples")  # fmt: skip
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
