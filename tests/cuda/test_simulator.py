"""The fills' tests in Numba's CUDA simulator, which needs no GPU."""

import re
import sys
from pathlib import Path

from tests import processes

HERE = Path(__file__).parent


def test_fills_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = processes.run(
        [*command, HERE / "test_fills.py"],
        {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=HERE.parents[1],
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    outcome = result.stdout.splitlines()[-1]
    assert re.match(r"\d+ passed", outcome), outcome
    assert "skipped" not in outcome
    assert "CUDA: in the CUDA simulator" in result.stdout
