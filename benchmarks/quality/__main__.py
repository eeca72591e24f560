"""Measures the quality of the values and writes a report: ``python -m benchmarks.quality``.

The fast profile takes some minutes on one core; ``--full`` hours. The report and its pictures go
into docs/quality, after each group of checks; ``--only`` makes some groups again and keeps the
others, so that a full report may be made in several runs.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..machine import environment
from . import distributions, independence, plots, streams, transforms
from .results import Finding, fails, p_values, summary

FOLDER = Path(__file__).parents[2] / "docs" / "quality"
PROFILES = {  # bits of the words looked at, values counted, values sorted, seeds, matrices
    "fast": (20, 20_000_000, 1_000_000, 1 << 12, 2000),
    "full": (26, 1_000_000_000, 10_000_000, 1 << 16, 20_000),
}


def checks(profile: str) -> dict[str, Callable[[], list[Finding]]]:
    """Return the groups of checks, in the order of the report."""
    bits, many, some, seeds, matrices = PROFILES[profile]
    return {
        "transforms": lambda: transforms.check(bits),
        "distributions": lambda: distributions.check(many, some),
        "independence": lambda: independence.check(some * 4, seeds),
        "orthogonal": lambda: independence.haar(matrices),
        "words": lambda: streams.check(profile == "full"),
    }


def kept(path: Path, profile: str) -> dict[str, list[Finding]]:
    """Return the findings of earlier runs of a profile."""
    if not path.exists() or (known := json.loads(path.read_text()))["profile"] != profile:
        return {}
    return {name: [Finding(**each) for each in some] for name, some in known["groups"].items()}


def report(folder: Path, profile: str, groups: dict[str, list[Finding]], count: int) -> None:
    """Write the figures, as text and as JSON, and the pictures."""
    findings = [each for name in checks(profile) for each in groups.get(name, [])]
    plots.draw(folder, findings, count)
    (folder / "figures.md").write_text(
        f"# Quality of the values: figures\n\nMade by `python -m benchmarks.quality"
        f"{' --full' if profile == 'full' else ''}`. {environment()}\n\n{summary(findings)}\n"
    )
    listed = {name: [dataclasses.asdict(each) for each in some] for name, some in groups.items()}
    text = json.dumps({"profile": profile, "groups": listed}, indent=1, ensure_ascii=False)
    (folder / "figures.json").write_text(text + "\n")


def main() -> int:
    """Run the checks, print what they take, and return 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all of it, for a report to publish")
    parser.add_argument("--only", nargs="+", choices=checks("fast"), help="groups to make again")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the report")
    options = parser.parse_args()
    profile = "full" if options.full else "fast"
    options.out.mkdir(parents=True, exist_ok=True)
    state = options.out / "figures.json"
    for name, check in checks(profile).items():
        if options.only and name not in options.only:
            continue
        begin = time.monotonic()
        found = check()
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
        groups = kept(state, profile) | {name: found}  # another run may have added some
        report(options.out, profile, groups, PROFILES[profile][2] * 4)
    findings = [each for some in kept(state, profile).values() for each in some]
    failed = [each for each in findings if fails(each, len(p_values(findings)))]
    for finding in failed:
        print(f"FAILED: {finding.group}: {finding.what}: {finding.p} {finding.figure}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
