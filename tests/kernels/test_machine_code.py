"""Kernels kept on the disk: found without Numba, never believed when damaged, optional."""

import contextlib

import numpy as np
import pytest

from seedbed import initializers
from seedbed_kernels import machine_code, samplers
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
    assert draw(folder, NUMBA_NUM_THREADS="3") == (expected, False)
    (file,) = folder.iterdir()

    # What the code depends on is in the name of the file.
    assert draw(folder, NUMBA_CPU_NAME="x86-64-v2", NUMBA_CPU_FEATURES="") == (expected, True)
    assert len(list(folder.iterdir())) == 2

    # A damaged file is made anew.
    good = file.read_bytes()
    for bad in (good[:-1], good[:100] + bytes([good[100] ^ 1]) + good[101:], b""):
        file.write_bytes(bad)
        assert draw(folder) == (expected, True)
        assert machine_code._read(file) == machine_code._read(file) is not None
    assert len(list(folder.iterdir())) == 2


def test_processes_that_begin_together(tmp_path, expected):
    with contextlib.ExitStack() as stack:
        cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
        begun = [
            stack.enter_context(processes.started(processes.python(DRAW), cache)) for _ in range(3)
        ]
        printed = [process.communicate(timeout=120)[0] for process in begun]
    assert [text.split()[0] for text in printed] == [expected] * 3
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_that_can_be_written(tmp_path, expected):
    (tmp_path / "file").write_text("")
    assert draw(tmp_path / "file" / "cache") == (expected, True)


def test_folders_where_none_is_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    beside, own = machine_code.folders()
    assert beside.name == "__pycache__"
    assert own.name == "seedbed"


def test_the_sources_are_in_the_name(monkeypatch, tmp_path):
    names = set()
    for text in ("", "# a change"):
        (tmp_path / "philox.py").write_text(text)
        monkeypatch.setattr(machine_code, "__file__", str(tmp_path / "machine_code.py"))
        machine_code._surroundings.cache_clear()
        names.add(machine_code._surroundings())
    monkeypatch.undo()
    machine_code._surroundings.cache_clear()
    assert len(names | {machine_code._surroundings()}) == 3


def test_a_kernel_that_needs_numba_as_it_runs_is_refused():
    from numba import types

    def allocates(out):
        out[0] = np.empty(int(out[1])).size

    with pytest.raises(RuntimeError, match=r"kernel allocates needs .*NRT_"):
        machine_code.compiled("allocates", allocates, types.void(types.CPointer(types.float64)))


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
