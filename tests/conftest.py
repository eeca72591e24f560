"""The environment of all tests, and a line that says where CUDA's ran."""

import os
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share what is set here
    # A cache of its own for each run: Numba's does not see changes in helper files.
    _cache = tempfile.TemporaryDirectory(prefix="seedbed-numba-")
    os.environ["NUMBA_CACHE_DIR"] = _cache.name
# The hashes must not depend on the number of threads; tests ask for up to seven.
os.environ.setdefault("NUMBA_NUM_THREADS", "7")
# Keras reads it once, at its first import in the test process, whichever module that is in.
os.environ["KERAS_BACKEND"] = "jax"


def pytest_terminal_summary(terminalreporter):
    from .cuda.conftest import SIMULATED, gpu

    ran = {
        report.nodeid.split("::")[0].rsplit("/")[-1]
        for report in terminalreporter.getreports("passed")
    }
    if SIMULATED:
        where = ["in the CUDA simulator"]
    elif gpu():
        where = ["on the GPU"]
    else:
        where = ["no GPU"]
    if "test_simulator.py" in ran:
        where.append("fills ran in the CUDA simulator")
    if "test_ptx.py" in ran:
        where.append("kernels compiled to PTX and machine code")
    terminalreporter.write_line("CUDA: " + "; ".join(where))
