"""The ways code is compiled here, said once.

Numba's cache sees a change in the file of a kernel but not in the files of the scalars that it
calls: whoever changes a scalar raises `REVISION` in every kernel file that uses it. The fills,
which most processes need and nothing else, are kept by `machine_code` instead.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
import numba.extending

from . import forking  # noqa: F401  from now on forks wait for Numba's compiler

njit: Any = numba.njit  # whose hints do not know all options

# What only kernels call needs no entry for Python, nor one for C. Each is a copy of all that is
# inlined into it, which LLVM optimises at every level of the calls: a third of the time to compile.
SIMULATED = bool(numba.config.ENABLE_CUDASIM)  # pyright: ignore[reportAttributeAccessIssue]
INSIDE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def scalar(function: Callable[..., Any]) -> Any:
    """Compile a scalar function: inlined into its caller, on the CPU and in CUDA kernels.

    Python calls it only in the CUDA simulator, where a kernel's body is plain Python.
    """
    return njit(forceinline=True, **(INSIDE | {"no_cpython_wrapper": not SIMULATED}))(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function of a kernel, inlined where it is called; Python cannot call it."""
    return njit(forceinline=True, **INSIDE)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a CPU kernel: runs without the GIL and is kept in Numba's cache where it can be."""
    try:
        made: Any = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written
        return njit(nogil=True)(function)
    save = made._cache.save_overload

    def save_if_there_is_room(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    made._cache.save_overload = save_if_there_is_room
    return made


def intrinsic(function: Callable[..., Any]) -> Any:
    """Define a function by the LLVM code that it stands for, on the CPU and in CUDA kernels."""
    return numba.extending.intrinsic(function)


@intrinsic
def align_stack(typingctx: Any) -> Any:
    """Have the kernel that calls this begin its stack at a cache line.

    LLVM does not, and vectors of 64 bytes that it saves there lie across two lines in three calls
    of four, as the caller's stack happens to lie: a fifth of the speed.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        attributes = builder.function.attributes
        attributes.alignstack = 64
        attributes.add("nounwind")  # llvmlite prints none if all it has is an alignment
        return context.get_dummy_value()

    return numba.types.void(), codegen


def cpu_has(context: Any, feature: str, *names: str) -> bool:
    """Return whether the CPU compiled for has a feature: as LLVM tells it, or as its name says."""
    _, name, features = context.codegen().magic_tuple()
    return f"+{feature}" in features.split(",") or name in names


def on_cuda(builder: Any) -> bool:
    """Return whether an intrinsic is being written out for a CUDA GPU."""
    return builder.module.triple.startswith("nvptx")
