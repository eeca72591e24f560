"""Measures the quality of the values and writes a report: ``python -m benchmarks.quality``.

The fast profile takes some minutes on one core; ``--full`` an hour or more. The report and its
pictures go into docs/quality.
"""

import argparse
import sys
import time
from pathlib import Path

from ..machine import environment
from . import distributions, independence, plots, streams, transforms
from .results import Finding, fails, p_values, summary

FOLDER = Path(__file__).parents[2] / "docs" / "quality"
PROFILES = {  # bits of the words looked at, values counted, values sorted, seeds, matrices
    "fast": (20, 20_000_000, 1_000_000, 1 << 12, 2000),
    "full": (24, 1_000_000_000, 10_000_000, 1 << 16, 20_000),
}


def main() -> int:
    """Run the checks, print what they take, and return 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all of it, for a report to publish")
    parser.add_argument("--no-words", action="store_true", help="without dieharder")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the report")
    options = parser.parse_args()
    profile = "full" if options.full else "fast"
    bits, many, some, seeds, matrices = PROFILES[profile]
    checks = {
        "transforms": lambda: transforms.check(bits),
        "distributions": lambda: distributions.check(many, some),
        "independence": lambda: independence.check(some * 4, seeds),
        "Orthogonal": lambda: independence.haar(matrices),
    }
    if not options.no_words:
        checks["words"] = lambda: streams.check(options.full)
    findings: list[Finding] = []
    for name, check in checks.items():
        begin = time.monotonic()
        findings += check()
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    plots.draw(options.out, findings, some * 4)
    (options.out / "figures.md").write_text(
        f"# Quality of the values: figures\n\nMade by `python -m benchmarks.quality"
        f"{' --full' if options.full else ''}`. {environment()}\n\n{summary(findings)}\n"
    )
    failed = [each for each in findings if fails(each, len(p_values(findings)))]
    for finding in failed:
        print(f"FAILED: {finding.group}: {finding.what}: {finding.p} {finding.figure}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
