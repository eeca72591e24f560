"""What Seedbed runs on here."""

import ctypes
import importlib.util
import os
import platform

import numpy as np

from seedbed_kernels import STREAM_VERSION

from .. import __version__
from ..values import threads

_NO_DEVICE = 100  # the driver's word for that it finds no GPU


def describe() -> dict[str, str]:
    """Return versions, threads, instruction set, cache folder and CUDA state, by name."""
    import numba

    return {
        "seedbed": f"{__version__}, stream version {STREAM_VERSION}",
        "python": f"{platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}",
        "threads": f"{threads.count()} of {os.cpu_count()} CPUs",
        "instructions": _instructions(),
        "cache": _cache(),
        "cuda": _cuda(),
    }


def _instructions() -> str:
    """Return the widest vectors that kernels are compiled for, and the CPU's name in LLVM."""
    from llvmlite import binding
    from numba.core import config

    chosen = config.CPU_NAME  # pyright: ignore[reportAttributeAccessIssue]
    if chosen:
        return f"those of {chosen} (NUMBA_CPU_NAME)"
    features = binding.get_host_cpu_features()
    widest = ("avx512f", "avx2", "avx", "sse4.2", "sve2", "sve", "neon")
    found = (feature.upper() for feature in widest if features.get(feature))
    return f"{next(found, platform.machine())} ({binding.get_host_cpu_name()})"


def _cache() -> str:
    """Return where compiled kernels are kept."""
    from seedbed_kernels import disk_cache

    folder = disk_cache.writable_folder()
    return str(folder or "none: no folder is writable; set NUMBA_CACHE_DIR")


def _cuda() -> str:
    """Return whether a GPU can be used, without starting CUDA."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "no package; pip install 'seedbed[cuda]'"
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
        if error not in (0, _NO_DEVICE):
            return f"driver, but it does not start: CUDA error {error}"
        return f"{count.value} device(s)"
    return "no driver"
