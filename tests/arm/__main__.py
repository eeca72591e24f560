"""Runs tests on an emulated 64-bit Arm: ``python -m tests.arm FOLDER``.

The folder takes a Debian system of 700 MB, which later runs use again; nothing is installed. Needed
are APT, set up for a Debian archive, and pip. ``--all`` runs all tests of the library's core, some
hours; without it some 5 kernels and what stands on them, a minute or two for each processor.
"""

import argparse
import os
import sys
from pathlib import Path

from tests import processes

from .tree import UnavailableError, emulated

ROOT = Path(__file__).parents[2]
DAY = 24 * 3600.0
PROCESSORS = ("max", "neoverse-v1")  # NEON with all extensions; one with 256-bit SVE
CONTRACT, ORTHOGONAL = "tests/kernels/test_contract.py", "tests/initializers/test_orthogonal.py"
GOLDEN = [f"{CONTRACT}::test_golden_hash", f"{ORTHOGONAL}::test_golden_hashes"]
SAMPLE = [
    *(f"{CONTRACT}::test_golden_hash[{case}]" for case in (
        "uniform-float32", "normal-float64", "truncated-bfloat16", "tail-float16")),
    f"{CONTRACT}::test_published_philox_answers",
    f"{CONTRACT}::test_windows_far_inside_virtual_tables[32-uniform-float32]",
    f"{CONTRACT}::test_windows_far_inside_virtual_tables[58-truncated-bfloat16]",
    f"{ORTHOGONAL}::test_golden_hashes[float32]",
]  # fmt: skip
ALL = ["tests/kernels", "tests/values", "tests/initializers", "tests/storage", "tests/tables"]


def main() -> int:
    """Run the tests on each processor; return 0 if all pass, 3 if there is no emulator."""
    parser = argparse.ArgumentParser(prog="python -m tests.arm", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the emulated system is, or is put")
    parser.add_argument("--cpu", action="append", help=f"default: {' and '.join(PROCESSORS)}")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--golden", action="store_true", help="all golden hashes: 24 kernels")
    chosen.add_argument("--all", action="store_true", help="all tests of the core")
    parser.add_argument("rest", nargs="*", help="tests and options of pytest, after --")
    options = parser.parse_intermixed_args()
    try:
        command, environment = emulated(options.folder)
    except UnavailableError as error:
        print(f"no emulated Arm here: {error}", file=sys.stderr)
        return 3
    tests = options.rest or (ALL if options.all else GOLDEN if options.golden else SAMPLE)
    failed = 0
    for processor in options.cpu or PROCESSORS:
        print(f"== {processor}", flush=True)
        python = wrapper(options.folder, processor, command, environment)
        arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.arm.plugin"]
        done = processes.run(
            [python, *arguments, *tests], cwd=ROOT, check=False, timeout=DAY, stdout=None,
            stderr=None,
        )  # fmt: skip
        failed |= done.returncode
    return failed


def wrapper(folder: Path, processor: str, command: list[str], environment: dict[str, str]) -> str:
    """Write a script that stands for Python on a processor; return its path."""
    path = folder.resolve() / f"python-{processor}"
    paths = [environment["PYTHONPATH"], str(ROOT / "src"), str(ROOT / "kernels")]
    known = environment | {
        "PYTHONPATH": os.pathsep.join(paths),
        "SEEDBED_EMULATED_PYTHON": str(path),
    }
    exports = "".join(f"export {name}='{value}'\n" for name, value in known.items())
    emulator, *rest = command
    line = " ".join(f"'{word}'" for word in (emulator, "-cpu", processor, *rest))
    path.write_text(f'#!/bin/sh\n{exports}exec {line} "$@"\n')
    path.chmod(0o755)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
