"""Fills on the CPU: any part of a window of a table, for one sampler and one dtype at a time.

What is drawn, and how, stands in `tiles_cpu`; its kernels are loaded here without importing Numba.
"""

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, cast

import numpy as np

from . import forking, machine_code

INTEGER, POINTER = ctypes.c_int64, ctypes.c_void_p
PACKED = ctypes.c_char_p  # bytes go as a pointer to them
ARGUMENTS = (POINTER, INTEGER, INTEGER, PACKED, PACKED, PACKED)

_kernels: dict[tuple[type, np.dtype], Callable[..., None]] = {}


class Filler:
    """Fills windows by one sampler, in one dtype.

    Parameters
    ----------
    sampler : one of the classes of `samplers`
        Its numbers are rounded to float64 for float64 output, to float32 for all others.
    dtype : numpy.dtype
        Of the output: float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).

    Examples
    --------
    >>> from seedbed_kernels.samplers import Uniform
    >>> out = np.empty(3, np.float32)
    >>> fill = Filler(Uniform(1.0, 0.0, 0.0, 1.0), out.dtype)
    >>> fill(out, 0, 3, fill.WHOLE, packed_key((7, 0, 0)))
    >>> out
    array([0.9545971 , 0.40696037, 0.00607508], dtype=float32)
    """

    WHOLE = struct.pack("3q", 0, 2**63 - 1, 0)  # the window that is the table: a run without end

    def __init__(self, sampler: Any, dtype: np.dtype) -> None:
        self._kernel = _kernel(type(sampler), dtype)
        self._itemsize = dtype.itemsize
        real = "d" if dtype == np.float64 else "f"
        self._sampler = struct.pack(f"{len(sampler)}{real}", *sampler)

    def __call__(self, out: np.ndarray, begin: int, end: int, window: bytes, key: bytes) -> None:
        """Fill the elements of a window from number `begin` to before `end`, in its own C order.

        Parameters
        ----------
        out : C-contiguous array, written
            Of the whole window.
        begin, end : int
            ``0 <= begin < end <= out.size``, which is not checked.
        window : bytes
            From `window`; `WHOLE` if the window is the table.
        key : bytes
            From `packed_key`.
        """
        memory = ctypes.c_char.from_buffer(cast(Any, out))  # quicker than out.ctypes
        start = ctypes.addressof(memory) + begin * self._itemsize
        self._kernel(start, end - begin, begin, window, key, self._sampler)

    @staticmethod
    def window(base: int, shape: Sequence[int], strides: Sequence[int], run: int) -> bytes:
        """Return a window as kernels take it.

        Parameters
        ----------
        base : int
            Number, in the full table, of the window's first element.
        shape, strides : sequences of int
            Outer axes of the window: lengths, and steps in elements of the full table.
        run : int
            Elements that follow each other in the full table: the window's inner axes.
        """
        return struct.pack(f"{3 + 2 * len(shape)}q", base, run, len(shape), *shape, *strides)


def packed_key(key: tuple[SupportsIndex, SupportsIndex, SupportsIndex]) -> bytes:
    """Return a key as kernels take it: the low and high word of the seed, and the stream."""
    return struct.pack("3Q", *key)


def _kernel(kind: type, dtype: np.dtype) -> Callable[..., None]:
    found = _kernels.get((kind, dtype))
    if found is not None:
        return found
    with forking.loading:  # threads that fill together: one compiles
        if (kind, dtype) not in _kernels:
            _kernels[kind, dtype] = machine_code.load(
                f"fill_{kind.__name__}_{dtype.name}", lambda: _defined(kind, dtype), ARGUMENTS
            )
    return _kernels[kind, dtype]


def _defined(kind: type, dtype: np.dtype) -> tuple[Callable[..., None], Any]:
    from . import tiles_cpu

    return tiles_cpu.window_kernel(kind, dtype)
