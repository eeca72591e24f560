"""The CUDA driver as far as it is needed here: GPUs, contexts, streams, and what is missing."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from seedbed_kernels import cuda_release, driver_cuda
from seedbed_kernels.driver_cuda import LEGACY_STREAM, PER_THREAD_STREAM

from ..errors import ArgumentError, DeviceError, brief

_DEVICE = re.compile(r"cuda(?::(\d+))?")
_FAILURE = re.compile(r"CUDA_ERROR_\w+|cudaError\w+")  # as `driver_cuda` and CuPy tell it


def ready() -> Any:
    """Return what calls the driver, `driver_cuda`, ready for work.

    Raises
    ------
    DeviceError
        If the package, the driver, a GPU or the compiler is missing; the message says which.
    """
    return _ready(os.getpid())


@functools.cache  # what is there is not looked for again in a process; what is missing is
def _ready(_: int) -> Any:
    needs = "device 'cuda' needs"
    _check_package(needs)
    error = driver_cuda.cuda_error()  # starts the driver
    if error is not None and "NOT_INITIALIZED" in error:
        raise DeviceError(f"{needs} a process that is no fork of one that used CUDA: take spawn")
    if error is not None and "NO_DEVICE" not in error:
        raise DeviceError(f"{needs} an NVIDIA driver: {' '.join(error.split())}")
    if error is not None or len(driver_cuda.gpus) == 0:
        raise DeviceError(f"{needs} an NVIDIA GPU: the driver finds none")
    if cuda_release.compiler() is None:
        raise DeviceError(f"{needs} libNVVM, the compiler: pip install 'seedbed[cuda]'")
    _check_releases(needs, driver_cuda.get_version())
    return driver_cuda


def compiles_for(capability: tuple[int, int], needs: str) -> None:
    """Refuse to compile for a GPU that need not be here where that cannot be done.

    Raises
    ------
    DeviceError
        If the package, the compiler or the linker is missing, or does not know such a GPU.
    """
    _check_package(needs)
    for part, release in (("libNVVM, the compiler", cuda_release.compiler()),
                          ("nvJitLink, the linker", cuda_release.linker())):  # fmt: skip
        if release is None:
            raise DeviceError(f"{needs} {part}: pip install 'seedbed[cuda]'")
    _check_releases(needs)
    check_capability(capability, needs)


def _check_package(needs: str) -> None:
    """Refuse to go on without `numba-cuda`, or with its simulator."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"{needs} the package numba-cuda: pip install 'seedbed[cuda]'")
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        raise DeviceError(f"{needs} a compiler, not Numba's simulator: unset NUMBA_ENABLE_CUDASIM")


def _check_releases(needs: str, driver: tuple[int, int] | None = None) -> None:
    """Refuse a compiler, a linker and a driver, if there is one, whose releases do not fit.

    A linker takes code of its own and earlier releases. A driver runs what a linker of its own or
    an earlier major version made; without a linker, it links.
    """
    compiler, linker = cuda_release.compiler(), cuda_release.linker() or driver
    assert linker is not None
    if compiler is not None and linker < compiler:
        raise DeviceError(
            f"{needs} a compiler and a linker that fit: libNVVM is of CUDA {_dotted(compiler)}, "
            f"the linker in use of CUDA {_dotted(linker)}: {_install(linker)}"
        )
    if driver is not None and driver[0] < linker[0]:
        raise DeviceError(
            f"{needs} a driver for CUDA {linker[0]}; the one installed is for CUDA "
            f"{_dotted(driver)}: {_install(driver)}, or update the driver"
        )


def check_capability(capability: tuple[int, int], needs: str) -> None:
    """Refuse a GPU that the compiler does not know.

    Code for one of 9.0 and up is for that one alone; before, it is for later ones as well.
    """
    known, release = cuda_release.capabilities(), cuda_release.compiler()
    if not known or release is None:
        return
    if capability in known or min(known) < capability < (9, 0):
        return
    older = capability < min(known)
    remedy = "pip install 'seedbed[cuda12]'" if older else "pip install -U 'seedbed[cuda13]'"
    raise DeviceError(
        f"{needs} a compiler for compute capability {_dotted(capability)}; that of CUDA "
        f"{_dotted(release)} knows {', '.join(map(_dotted, known))}: {remedy}"
    )


def _dotted(release: tuple[int, int]) -> str:
    return f"{release[0]}.{release[1]}"


def _install(release: tuple[int, int]) -> str:
    major, minor = release
    return f"pip install 'seedbed[cuda{major}]' 'cuda-toolkit=={major}.{minor}.*'"


def device_number(device: Any, known: int | None = None) -> int:
    """Return the number in ``"cuda:1"``; for ``"cuda"`` a known one, else the current GPU's."""
    match = _DEVICE.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise ArgumentError(f"device must be 'cpu', 'cuda' or 'cuda:N'; given {brief(device)}")
    gpu, number = ready(), known
    if match[1] is not None:
        number = int(match[1])
    elif number is None:
        number = _current(gpu)
    if number >= len(gpu.gpus):
        raise DeviceError(f"device {device!r} is not there; the driver finds {len(gpu.gpus)}")
    check(gpu, number)
    return number


def _current(gpu: Any) -> int:
    """Return the number of the GPU that is current.

    PyTorch's own, where PyTorch uses GPUs: it may be one that the driver has not been told of. Else
    that of the calling thread, as CuPy, Numba and CUDA itself set it; without one, the first.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.current_device()
    return gpu.get_current_device().id


def check(gpu: Any, number: int) -> None:
    """Refuse a GPU that kernels cannot be compiled for."""
    capability = tuple(gpu.gpus[number].compute_capability)
    check_capability(capability, f"device 'cuda:{number}' needs")


@contextlib.contextmanager
def on_device(gpu: Any, device: int) -> Iterator[Any]:
    """Work on a GPU: what fails there is a `MemoryError` or an `OSError`."""
    try:
        with gpu.gpus[device]:
            yield gpu
    except Exception as error:
        failure = _FAILURE.search(str(error))
        if failure is None:
            raise
        if failure[0] in ("CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation"):
            raise MemoryError(f"cuda:{device} has not enough free memory") from error
        raise OSError(f"cuda:{device} failed: {failure[0]}") from error


def stream_of(gpu: Any, handle: int) -> Any:
    """Return the stream of a handle, as the CUDA array interface and DLPack number them."""
    if handle == LEGACY_STREAM:
        return gpu.legacy_default_stream()
    if handle == PER_THREAD_STREAM:
        return gpu.per_thread_default_stream()
    return gpu.external_stream(handle)
