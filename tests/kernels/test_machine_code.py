"""Compiled kernels kept on the disk: found without Numba, optional, linked only if whole."""

import contextlib
import ctypes
import sys

import numpy as np
import pytest
from llvmlite import binding

from seedbed import initializers
from seedbed_kernels import compiling, machine_code, samplers
from tests import oracle, processes

DRAW = """
import sys
from seedbed import initializers
values = initializers.RandomNormal(0.1, 0.02, seed=7)((700,), "float16")
print(values.tobytes().hex())
print("numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def expected():
    return oracle.values("normal", (0.1, 0.02), "float16", range(700), 7).tobytes().hex()


def draw(folder, **environment):
    """Return the values that a new process draws, and whether it imported Numba."""
    values, imported = processes.output(DRAW, NUMBA_CACHE_DIR=str(folder), **environment).split()
    return values, imported == "True"


def test_later_processes_do_without_numba(tmp_path, expected):
    folder = tmp_path / "made" / "here"
    assert draw(folder) == (expected, True)
    assert draw(folder, NUMBA_NUM_THREADS="3", NUMBA_BOUNDSCHECK="1") == (expected, False)
    assert len(list(folder.iterdir())) == 1
    # The processor that the code is made for is in the name of the file.
    assert draw(folder, NUMBA_CPU_NAME="generic") == (expected, True)
    assert len(list(folder.iterdir())) == 2


def test_without_a_folder_that_can_be_written(tmp_path, expected):
    (tmp_path / "file").write_text("")
    assert draw(tmp_path / "file" / "cache") == (expected, True)


def test_what_code_depends_on_is_in_its_name(monkeypatch):
    def name():
        return machine_code.file_name("kernel", "o")

    names = {name()}
    for setting in machine_code.SETTINGS:
        monkeypatch.setenv(setting, "0")
        names.add(name())
    for replaced in ("_code", "_host"):
        monkeypatch.setattr(machine_code, replaced, lambda: ("another",))
        names.add(name())
    monkeypatch.setattr(sys.implementation, "cache_tag", "another")
    names.add(name())
    assert len(names) == 7
    monkeypatch.setattr(machine_code, "_code", lambda: None)
    assert name() is None


def test_code_of_which_nothing_is_known_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    machine_code.keep(None, b"code")
    assert not list(tmp_path.iterdir())
    machine_code.keep("kernel.o", b"code")
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(machine_code.digest, "of", lambda *names: "a release that came meanwhile")
    machine_code.keep("other.o", b"code")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_kernel_that_needs_numba_as_it_runs_is_refused():
    from numba import types

    def allocates(out):
        out[0] = np.empty(int(out[1])).size

    with pytest.raises(RuntimeError, match=r"kernel allocates needs .*NRT_"):
        compiling.object_code("allocates", allocates, types.void(types.CPointer(types.float64)))


def assembled(text):
    """Return the object code of LLVM's language for the plainest processor of this kind."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu="generic", reloc="static", codemodel="jitdefault", jit=True
    )
    return machine.emit_object(binding.parse_assembly(text))


FMA = """
declare double @llvm.fma.f64(double, double, double)
define double @kernel(double %a, double %b, double %c) {
  %r = call double @llvm.fma.f64(double %a, double %b, double %c)
  ret double %r
}
"""
NEEDY = """
declare double @no_such_function(double)
define double @needy(double %a) {
  %r = call double @no_such_function(double %a)
  ret double %r
}
"""


def test_functions_that_llvm_adds_are_found_or_named():
    """Where a processor has no fma, LLVM calls the C library; MCJIT would end the process."""
    address = machine_code._link("kernel", assembled(FMA))
    fma = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * 3)(address)
    assert fma(1 + 2.0**-52, 1 - 2.0**-52, -1.0) == -(2.0**-104)
    with pytest.raises(RuntimeError, match="kernel needy needs no_such_function as it runs"):
        machine_code._link("needy", assembled(NEEDY))
    with pytest.raises(RuntimeError, match="kernel needy needs"):
        machine_code._link("needy", b"not an object")


KERNEL = """
import numpy as np
from seedbed_kernels.compiling import kernel

@kernel
def double(values):
    for i in range(values.size):
        values[i] *= 2

def draw():
    values = np.ones(3)
    double(values)
    return values.tolist(), sum(double.stats.cache_misses.values()), double.stats.cache_path
"""


def test_kernels_of_arrays_are_compiled_by_one_process(tmp_path):
    (tmp_path / "made.py").write_text(KERNEL)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    command = processes.python("import made; print(made.draw())")
    with contextlib.ExitStack() as running:
        begun = [running.enter_context(processes.started(command, cache)) for _ in range(3)]
        lines = [process.communicate(timeout=120)[0].splitlines()[-1] for process in begun]
    assert sorted(lines) == [f"([2.0, 2.0, 2.0], {n}, None)" for n in (0, 0, 1)]
    (file,) = (tmp_path / "cache").iterdir()  # nothing of Numba's own

    # A pickle that is someone else's is not run.
    file.write_bytes(b"cos\nabort\n(tR.")
    assert processes.output("import made; print(made.draw())", **cache).endswith(", 1, None)\n")


def test_a_kernel_must_not_depend_on_a_closure():
    factor = 2.0

    def scaled(values):
        values[0] *= factor

    with pytest.raises(TypeError, match="closure"):
        compiling.kernel(scaled)


def test_every_sampler_and_dtype_has_a_kernel_of_its_own():
    """Two kernels of one process under one name would be one of them twice."""
    fresh = [
        init((300,), dtype).astype(np.float64).std()
        for init in (
            initializers.RandomUniform(seed=7),
            initializers.RandomNormal(seed=7),
            initializers.TruncatedNormal(seed=7),
        )
        for dtype in ("float32", "float64", "float16", "bfloat16")
    ]
    assert len(set(fresh)) == len(fresh)
    assert len(samplers.REJECTING) == 3
