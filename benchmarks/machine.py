"""What was measured, on what, when; and where results go."""

import datetime
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import cpuinfo

import seedbed
from seedbed.values import threads
from seedbed_kernels import STREAM_VERSION

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "numba", "scipy", "torch", "jax", "tensorflow", "keras", "mkl", "randomgen")


def environment() -> str:
    """Return date, versions and CPU in a sentence."""
    info: dict[str, Any] = cpuinfo.get_cpu_info()
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    features = [name for name in ("avx512f", "avx2") if name in info.get("flags", ())]
    return (
        f"{datetime.date.today()}: Seedbed {seedbed.__version__}, stream version {STREAM_VERSION}; "
        f"{info.get('brand_raw', 'unknown CPU')} ({', '.join(features)}), "
        f"{threads.count()} threads, {platform.system()}, Python {platform.python_version()}; "
        f"{', '.join(versions)}."
    )
