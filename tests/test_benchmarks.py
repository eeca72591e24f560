"""The benchmarks that nobody runs often still run: on few values, or up to what is missing."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import rows

from seedbed import initializers
from tests import processes

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gathered_and_keyed_rows_are_timed(dtype):
    functions = rows.contenders("normal", np.dtype(dtype), 300, 16)
    taken = rows.compare(functions)
    assert list(taken) == ["contiguous", "gathered", "keyed"]
    assert min(taken.values()) > 0
    assert rows.one_row(np.dtype(dtype)) > 0


def test_the_gpu_benchmark_compares_bits_in_the_simulator():
    pytest.importorskip("numba_cuda")
    code = """
        from benchmarks import gpu
        from tests.cuda import conftest
        conftest.complete_simulator()
        gpu.CHUNK, gpu.LAUNCHES = 100, [(1, 1)]
        print(gpu.compare(gpu.RECIPES["uniform"], 130, "float16"))
        gpu.compare_whole(gpu.RECIPES["uniform"], 3, "bfloat16")
        gpu.compare_launches(gpu.RECIPES["uniform"], "float64", 300)
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    values = initializers.RandomUniform(-0.05, 0.05, seed=7)((130,), "float16")
    printed = processes.output(lines, NUMBA_ENABLE_CUDASIM="1", PYTHONPATH=str(ROOT))
    assert printed.split() == [hashlib.sha256(values).hexdigest()]


def test_the_gpu_benchmark_says_what_is_missing():
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py"]
    ended = processes.run(command, environment, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("device 'cuda' needs ")
    assert not ended.stdout
