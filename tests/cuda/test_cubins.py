"""Linked kernels are kept on the disk: a later process compiles nothing, and needs no Numba."""

import os
import sys
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

ROOT = Path(__file__).parents[2]
PROCESS = """
import hashlib, sys
from seedbed_kernels import cubins_cuda, kernels_cuda
from seedbed_kernels.samplers import Uniform

capability = tuple(map(int, sys.argv[1].split(".")))
codes = []
for keyed in (False, True):
    kernel = kernels_cuda.drawing(Uniform, "float32", keyed, capability)
    entry, code = cubins_cuda.load(kernel, capability)
    assert code.startswith(b"\\x7fELF") and b".text." + entry + b"\\0" in code
    assert cubins_cuda.load(kernel, capability) == (entry, code)
    codes.append(hashlib.sha256(code).hexdigest())
print("numba" in sys.modules, *codes)
"""

# On another processor.
AHEAD = """
import sys
from seedbed_kernels import cubins_cuda, kernels_cuda, machine_code

machine_code._host = lambda: ("another processor",)
kernels = [cubins_cuda.load(each, (9, 0)) for each in kernels_cuda.every(["float32"], (9, 0))]
assert "numba" not in sys.modules
print(len(set(kernels)))
"""


def process(folder, capability="9.0", **environment):
    """Return whether Numba was imported, and the digests of two kernels' machine code."""
    told = processes.run(
        [sys.executable, "-c", PROCESS, capability],
        {"NUMBA_CACHE_DIR": str(folder), **environment},
        cwd=ROOT,
    ).stdout.split()
    return told[0] == "True", told[1:]


def test_a_second_process_compiles_nothing(tmp_path):
    compiled, digests = process(tmp_path)
    assert compiled
    files = sorted(tmp_path.rglob("*.cubin"))
    assert [path.name.rpartition("-")[0] for path in files] == [
        "Uniform-float32",
        "Uniform-float32-keyed",
    ]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert not list(tmp_path.rglob("*.lock"))
    assert process(tmp_path) == (False, digests)
    # Settings of the CPU and of threads do not matter.
    settings = {"NUMBA_NUM_THREADS": "3", "NUMBA_CPU_NAME": "generic"}
    assert process(tmp_path, **settings) == (False, digests)

    # Another GPU has code of its own; a damaged file is made again, and a link is not followed.
    compiled, others = process(tmp_path, "8.0")
    assert compiled
    assert not set(others) & set(digests)
    first, second = files
    first.write_bytes(first.read_bytes()[:-1] + b"!")
    os.rename(second, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", second)
    assert process(tmp_path, PYTHONWARNINGS="ignore") == (True, digests)


@pytest.mark.exhaustive
def test_a_process_compiles_nothing_where_all_was_compiled_without_a_gpu(tmp_path, monkeypatch):
    """By the command, for one dtype; the CPU's kernels are left out here."""
    command = (
        "from seedbed.cli import main, warm\nwarm.SAMPLERS = warm.MATRICES = ()\n"
        "for _ in range(2):\n    main(['warm', '--dtype=float32', '--cuda=90'])"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, again = processes.output(command, **environment).splitlines()
    assert (": 22 kernels" in first, ": 0 kernels" in again) == (True, True), (first, again)
    assert len(list(tmp_path.rglob("*.cubin"))) == 22
    assert not list(tmp_path.rglob("*.lock"))
    assert processes.output(AHEAD, **environment).split() == ["22"]
    assert process(tmp_path)[0] is False
