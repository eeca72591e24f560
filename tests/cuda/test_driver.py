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
    command = [sys.executable, "-m", "tests.cuda.driver_cases", name, *arguments]
    processes.run(command, environment, cwd=ROOT)


@pytest.mark.parametrize("name", ["memory", "captured", "forked", "streams", "threads"])
def test_the_driver_is_called(name):
    case(name)


def test_values_are_the_cpus_and_a_second_process_needs_no_numba(tmp_path):
    case("values", NUMBA_CACHE_DIR=str(tmp_path))
    case("without_numba", NUMBA_CACHE_DIR=str(tmp_path))


def test_tables_are_the_cpus(tmp_path):
    case("tables", tmp_path)
