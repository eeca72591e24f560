"""What is said where a GPU, or something it needs, is missing; and that nobody pays for CUDA."""

import importlib.util
import subprocess
import sys
import types

import pytest

from seedbed import cli, initializers
from seedbed import cuda as device_layer
from seedbed_kernels import cuda_shim

INIT = initializers.RandomNormal(seed=7)


def numba_cuda(**parts):
    """Return a stand-in for `numba.cuda`, with all that is needed but for some parts."""
    whole = {"cuda_error": lambda: None, "gpus": ["a GPU"], "is_available": lambda: True}
    return types.SimpleNamespace(**whole | parts)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (
            {"cuda_error": lambda: "\nCUDA driver library\ncannot be found"},
            "driver: CUDA driver libr",
        ),
        ({"gpus": []}, "an NVIDIA GPU: the driver finds none"),
        ({"is_available": lambda: False}, "libNVVM"),
    ],
)
def test_what_is_missing(monkeypatch, parts, missing):
    pytest.importorskip("numba_cuda")
    monkeypatch.setattr(cuda_shim, "cuda", numba_cuda(**parts))
    with pytest.raises(RuntimeError, match=f"RandomNormal: device 'cuda' needs .*{missing}"):
        INIT((3,), device="cuda")


def test_package_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"numba-cuda: pip install 'seedbed\[cuda\]'"):
        INIT((3,), device="cuda")


def test_device_is_missing(monkeypatch):
    monkeypatch.setattr(device_layer, "cuda", lambda owner: numba_cuda())
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
print([name for name in sys.modules if name.startswith("numba.cuda") or name == "seedbed.cuda"])
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_command_without_a_gpu(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = tmp_path / "table.npy"
    arguments = ["--shape", "4x4", "--initializer", "zeros", "--device", "cuda", "--out", str(out)]
    assert cli.main(["table", *arguments]) == 2
    message = "seedbed: tables.write: device 'cuda' needs the package numba-cuda"
    assert capsys.readouterr().err.startswith(message)
    assert list(tmp_path.iterdir()) == []
