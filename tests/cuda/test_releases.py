"""Compilers, linkers and drivers of several CUDA releases, side by side."""

import ctypes
import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'seedbed[cuda]'")

from cuda.core import Linker as CoreLinker
from cuda.core import LinkerOptions, ObjectCode

from seedbed.errors import DeviceError
from seedbed.gpu import adopt, ahead, driver
from seedbed_kernels import cuda_release, driver_cuda
from tests import processes

from . import standin
from .test_ptx import CAPABILITIES

F4 = np.dtype(np.float32)
PTX = b"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry kernel(.param .u64 out) {
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd2, %rd1;
    st.global.u64 [%rd2], %rd1;
    ret;
}
"""


def installed_linker(package, name):
    """Return the path of nvJitLink as a package installed it."""
    for file in importlib.metadata.files(package) or ():
        if file.name == name:
            return str(Path(str(file.locate())))
    raise AssertionError(f"{package} has no {name}")


def cuda_12():
    try:
        return installed_linker("nvidia-nvjitlink-cu12", "libnvJitLink.so.12")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs nvidia-nvjitlink-cu12, for Linux only")


# PyTorch for CUDA 12 loads its linker like this when it is imported.
IMPORT_ORDER = """
import ctypes
ctypes.CDLL({path!r}, ctypes.RTLD_GLOBAL)
from cuda.core import Linker, LinkerOptions, ObjectCode
from seedbed_kernels import cubins_cuda, cuda_release, kernels_cuda
from seedbed_kernels.samplers import Normal

assert cuda_release.linker() >= cuda_release.compiler() >= (13, 0)
link, texts = cuda_release.link, []
cuda_release.link = lambda ptx, *more: texts.append(ptx) or link(ptx, *more)
_, code = cubins_cuda.load(kernels_cuda.drawing(Normal, "float32", False, (9, 0)), (9, 0))
print("own", code[:4] == b"\\x7fELF")
options = LinkerOptions(arch="sm_90")
try:
    Linker(ObjectCode.from_ptx(texts[0].encode()), options=options).link("cubin")
except Exception as error:
    print("cuda.core", type(error).__name__)
