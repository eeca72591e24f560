"""Where CUDA tests run: on a GPU, on the tests' driver if asked, else in Numba's CUDA simulator."""

import os
import tempfile
import threading
from pathlib import Path

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
EXECUTED = os.environ.get("SEEDBED_TEST_DRIVER") == "1"  # the PTX, by `libcuda`


def pytest_configure(config):
    if SIMULATED:
        complete_simulator()
    if EXECUTED:
        from . import libcuda

        with tempfile.TemporaryDirectory() as folder:
            libcuda.installed(Path(folder))


def complete_simulator():
    """Give the simulator what it lacks of a warp's and a device's functions."""
    from numba.cuda.simulator.api import stream
    from numba.cuda.simulator.cudadrv import devices
    from numba.cuda.simulator.cudadrv.devices import FakeCUDADevice
    from numba.cuda.simulator.kernelapi import FakeCUDAModule

    def ballot_sync(self, mask, predicate):
        thread = threading.current_thread()
        votes = thread._manager.block_state[:, 0, 0]
        votes[thread.thread_id] = predicate
        thread.syncthreads()
        first = thread.thread_id // 32 * 32
        result = sum(1 << lane for lane, vote in enumerate(votes[first : first + 32]) if vote)
        thread.syncthreads()
        return result

    # All threads of a block wait for each other, so those of a warp do, too.
    FakeCUDAModule.ballot_sync = ballot_sync
    FakeCUDAModule.syncwarp = lambda self: threading.current_thread().syncthreads()
    FakeCUDADevice.MULTIPROCESSOR_COUNT, FakeCUDADevice.id = 1, 0
    stream.__int__ = lambda self: 1  # its handle: that of the legacy default stream
    devices._SIMULATOR_CC = (9, 0)

    from seedbed_kernels import launch_cuda

    launch_cuda.FEWEST = 2  # a simulated block takes as long as it would with work


def gpu() -> bool:
    """Return whether there is a GPU to run on."""
    from seedbed_kernels import driver_cuda

    return not SIMULATED and driver_cuda.cuda_error() is None and len(driver_cuda.gpus) > 0


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    marked = [
        item for item in items if item.get_closest_marker("cuda") and here in item.path.parents
    ]
    if not marked or gpu():
        return
    for item in marked:
        if not (SIMULATED and item.path.name == "test_fills.py"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
