"""What is said where a GPU, or something it needs, is missing; and that nobody pays for CUDA."""

import contextlib
import importlib.metadata
import importlib.util
import re
import textwrap
import types

import numpy as np
import pytest

from seedbed import cli, initializers
from seedbed.cli import info
from seedbed.gpu import array, driver
from seedbed_kernels import cuda_release, driver_cuda
from tests import processes

from . import standin

INIT = initializers.RandomNormal(seed=7)


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this machine one with a driver, or an error of it, and GPUs."""
    monkeypatch.setattr(driver_cuda, "get_version", lambda: (99, 0))

    def make(error=None, gpus=("a GPU",), compiler=(13, 0)):
        monkeypatch.setattr(driver_cuda, "cuda_error", lambda: error)
        monkeypatch.setattr(driver_cuda, "gpus", gpus)
        monkeypatch.setattr(cuda_release, "compiler", lambda: compiler)

    yield make
    driver._ready.cache_clear()


def test_the_simulator_is_no_compiler(machine, monkeypatch):
    pytest.importorskip("numba_cuda")
    machine()
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    with pytest.raises(RuntimeError, match=r"needs a compiler, .*: unset NUMBA_ENABLE_CUDASIM$"):
        INIT((3,), device="cuda")


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (
            {"error": "\nCUDA driver library\ncannot be found"},
            "driver: CUDA driver libr",
        ),
        ({"error": "CUDA_ERROR_NO_DEVICE (100)"}, "an NVIDIA GPU: the driver finds none"),
        ({"error": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"}, "driver: CUDA_ERROR_SYSTEM_DRIVER"),
        ({"error": "cuInit failed: CUDA_ERROR_NOT_INITIALIZED"}, "no fork of one that used CUDA"),
        ({"gpus": []}, "an NVIDIA GPU: the driver finds none"),
        ({"compiler": None}, "libNVVM"),
    ],
)
def test_what_is_missing(machine, parts, missing):
    pytest.importorskip("numba_cuda")
    machine(**parts)
    with pytest.raises(RuntimeError, match=f"RandomNormal: device 'cuda' needs .*{missing}"):
        INIT((3,), device="cuda")


@pytest.mark.parametrize(
    ("error", "count", "told"),
    [(0, 2, r"2 device\(s\)"), (100, 0, r"0 device\(s\)"), (803, 0, ".*not start: CUDA error 803")],
)
def test_what_info_says_of_the_driver(monkeypatch, error, count, told):
    pytest.importorskip("numba_cuda")

    def count_devices(place):
        place._obj.value = count
        return error

    driver = types.SimpleNamespace(cuInit=lambda flags: error, cuDeviceGetCount=count_devices)
    monkeypatch.setattr(info.ctypes, "CDLL", lambda name: driver)
    assert re.fullmatch(told, info._cuda())


def test_a_machine_without_a_driver_or_a_gpu_that_it_may_use():
    """`cuda.bindings` says so in words of its own."""
    pytest.importorskip("numba_cuda")
    code = """
        from seedbed import initializers
        try:
            initializers.RandomNormal(seed=7)((3,), device="cuda")
        except RuntimeError as error:
            print(error)
    """
    told = processes.output(textwrap.dedent(code), CUDA_VISIBLE_DEVICES="")
    assert re.match(r".*: device .cuda. needs an NVIDIA (driver|GPU): \S.{10}", told), told


def test_a_numpy_that_numba_cuda_does_not_know():
    """As NumPy 2.5 is, `numpy` has no row_stack, before and after."""
    pytest.importorskip("numba_cuda")
    code = """
        import numpy, scipy.linalg, numba.types as types
        vars(numpy).pop("row_stack", None)
        from seedbed_kernels.cuda_shim import cuda
        print(hasattr(numpy, "row_stack"), end=" ")
        print(cuda.compile_ptx(lambda x: x, (types.int64,), device=True, cc=(9, 0))[1])
    """
    assert processes.output(textwrap.dedent(code)).split() == ["False", "int64"]


def test_package_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"numba-cuda: pip install 'seedbed\[cuda\]'"):
        INIT((3,), device="cuda")


def test_device_is_missing(machine):
    pytest.importorskip("numba_cuda")
    machine()
    with pytest.raises(ValueError, match="'cuda:1' is not there; the driver finds 1"):
        INIT((3,), device="cuda:1")


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "CUDA", 0, ""])
def test_bad_device(device):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N'; given"):
        INIT((3,), device=device)


def test_work_on_the_cpu_never_touches_cuda():
    script = """
import sys, seedbed
from seedbed import cli, initializers
initializers.TruncatedNormal(seed=7)((1000,), "bfloat16")
initializers.Zeros()((3,))
print([name for name in sys.modules if name.startswith(("numba.cuda", "seedbed.gpu"))])
"""
    assert processes.output(script).strip() == "[]"


def test_command_without_a_gpu(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = tmp_path / "table.npy"
    arguments = ["--shape", "4x4", "--initializer", "zeros", "--device", "cuda", "--out", str(out)]
    assert cli.main(["table", *arguments]) == 2
    message = "seedbed: device 'cuda' needs the package numba-cuda"
    assert capsys.readouterr().err.startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "code", "told"),
    [
        ("CUDA_ERROR_OUT_OF_MEMORY", 1, "not enough memory"),
        ("CUDA_ERROR_ECC_UNCORRECTABLE", 1, "cuda:0 failed: CUDA_ERROR_ECC_UNCORRECTABLE"),
    ],
)
def test_a_failing_gpu_ends_a_command_in_one_line(
    monkeypatch, capsys, tmp_path, failure, code, told
):
    def fail(*_):
        raise Exception(f"[2] Call to cuMemAlloc results in {failure}")

    gpu = standin.Gpu(count=1)
    gpu.stream, gpu.pinned_array, gpu.device_array = int, np.empty, fail
    for module in (driver, array):
        monkeypatch.setattr(module, "ready", lambda: gpu)
    monkeypatch.setattr(array, "driver_cuda", gpu)
    out = tmp_path / "table.npy"
    arguments = ["--shape", "4x4", "--initializer", "zeros", "--device", "cuda", "--out", str(out)]
    assert cli.main(["table", *arguments]) == code
    assert capsys.readouterr().err == f"seedbed: {told}\n"
    with pytest.raises((MemoryError, OSError), match="cuda:0"):
        INIT((3,), device="cuda")


def test_other_errors_stay_as_they_are():
    gpu = types.SimpleNamespace(gpus=[contextlib.nullcontext()])
    with pytest.raises(KeyError, match="x"), driver.on_device(gpu, 0):
        raise KeyError("x")
