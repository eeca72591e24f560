"""Requests: which part of which table is asked for, and where it goes. They are checked here."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, brief
from .dtypes import as_dtype
from .host import HostArray
from .window import Window, check_window

MAX_RANK = 64  # of NumPy's arrays
MAX_BYTES = 2**63  # of what is made
MAX_LENGTH = 2**66  # of an axis
MAX_ELEMENTS = {8: 2**65}  # that can be numbered, by the bytes of an element; 2**66 of all others
CPU = (None, "cpu")


class Request:
    """A table's shape and dtype, the part of it that is made, and the array that takes it.

    Parameters
    ----------
    shape : sequence of int
        The full table, of any rank. It need not fit in memory.
    dtype : dtype or name, optional
        That of `out` if there is one, else float32.
    window : tuple of slice, optional
        One step-1 slice an axis, inside `shape`; all of it by default.
    out : array, optional
        C-contiguous and writable, of the window's shape. Of NumPy, or on a GPU: anything with
        ``__cuda_array_interface__`` or ``__dlpack__``.
    device : str, optional
        ``"cpu"`` (default), ``"cuda"`` or ``"cuda:1"``.

    Attributes
    ----------
    window : tuple of slice or None
        With plain bounds; None where all of the table is made.
    size : tuple of int
        The shape of what is made.
    out : array or None
        As given.

    Raises
    ------
    ArgumentError, ArgumentTypeError, DeviceError
        If an argument is not as said above, or a GPU is asked for and something is missing.

    Examples
    --------
    >>> request = Request((1000, 64), "bfloat16", window=(slice(8, 10), slice(None)))
    >>> request.size, request.dtype
    ((2, 64), dtype(bfloat16))
    """

    __slots__ = ("_device", "_target", "dtype", "out", "shape", "size", "window")

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: Window | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> None:
        self.shape = shape = check_shape(shape)
        self.dtype = as_dtype(getattr(out, "dtype", None) if dtype is None else dtype)
        self.out = out
        self._device = self._target = None
        if window is None:
            self.window, self.size = None, shape
        else:
            self.window = window = check_window(window, shape)
            self.size = tuple([part.stop - part.start for part in window])
        self._check_numbers()
        if out is None and device in CPU:
            return
        if device in CPU and isinstance(out, np.ndarray):
            self._target = HostArray(check_out(out, self.size, self.dtype))
            return
        from ..gpu import adopt

        if out is None:
            self._device = adopt.device_number(device)
        else:
            self._target = adopt.target(out, device, self.size, self.dtype)

    def _check_numbers(self) -> None:
        """Refuse a table whose elements cannot be numbered, and a part too large for an array."""
        itemsize = self.dtype.itemsize
        made = math.prod(self.size) or math.prod(filter(None, self.size))  # as NumPy counts
        if made * itemsize >= MAX_BYTES:
            raise ArgumentError(
                f"shape must be below 2**63 bytes, or a window of it; "
                f"given {brief(self.size)} of {self.dtype.name}"
            )
        if made and self.size != self.shape:
            total = math.prod(self.shape)
            if total > MAX_ELEMENTS.get(itemsize, MAX_LENGTH):
                raise ArgumentError(
                    f"shape must have at most 2**66 elements, 2**65 of 8 bytes; "
                    f"given {brief(self.shape)} of {self.dtype.name}"
                )

    @property
    def target(self) -> Any:
        """The array that takes the values: of the host, or on a GPU. Allocated when first asked."""
        if self._target is None:
            if self._device is None:
                self._target = HostArray.empty(self.size, self.dtype)
            else:
                from ..gpu import DeviceArray

                self._target = DeviceArray.empty(self.size, self.dtype, self._device)
        return self._target

    @property
    def result(self) -> Any:
        """What the caller gets: `out`, or the new array."""
        return self.target.result if self.out is None else self.out


def check_shape(shape: Sequence[int], owner: str | None = None) -> tuple[int, ...]:
    """Return a shape as a tuple of non-negative ints; errors name the owner, if there is one."""
    if type(shape) is tuple and len(shape) <= MAX_RANK:  # most calls, and small ones are quick
        for size in shape:
            if type(size) is not int or not 0 <= size <= MAX_LENGTH:
                break
        else:
            return shape
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        raise ArgumentTypeError(
            f"shape must be a sequence of integers; given {brief(shape)}"
        ).named(owner) from None
    wrong = None
    if sizes and (min(sizes) < 0 or any(isinstance(size, (bool, np.bool_)) for size in shape)):
        wrong = f"hold integers of at least 0; given {brief(shape)}"
    elif len(sizes) > MAX_RANK:
        wrong = f"have rank {MAX_RANK} or less; given {len(sizes)}"
    elif max(sizes, default=0) > MAX_LENGTH:
        wrong = f"have at most 2**66 elements; given {brief(shape)}"
    if wrong:
        raise ArgumentError(f"shape must {wrong}").named(owner)
    return sizes


def check_out(out: np.ndarray, size: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return a NumPy array if it can be filled in place."""
    if out.shape != size:
        raise ArgumentError(f"out must have shape {size}; given {out.shape}")
    if out.dtype != dtype:
        raise ArgumentError(f"out must have dtype {dtype.name}; given {out.dtype}")
    if not out.flags.c_contiguous:
        raise ArgumentError(f"out must be C-contiguous; given strides {out.strides}")
    if not out.flags.writeable:
        raise ArgumentError("out must be writable; given a read-only array")
    return out.view(np.ndarray)  # a matrix stays two-dimensional whatever it is asked
