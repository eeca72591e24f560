"""The two ways code is compiled here, said once.

Numba's cache sees a change in the file of a kernel but not in the files of the scalars that it
calls: whoever changes a scalar raises `REVISION` in every kernel file that uses it.
"""

from collections.abc import Callable
from typing import Any

import numba
import numba.extending


def scalar(function: Callable[..., Any]) -> Any:
    """Compile a scalar function: inlined into its caller, on the CPU and in CUDA kernels."""
    return numba.njit(forceinline=True)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a CPU kernel: runs without the GIL and is kept in Numba's cache where it can be."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(nogil=True)(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Define a function by the LLVM code that it stands for, on the CPU and in CUDA kernels."""
    return numba.extending.intrinsic(function)


def on_cuda(builder: Any) -> bool:
    """Return whether an intrinsic is being written out for a CUDA GPU."""
    return builder.module.triple.startswith("nvptx")
