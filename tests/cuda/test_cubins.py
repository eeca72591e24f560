"""Linked kernels are kept on the disk: a later process compiles nothing. The driver is a stand-in.

Compiler and linker are real. What loads a module writes down the machine code.
"""

import os
import sys
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

ROOT = Path(__file__).parents[2]
PROCESS = """
import hashlib, sys, types as python_types
import numpy as np
from numba.cuda import dispatcher
from numba.cuda.cudadrv import devices, nvvm

capability = tuple(map(int, sys.argv[1].split(".")))
loaded, compiled = [], []
device = python_types.SimpleNamespace(
    id=0, compute_capability=capability, MULTIPROCESSOR_COUNT=1
)

class Context:
    device = device

    def create_module_image(self, cubin, setup, teardown):
        loaded.append(bytes(cubin.code))
        module = python_types.SimpleNamespace(initialized=True)
        module.get_function = lambda name: python_types.SimpleNamespace(module=module, name=name)
        return module

from seedbed_kernels import cubins_cuda, fills_cuda
from seedbed_kernels.cuda_shim import cuda
from seedbed_kernels.samplers import Uniform
from tests.cuda.test_ptx import signature

dispatcher.get_current_device = cuda.get_current_device = lambda: device
devices.get_context = Context
compile_ir = nvvm.compile_ir

def counted(*arguments, **options):
    compiled.append(options["arch"])
    return compile_ir(*arguments, **options)

nvvm.compile_ir = counted
for keyed in (False, True):
    kernel = fills_cuda._compiled(Uniform, "float32", capability, keyed)
    found = kernel.compile(signature(Uniform, "float32", keyed).args)
    found.bind()
    again = kernel.compile(signature(Uniform, "float32", keyed).args)
    assert again is found
assert len(loaded) == 2 and all(code.startswith(b"\\x7fELF") for code in loaded)
print(len(compiled), *(hashlib.sha256(code).hexdigest() for code in loaded))
"""


# Kernels are launched as `fills_cuda` and `rows_cuda` launch them, on another processor.
AHEAD = """
import numpy as np
from numba.cuda.cudadrv import nvvm
from seedbed_kernels import ahead_cuda, cubins_cuda, machine_code

machine_code._host = lambda: ("another processor",)
nvvm.compile_ir = None
loaded = set()
for name, function, registers, signature in (
    *ahead_cuda.drawing(["float32"], (9, 0)), *ahead_cuda.storing()
):
    kernel = cubins_cuda.compiled(name, function, registers)
    with cubins_cuda._pretending((9, 0)):
        found = kernel.compile(signature.args)
        code = bytes(found._codelibrary.get_cubin().code)
    assert code.startswith(b"\x7fELF"), name
    loaded.add(code)
print(len(loaded))
"""


def process(folder, capability="9.0", **environment):
    """Return how often NVVM was called, and the digests of two kernels' machine code."""
    told = processes.run(
        [sys.executable, "-c", PROCESS, capability],
        {"NUMBA_CACHE_DIR": str(folder), **environment},
        cwd=ROOT,
    ).stdout.split()
    return int(told[0]), told[1:]


def test_a_second_process_compiles_nothing(tmp_path):
    count, digests = process(tmp_path)
    assert count >= 2
    files = sorted(tmp_path.rglob("*.cubin"))
    assert [path.name.rpartition("-")[0] for path in files] == [
        "Uniform-float32",
        "Uniform-float32-keyed",
    ]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert not list(tmp_path.rglob("*.lock"))
    assert process(tmp_path) == (0, digests)

    # Another GPU has code of its own; a damaged file is made again, and a link is not followed.
    count, others = process(tmp_path, "8.0")
    assert count >= 2
    assert not set(others) & set(digests)
    first, second = files
    first.write_bytes(first.read_bytes()[:-1] + b"!")
    os.rename(second, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", second)
    count, again = process(tmp_path, PYTHONWARNINGS="ignore")
    assert (count >= 2, again) == (True, digests)


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
    # The whole way of a launch, with a stand-in for the driver.
    count, digests = process(tmp_path)
    assert (count, len(digests)) == (0, 2)
