"""Several processes, each with its pieces: the full tensors are the same, however they lie."""

import pytest

from tests import processes

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.frameworks


def test_one_hash_for_all_numbers_of_processes_and_placements():
    done = processes.run([sys.executable, "-W", "ignore", WORLD], timeout=500)
    lines = [line for line in done.stdout.splitlines() if line.startswith("hashes ")]
    assert len(lines) == 1 + 2 + 4
    assert len(set(lines)) == 1
