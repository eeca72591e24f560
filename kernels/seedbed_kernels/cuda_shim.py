"""The one place where `numba.cuda` is imported: to compile kernels.

Modules with kernels take `cuda` from here, and are themselves imported only when one is compiled.
`numba-cuda-mlir`, the announced successor of `numba-cuda`, has the same interface for kernels
under ``from numba_cuda_mlir import cuda``. To change over, change the import here, and write the
intrinsics of `floats`, `gaussian` and `philox`, which are in LLVM's language, in its own as well.
"""

import importlib
from typing import Any

from numba import cuda as numba_cuda

cuda: Any = numba_cuda  # its stubs say what kernels see of it, not what it is


def knows_numpy() -> bool:
    """Return whether `numba.cuda` finds in this NumPy what it asks of it when it compiles.

    Release 0.30 asks for ``numpy.row_stack``, which NumPy 2.5 has no more.
    """
    try:
        importlib.import_module("numba.cuda.np.arrayobj")
    except AttributeError:
        return False
    return True
