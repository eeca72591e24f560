"""Fills on the CPU: runs and windows of a table, for one sampler and one dtype at a time.

What is drawn, and how, stands in `tiles_cpu`; its kernels are loaded here without importing Numba.
"""

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, cast

import numpy as np

from . import machine_code

INTEGER, POINTER = ctypes.c_int64, ctypes.c_void_p
PACKED = ctypes.c_char_p  # bytes go as a pointer to them
ARGUMENTS = (POINTER, *[INTEGER] * 3, PACKED, PACKED, INTEGER, INTEGER, PACKED, PACKED)

Key = tuple[SupportsIndex, SupportsIndex, SupportsIndex]

_kernels: dict[tuple[type, np.dtype], Callable[..., None]] = {}
_loading = threading.Lock()


def fill(out: np.ndarray, first: int, key: Key, sampler: Any) -> None:
    """Fill a contiguous run.

    Parameters
    ----------
    out : 1-D contiguous array, written
        float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    first : int
        Number of the first element in the C order of the full table.
    key : tuple of three int
        Low and high word of the seed, and the stream.
    sampler : one of the classes of `samplers`
        Its numbers are rounded to float64 for float64 output, to float32 for all others.

    Examples
    --------
    >>> from seedbed_kernels.samplers import Uniform
    >>> out = np.empty(3, np.float32)
    >>> fill(out, 0, (7, 0, 0), Uniform(1.0, 0.0, 0.0, 1.0))
    >>> out
    array([0.9545971 , 0.40696037, 0.00607508], dtype=float32)
    """
    fill_window(out, 0, first, (), (), out.size, key, sampler)


def fill_window(
    out: np.ndarray,
    begin: int,
    base: int,
    shape: Sequence[int],
    strides: Sequence[int],
    run: int,
    key: Key,
    sampler: Any,
) -> None:
    """Fill elements `begin` and following of a window, in the window's own C order.

    Parameters
    ----------
    out : 1-D contiguous array, written
        As in `fill`.
    begin : int
        Position in the window of the first element of `out`.
    base : int
        Number, in the full table, of the window's first element.
    shape, strides : sequences of int
        Outer axes of the window: lengths, and steps in elements of the full table.
    run : int
        Elements that follow each other in the full table: the window's inner axes.
    key, sampler
        As in `fill`.
    """
    size, dtype = out.size, out.dtype
    if size == 0:
        return
    axes, memory = len(shape), cast(Any, out)
    _kernel(type(sampler), dtype)(
        ctypes.addressof(ctypes.c_char.from_buffer(memory)),  # quicker than out.ctypes
        size,
        begin,
        base,
        struct.pack(f"{axes}q", *shape) if axes else b"",
        struct.pack(f"{axes}q", *strides) if axes else b"",
        axes,
        run,
        struct.pack("3Q", *key),
        struct.pack(f"{len(sampler)}d" if dtype == np.float64 else f"{len(sampler)}f", *sampler),
    )


def _kernel(kind: type, dtype: np.dtype) -> Callable[..., None]:
    found = _kernels.get((kind, dtype))
    if found is not None:
        return found
    with _loading:  # threads that fill together: one compiles
        if (kind, dtype) not in _kernels:
            _kernels[kind, dtype] = machine_code.load(
                f"fill_{kind.__name__}_{dtype.name}", lambda: _defined(kind, dtype), ARGUMENTS
            )
    return _kernels[kind, dtype]


def _defined(kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    from . import tiles_cpu

    return tiles_cpu.window_kernel(kind, dtype)
