"""Breaks the library in one place after the other: ``python -m tests.mutations``.

Each fault of `faults.FAULTS` is put into a copy of the tree, and its test must fail there, after it
has passed without the fault. Half an hour for all, with all frameworks installed. ``--report``
keeps which test saw which fault; faults that are not tried keep what the report says of them.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests import processes

from .faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
COPIED = ("src", "kernels", "tests", "docs", "benchmarks")


def passes(tree: Path, tests: list[str]) -> tuple[bool, str]:
    """Return whether tests pass in a tree, and the first that does not."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    paths = os.pathsep.join([str(tree / "src"), str(tree / "kernels")])
    done = processes.run(command, {"PYTHONPATH": paths}, cwd=tree, check=False, timeout=1200)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode not in (0, 1, 2) or (done.returncode and not failed):
        raise SystemExit(f"pytest: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.returncode == 0, failed[0].split(" ")[1] if failed else ""


def seen(tree: Path, fault: Fault) -> str:
    """Return the test that sees a fault; nothing if none does."""
    path = tree / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.what}: stands {text.count(fault.old)} times: {fault.old}")
    try:
        path.write_text(text.replace(fault.old, fault.new))
        return passes(tree, [fault.test])[1]
    finally:
        path.write_text(text)


def known(path: Path) -> dict[str, str]:
    """Return the test that saw each fault, from an earlier report."""
    if not path.exists():
        return {}
    rows = [line.split(" | ") for line in path.read_text().splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[2].removesuffix(" |").strip("`") for row in rows[1:]}


def report(path: Path, tests: dict[str, str]) -> None:
    """Write a table of all faults and of the tests that see them."""
    lines = [
        "# Faults, and the tests that see them",
        "",
        f"Made by `python -m tests.mutations --report`: {len(FAULTS)} faults, put into the library "
        "one by one.",
        "[faults.py](../../tests/mutations/faults.py) has what is changed.",
        "",
        "| fault | file | the first test that fails |",
        "|---|---|---|",
    ]
    for fault in FAULTS:
        test = tests.get(fault.what)
        lines.append(f"| {fault.what} | `{fault.file}` | {f'`{test}`' if test else 'none'} |")
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Try the faults; return 1 if one is not seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="of faults, from 1; default: all")
    parser.add_argument("--report", type=Path, metavar="FILE", help="Markdown, written again")
    options = parser.parse_args()
    numbers = options.numbers or range(1, len(FAULTS) + 1)
    chosen = [(number, FAULTS[number - 1]) for number in numbers]
    with tempfile.TemporaryDirectory(prefix="seedbed-faults-") as folder:
        tree = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        unchanged, failed = passes(tree, sorted({fault.test for _, fault in chosen}))
        if not unchanged:
            raise SystemExit(f"fails without a fault: {failed}")
        missed, tests = 0, known(options.report) if options.report else {}
        for number, fault in chosen:
            begin = time.monotonic()
            test = seen(tree, fault)
            missed += not test
            tests[fault.what] = test.partition("[")[0]
            seconds = time.monotonic() - begin
            print(f"{number:2} {fault.what:32} {test or 'NOT SEEN'} ({seconds:.0f} s)", flush=True)
            if options.report:
                report(options.report, tests)
        print(f"{len(chosen) - missed} of {len(chosen)} seen")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
