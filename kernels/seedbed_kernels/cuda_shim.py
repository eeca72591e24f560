"""The one place where `numba.cuda` is imported: to compile kernels.

Modules with kernels take `cuda` from here, and are themselves imported only when one is compiled.
`numba-cuda-mlir`, the announced successor of `numba-cuda`, has the same interface for kernels
under ``from numba_cuda_mlir import cuda``. To change over, change the import here, and write the
intrinsics of `floats`, `gaussian` and `philox`, which are in LLVM's language, in its own as well.
"""

import contextlib
import importlib
from typing import Any

import numpy as np
from numba import cuda as numba_cuda

cuda: Any = numba_cuda  # its stubs say what kernels see of it, not what it is

_names: Any = vars(np)
if not hasattr(np, "row_stack"):  # NumPy 2.5 has it no more; numba-cuda 0.30 asks for it, once
    _names["row_stack"] = np.vstack
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("numba.cuda.np.arrayobj")
    finally:
        del _names["row_stack"]
