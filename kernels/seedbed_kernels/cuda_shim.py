"""The one place where `numba.cuda` is imported.

Modules that need a GPU take `cuda` from here and are themselves imported only when a GPU is asked
for. `numba-cuda-mlir`, the announced successor of `numba-cuda`, has the same interface for kernels
under ``from numba_cuda_mlir import cuda``. To change over, change the import here, and write the
intrinsics of `floats`, `gaussian` and `philox`, which are in LLVM's language, in its own as well.
"""

import importlib
from typing import Any

from numba import cuda as numba_cuda

from . import cuda_release

cuda: Any = numba_cuda  # its stubs say what kernels see of it, not what it is
if hasattr(cuda.cudadrv.driver, "Linker"):  # not the simulator
    cuda_release.fit(cuda.cudadrv.driver)


def knows_numpy() -> bool:
    """Return whether `numba.cuda` finds in this NumPy what it asks of it when it compiles.

    Release 0.30 asks for ``numpy.row_stack``, which NumPy 2.5 has no more.
    """
    try:
        importlib.import_module("numba.cuda.np.arrayobj")
    except AttributeError:
        return False
    return True


def device_of(pointer: int) -> int | None:
    """Return the number of the GPU whose memory is at an address; None if it is at none's."""
    from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, number = driver.cuPointerGetAttribute(attribute, pointer)
    return None if error or number < 0 else number
