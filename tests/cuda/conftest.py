"""Where CUDA tests run: on a GPU, or on a driver of the tests that runs the PTX."""

import os
import tempfile
from pathlib import Path

import pytest

EXECUTED = os.environ.get("SEEDBED_TEST_DRIVER") == "1"  # by `libcuda`, without a GPU


def pytest_configure(config):
    if EXECUTED:
        from . import libcuda

        with tempfile.TemporaryDirectory() as folder:
            libcuda.installed(Path(folder))


def gpu() -> bool:
    """Return whether there is a GPU to run on."""
    from seedbed_kernels import driver_cuda

    return driver_cuda.cuda_error() is None and len(driver_cuda.gpus) > 0


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    marked = [
        item for item in items if item.get_closest_marker("cuda") and here in item.path.parents
    ]
    if not marked or gpu():
        return
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