"""


def test_kernels_link_where_pytorch_for_cuda_12_was_imported_first(tmp_path):
    """`cuda.core` on its own takes the linker of CUDA 12, and fails."""
    code = IMPORT_ORDER.format(path=cuda_12())
    lines = processes.output(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert lines == ["own True", "cuda.core nvJitLinkError"]


def own_linker(code):
    name = "libnvJitLink.so.13"
    try:
        library = ctypes.CDLL(installed_linker("nvidia-nvjitlink", name))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs nvidia-nvjitlink: pip install 'seedbed[cuda13]'")
    options = LinkerOptions(arch="sm_75", lineinfo=True)
    return cuda_release.Linker(library, ObjectCode.from_ptx(code, name="it"), options=options)


def test_the_linker_of_our_choice_links_as_that_of_cuda_core_does():
    options = LinkerOptions(arch="sm_75", lineinfo=True)
    core = CoreLinker(ObjectCode.from_ptx(PTX, name="it"), options=options)
    own = own_linker(PTX)
    assert own.link("cubin").code == core.link("cubin").code
    assert own.get_info_log() == core.get_info_log()
    own.close()
    own.close()


def test_a_code_that_does_not_link_is_told_with_the_linkers_own_words():
    with pytest.raises(RuntimeError, match=r"failed with error 4: .*Unsupported \.version 99"):
        own_linker(PTX.replace(b"7.0", b"99.0")).link("cubin")


@pytest.mark.parametrize(
    ("compiler", "linker", "driver_release", "needed"),
    [
        ((13, 5), (13, 5), (13, 0), None),
        ((13, 0), (13, 5), (13, 5), None),
        ((12, 9), (13, 0), (13, 0), None),
        ((12, 9), (12, 9), (13, 0), None),
        ((12, 4), (12, 9), (12, 2), None),
        ((12, 4), None, (12, 4), None),
        (None, (12, 9), (12, 9), "libNVVM, the compiler: pip install 'seedbed[cuda]'"),
        (
            (13, 5),
            (12, 9),
            (13, 0),
            "a compiler and a linker that fit: libNVVM is of CUDA 13.5, the linker in use of "
            "CUDA 12.9: pip install 'seedbed[cuda12]' 'cuda-toolkit==12.9.*'",
        ),
        (
            (13, 5),
            (13, 0),
            (13, 0),
            "a compiler and a linker that fit: libNVVM is of CUDA 13.5, the linker in use of "
            "CUDA 13.0: pip install 'seedbed[cuda13]' 'cuda-toolkit==13.0.*'",
        ),
        (
            (13, 5),
            None,
            (12, 8),
            "a compiler and a linker that fit: libNVVM is of CUDA 13.5, the linker in use of "
            "CUDA 12.8: pip install 'seedbed[cuda12]' 'cuda-toolkit==12.8.*'",
        ),
        (
            (13, 5),
            (13, 5),
            (12, 8),
            "a driver for CUDA 13; the one installed is for CUDA 12.8: pip install "
            "'seedbed[cuda12]' 'cuda-toolkit==12.8.*', or update the driver",
        ),
    ],
)
def test_releases_that_do_not_fit_are_told(monkeypatch, compiler, linker, driver_release, needed):
    monkeypatch.setattr(cuda_release, "compiler", lambda: compiler)
    monkeypatch.setattr(cuda_release, "linker", lambda: linker)
    monkeypatch.setattr(driver_cuda, "cuda_error", lambda: None)
    monkeypatch.setattr(driver_cuda, "gpus", ["a GPU"])
    monkeypatch.setattr(driver_cuda, "get_version", lambda: driver_release)
    if needed is None:
        assert driver.ready() is driver_cuda
        driver._ready.cache_clear()
    else:
        with pytest.raises(DeviceError) as caught:
            driver.ready()
        assert str(caught.value) == f"device 'cuda' needs {needed}"


KNOWN = [(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)]


@pytest.mark.parametrize(
    ("capability", "remedy"),
    [
        ((7, 5), None),
        ((8, 7), None),  # runs the code for 8.6
        ((9, 0), None),
        ((7, 0), "pip install 'seedbed[cuda12]'"),
        ((10, 3), "pip install -U 'seedbed[cuda13]'"),  # code for 10.0 is for that one alone
        ((12, 1), "pip install -U 'seedbed[cuda13]'"),
    ],
)
def test_gpus_that_the_compiler_does_not_know_are_told(monkeypatch, capability, remedy):
    monkeypatch.setattr(cuda_release, "capabilities", lambda: KNOWN)
    monkeypatch.setattr(cuda_release, "compiler", lambda: (13, 0))
    gpu = standin.Gpu(count=2)
    gpu.gpus[1].compute_capability = capability
    for module in (driver, adopt):
        monkeypatch.setattr(module, "ready", lambda: gpu)
    assert driver.device_number("cuda:0") == 0
    calls = lambda: driver.device_number("cuda:1"), lambda: adopt.at(4096, (3,), F4, 1, None)
    for call in calls:
        if remedy is None:
            call()
            continue
        with pytest.raises(DeviceError) as caught:
            call()
        assert str(caught.value) == (
            f"device 'cuda:1' needs a compiler for compute capability {capability[0]}."
            f"{capability[1]}; that of CUDA 13.0 knows 7.5, 8.0, 8.6, 9.0, 10.0, 12.0: {remedy}"
        )


def test_the_compiler_knows_what_it_compiles_for():
    known = cuda_release.capabilities()
    assert known == sorted(known)
    assert set(CAPABILITIES) <= set(known)


@pytest.mark.parametrize(
    ("compiler", "linker", "needed"),
    [
        (None, (13, 5), "libNVVM, the compiler: pip install 'seedbed[cuda]'"),
        ((13, 5), None, "nvJitLink, the linker: pip install 'seedbed[cuda]'"),
        ((13, 5), (13, 0), "a compiler and a linker that fit: libNVVM is of CUDA 13.5, the linker"),
        ((13, 0), (13, 5), "a compiler for compute capability 6.0; that of CUDA 13.0 knows 7.5, "),
    ],
)
def test_what_compiling_ahead_needs(monkeypatch, compiler, linker, needed):
    """No driver: it is not asked."""
    monkeypatch.setattr(cuda_release, "capabilities", lambda: KNOWN)
    monkeypatch.setattr(cuda_release, "compiler", lambda: compiler)
    monkeypatch.setattr(cuda_release, "linker", lambda: linker)
    with pytest.raises(DeviceError) as caught:
        ahead.capability_of("60")
    assert str(caught.value).startswith(f"--cuda 60 needs {needed}")


@pytest.mark.parametrize("text", ["", "9", "x", "9.", "9.00", "900.0", "-90", "sm_90", "９0"])
def test_no_compute_capability(text):
    with pytest.raises(ValueError, match="--cuda must be a compute capability, such as 90"):
        ahead.capability_of(text)


def test_compute_capabilities():
    found = [ahead.capability_of(text) for text in ("75", "9.0", "120", "12.0")]
    assert found == [(7, 5), (9, 0), (12, 0), (12, 0)]


@pytest.mark.parametrize(("version", "used"), [((12, 2), None), ((12, 3), (12, 3))])
def test_a_linker_that_is_too_old_is_none(monkeypatch, version, used):
    """`cuda.core` has the driver link, then."""
    from cuda.bindings import nvjitlink

    monkeypatch.setattr(cuda_release, "_own", lambda: None)
    monkeypatch.setattr(nvjitlink, "version", lambda: version)
    assert cuda_release.linker() == used


def test_the_compiler_says_its_release():
    toolkit = importlib.metadata.version("cuda-toolkit")
    release = cuda_release.compiler()
    assert release is not None
    assert toolkit.startswith(f"{release[0]}.{release[1]}.")
