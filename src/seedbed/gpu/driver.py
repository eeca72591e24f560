"""The CUDA driver as far as it is needed here: GPUs, contexts, streams, and what is missing."""

import contextlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DeviceError, brief

_DEVICE = re.compile(r"cuda(?::(\d+))?")
_FAILURE = re.compile(r"CUDA_ERROR_\w+|cudaError\w+")  # as numba-cuda, cuda.core and CuPy tell it
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2  # handles that stand for the default streams


def ready() -> Any:
    """Return `numba.cuda`, ready for work.

    Raises
    ------
    DeviceError
        If the package, the driver, a GPU or the compiler is missing; the message says which.
    """
    needs = "device 'cuda' needs"
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"{needs} the package numba-cuda: pip install 'seedbed[cuda]'")
    from seedbed_kernels.cuda_shim import cuda, knows_numpy

    if not knows_numpy():
        release = importlib.metadata.version("numba-cuda")
        raise DeviceError(
            f"{needs} an older NumPy: numba-cuda {release} does not go with {np.__version__}: "
            "pip install 'numpy<2.5'"
        )
    ready = cuda.is_available()  # starts the driver: before, there is no error to ask for
    error = cuda.cuda_error()
    if error is not None and "NO_DEVICE" not in error:
        raise DeviceError(f"{needs} an NVIDIA driver: {' '.join(error.split())}")
    if error is not None or len(cuda.gpus) == 0:
        raise DeviceError(f"{needs} an NVIDIA GPU: the driver finds none")
    if not ready:
        raise DeviceError(f"{needs} libNVVM, the compiler: pip install 'seedbed[cuda]'")
    problem = _misfit(cuda.cudadrv.driver.get_version())
    if problem is not None:
        raise DeviceError(f"{needs} {problem}")
    return cuda


def _misfit(driver: tuple[int, int]) -> str | None:
    """Return what is needed where compiler, linker and driver are of releases that do not fit.

    A linker takes code of its own and earlier releases. A driver runs what a linker of its own or
    an earlier major version made; without a linker, it links.
    """
    from seedbed_kernels import cuda_release

    compiler, linker = cuda_release.compiler(), cuda_release.linker() or driver
    if compiler is not None and linker < compiler:
        return (
            f"a compiler and a linker that fit: libNVVM is of CUDA {_dotted(compiler)}, "
            f"the linker in use of CUDA {_dotted(linker)}: {_install(linker)}"
        )
    if driver[0] < linker[0]:
        return (
            f"a driver for CUDA {linker[0]}; the one installed is for CUDA {_dotted(driver)}: "
            f"{_install(driver)}, or update the driver"
        )
    return None


def _dotted(release: tuple[int, int]) -> str:
    return f"{release[0]}.{release[1]}"


def _install(release: tuple[int, int]) -> str:
    major, minor = release
    return f"pip install 'seedbed[cuda{major}]' 'cuda-toolkit=={major}.{minor}.*'"


def device_number(device: Any) -> int:
    """Return the number in ``"cuda:1"``; ``"cuda"`` is 0."""
    match = _DEVICE.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise ArgumentError(f"device must be 'cpu', 'cuda' or 'cuda:N'; given {brief(device)}")
    number, count = int(match[1] or 0), len(ready().gpus)
    if number >= count:
        raise DeviceError(f"device {device!r} is not there; the driver finds {count}")
    return number


def numba_cuda() -> Any:
    """Return `numba.cuda`, which is ready already."""
    from seedbed_kernels.cuda_shim import cuda

    return cuda


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
        if failure[0] == "CUDA_ERROR_OUT_OF_MEMORY":
            raise MemoryError(f"cuda:{device} has not enough free memory") from error
        raise OSError(f"cuda:{device} failed: {failure[0]}") from error


def stream_of(gpu: Any, handle: int) -> Any:
    """Return the stream of a handle, as the CUDA array interface and DLPack number them."""
    if handle == LEGACY_STREAM:
        return gpu.legacy_default_stream()
    if handle == PER_THREAD_STREAM:
        return gpu.per_thread_default_stream()
    return gpu.external_stream(handle)
