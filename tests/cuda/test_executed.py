"""The fills' tests for a GPU, on a driver that executes the PTX: see `libcuda`."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc"),
]
HERE = Path(__file__).parent


def test_fills_on_the_tests_driver():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = processes.run(
        [*command, HERE / "test_fills.py"],
        {"SEEDBED_TEST_DRIVER": "1"},
        cwd=HERE.parents[1],
        check=False,
        timeout=1200,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    outcome = result.stdout.splitlines()[-1]
    assert re.match(r"2\d\d passed", outcome), outcome
    assert "skipped" not in outcome
    assert "CUDA: on the tests' driver" in result.stdout
