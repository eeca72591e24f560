"""The fills' tests in Numba's CUDA simulator, which needs no GPU.

Those of single launches are left out: `test_ptx_runs.py` runs the compiled code on more of them.
"""

import re
import sys
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

HERE = Path(__file__).parent
LAUNCHES = (
    "any_run",
    "any_launch",
    "many_rejections",
    "part_of_a_window",
    "test_windows",
    "rows_by_number",
    "rows_by_key",
    "(wider_array and (uniform or truncated or orthogonal))",
)


@pytest.mark.exhaustive
def test_fills_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = processes.run(
        [*command, HERE / "test_fills.py", "-k", " and ".join(f"not {name}" for name in LAUNCHES)],
        {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=HERE.parents[1],
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    outcome = result.stdout.splitlines()[-1]
    assert re.match(r"\d+ passed", outcome), outcome
    assert "skipped" not in outcome
    assert re.search(r" 1\d\d deselected", outcome), outcome
    assert "CUDA: in the CUDA simulator" in result.stdout
