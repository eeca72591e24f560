"""The layer that calls the CUDA driver, on a driver of the tests: see `libcuda`."""

import shutil
import sys
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc"),
]
ROOT = Path(__file__).parents[2]


def case(name, *arguments, **environment):
    """Return how many arrays a case compared and kernels it launched, and if it imported Numba.

    What a case itself asserts ends its process, and `processes.run` fails.
    """
    command = [sys.executable, "-m", "tests.cuda.driver_cases", name, *arguments]
    environment["PYTHONOPTIMIZE"] = None
    told = processes.run(command, environment, cwd=ROOT).stdout.splitlines()[-1].split()
    assert told[0] == name
    return int(told[1]), int(told[2]), told[3] == "True"


@pytest.mark.parametrize(
    ("name", "arrays", "launches"),
    [
        ("memory", 0, 3),
        ("captured", 1, 3),
        ("late", 2, 2),
        ("staged", 0, 1),
        ("forked", 1, 1),
        ("streams", 0, 2),
        ("gpus", 0, 2),
        ("benchmark", 0, 60),
        ("launches", 0, 16),
    ],
)
def test_the_driver_is_called(name, arrays, launches):
    assert case(name)[:2] == (arrays, launches)


def test_values_are_the_cpus_and_a_second_process_needs_no_numba(tmp_path):
    first = case("values", NUMBA_CACHE_DIR=str(tmp_path))
    second = case("without_numba", NUMBA_CACHE_DIR=str(tmp_path))
    assert first == (15, 17, True)
    assert second == (15, 17, False)


def test_tables_are_the_cpus(tmp_path):
    assert case("tables", tmp_path)[1] >= 1
