"""What a check found, and how a list of such findings is told."""

from collections.abc import Iterable
from dataclasses import dataclass

from scipy import stats

WEAK = 0.01  # a p-value below, or above one minus it, is talked about
FAILED = 1e-6  # a p-value below, after correction for their number, is a fault


@dataclass(frozen=True)
class Finding:
    """One check: of what, how many values, and a p-value or a bound that holds or does not."""

    group: str
    what: str
    count: int
    p: float | None = None
    figure: str = ""
    holds: bool = True
    alone: bool = True  # not of values that another p-value here is of, in much the same way

    @property
    def weak(self) -> bool:
        """Whether the p-value is near 0 or 1."""
        return self.p is not None and not WEAK < self.p < 1 - WEAK


def fails(finding: Finding, count: int) -> bool:
    """Return whether a finding is a fault, one of `count` p-values."""
    if finding.p is None:
        return not finding.holds
    return min(finding.p, 1 - finding.p) * 2 * count < FAILED


def p_values(findings: Iterable[Finding]) -> list[float]:
    """Return the p-values of findings."""
    return [finding.p for finding in findings if finding.p is not None]


def summary(findings: list[Finding]) -> str:
    """Return Markdown: a sentence on all p-values, a table of each group, and the weak ones."""
    values = p_values(findings)
    weak = [finding for finding in findings if finding.weak]
    failed = [finding for finding in findings if fails(finding, len(values))]
    own = [finding.p for finding in findings if finding.p is not None and finding.alone]
    uniform = stats.kstest(own, "uniform").pvalue
    expected = 2 * WEAK * len(values)
    few = stats.poisson.sf(len(weak) - 1, expected)
    lines = [
        f"{len(findings)} checks, {len(values)} of them with a p-value. **{len(failed)} failed** "
        f"(p below {FAILED:g} after correction for their number, or a bound that does not hold).",
        "",
        f"Together the {len(own)} p-values that do not depend on each other are uniform with "
        f"p = {uniform:.3f} (Kolmogorov–Smirnov). Of all, "
        f"{len(weak)} are weak (outside {WEAK} to {1 - WEAK}); of so many, {expected:.1f} are by "
        f"chance, and at least {len(weak)} with a probability of {few:.2f}.",
    ]
    for group in dict.fromkeys(finding.group for finding in findings):
        lines += ["", f"### {group}", "", "| check | values | figure | p |", "|---|--:|---|--:|"]
        for finding in (each for each in findings if each.group == group):
            p = "" if finding.p is None else f"{finding.p:.4f}"
            mark = " ✗" if fails(finding, len(values)) else " (weak)" if finding.weak else ""
            holds = "" if finding.p is not None else "holds" if finding.holds else "does not hold"
            figure = finding.figure or holds
            lines.append(f"| {finding.what} | {finding.count:,} | {figure} | {p}{mark} |")
    return "\n".join(lines)
