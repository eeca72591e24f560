"""Several processes, each with its pieces: the full tensors are the same, however they lie."""

import sys

import pytest

from tests import processes

torch = pytest.importorskip("torch")

from tests.torch.models import AVAILABLE  # noqa: E402


def test_one_hash_for_all_numbers_of_processes_and_ways_to_lie():
    done = processes.run([sys.executable, "-W", "ignore", "-m", "tests.torch.world"], timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("hashes ")]
    found = {}
    for line in lines:
        _, name, *hashes = line.split()
        found.setdefault(name, []).append(tuple(hashes))
    assert set(found) == {"all", *AVAILABLE}
    for name, hashes in found.items():
        assert len(hashes) == 1 + 2 + 3 + 4, name
        assert len(set(hashes)) == 1, name


@pytest.mark.parametrize(("package", "members"), [("torchrec", 1 + 2 + 4), ("deepspeed", 2)])
def test_parameters_of_other_packages_are_cut_as_they_are(package, members):
    pytest.importorskip(package)
    command = [sys.executable, "-W", "ignore", "-m", f"tests.torch.{package}_world"]
    done = processes.run(command, timeout=300)
    assert done.stdout.splitlines().count("right") == members
