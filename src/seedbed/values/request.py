"""Requests: which part of which table is asked for, and where it goes. They are checked here."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, as_index, brief, is_one_of
from .dtypes import as_dtype
from .host import HostArray
from .recipes import Constant, Random, Recipe
from .selection import (
    Keys,
    Rows,
    check_columns,
    check_keys,
    check_rows,
    check_window_of_rows,
    on_gpu,
    row_distance,
    rows_of,
)
from .window import Runs, check_window, runs

MAX_RANK = 64  # of NumPy's arrays
MAX_BYTES = 2**63  # of what is made
MAX_LENGTH = 2**66  # of an axis
MAX_ELEMENTS = {8: 2**65}  # that can be numbered, by the bytes of an element; 2**66 of all others

Selection = Runs | Rows | Keys


class Request:
    """A table's shape and dtype, the part of it that is made, and the array that takes it.

    Parameters
    ----------
    shape : sequence of int
        The full table, of any rank. It need not fit in memory.
    dtype : dtype or name, optional
        That of `out` if there is one, else float32.
    window : tuple of slice, optional
        One step-1 slice an axis, inside `shape`; all of it by default. With `rows` the first is
        None.
    rows : slice, or array or sequence of int, optional
        Numbers of rows, in any order and any shape, which takes the place of the first axis. Those
        on a GPU are int64 or uint64; they stay there, and are not checked.
    out : array, optional
        Writable, of the shape of what is made, and C-contiguous; with `rows` its rows may have any
        distance. Of NumPy, or on a GPU: anything with ``__cuda_array_interface__`` or
        ``__dlpack__``.
    device : str, optional
        ``"cpu"`` (default), ``"cuda:1"``, or ``"cuda"``: the GPU that `out` or `rows` are on, else
        the current one, as PyTorch, CuPy and Numba set it; without any, the first.

    Attributes
    ----------
    window : tuple of slice or None
        With plain bounds; None where all of the table is made.
    rows : numpy.ndarray, range, seedbed.gpu.ids.DeviceIds or None
        One-dimensional.
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
    >>> Request((1000, 64), rows=slice(3, None, 8)).size
    (125, 64)
    """

    __slots__ = (
        "_device",
        "_ids",
        "_outer",
        "_target",
        "dtype",
        "out",
        "rows",
        "shape",
        "size",
        "window",
    )

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: Any = None,
        rows: Any = None,
        out: Any = None,
        device: str | None = None,
    ) -> None:
        self.shape = shape = check_shape(shape)
        if dtype is None and out is not None:
            dtype = getattr(out, "dtype", None)
        self.dtype = as_dtype(dtype)
        self.rows, self._ids, outer = None, None, 0
        if rows is not None:
            self.window = check_window_of_rows(window, shape)
            if on_gpu(rows):
                self.rows = self._ids = _device_ids(rows, "rows", shape[0])
                ids = self.rows.shape
            else:
                self.rows, ids = check_rows(rows, shape[0])
            outer = len(ids)
            self.size = ids + tuple([axis.stop - axis.start for axis in self.window[1:]])
        elif window is None:
            self.window, self.size = None, shape
        else:
            self.window = check_window(window, shape)
            self.size = tuple([axis.stop - axis.start for axis in self.window])
        self._check_numbers()
        self._take(out, device, outer)

    def _take(self, out: Any, device: str | None, outer: int) -> None:
        """Find where the values go; the first `outer` axes of `out` may have any distance."""
        self.out, self._outer = out, outer
        self._device = self._target = None
        if out is device is self._ids is None:  # most calls, and small ones are quick
            return
        on_cpu = device is None or is_one_of(("cpu",), device)
        if on_cpu and (out is None or isinstance(out, np.ndarray)):
            if self._ids is not None:
                self._ids.check(None)
            if out is not None:
                self._target = HostArray(check_out(out, self.size, self.dtype, outer), outer)
            return
        from ..gpu import adopt

        if out is None:
            known = None if self._ids is None else self._ids.array.device
            self._device = adopt.device_number(device, known)
        else:
            self._target = adopt.target(out, device, self.size, self.dtype, outer)
        if self._ids is not None:
            target: Any = self._target
            self._ids.check(self._device if target is None else target.device)

    def _check_numbers(self) -> None:
        """Refuse a table whose elements cannot be numbered, and a part too large for an array."""
        itemsize = self.dtype.itemsize
        made = math.prod(self.size) or math.prod(filter(None, self.size))  # as NumPy counts
        if made * itemsize >= MAX_BYTES:
            raise ArgumentError(
                f"shape must be below 2**63 bytes, or a window of it; "
                f"given {brief(self.size)} of {self.dtype.name}"
            )
        if self.size != self.shape:
            total = math.prod(self.shape)
            if total > MAX_ELEMENTS.get(itemsize, MAX_LENGTH):
                raise ArgumentError(
                    f"shape must have at most 2**66 elements, 2**65 of 8 bytes; "
                    f"given {brief(self.shape)} of {self.dtype.name}"
                )

    def check(self, recipe: Recipe) -> None:
        """Refuse values that the table cannot have, or that cannot be made where rows are.

        Raises
        ------
        ArgumentError
            If `recipe` does not fit, or is not the same for all rows and their ids are on a GPU; or
            if what is on the host would be captured into a CUDA graph, which reads it later.
        """
        recipe.check(self.shape, self.dtype)
        target: Any = self._target
        if self._ids is None and (target is None or isinstance(target, HostArray)):
            return
        scalar = isinstance(recipe, Constant) and np.ndim(recipe.value) == 0
        on_host = not (scalar or isinstance(recipe, Random))
        if self._ids is not None and on_host:
            raise ArgumentError(
                f"{self._ids.name} on {self._ids.array.name!r} are taken by random initializers "
                "and those of one value; give ids that are on the host"
            )
        ids = None if scalar else self._ids_on_host
        if (on_host or ids) and target is not None and target.captured:
            raise ArgumentError(
                f"{ids} on the host cannot be captured into a CUDA graph; give {ids} that are on "
                f"{target.name!r}"
                if ids
                else "values that are computed on the host cannot be captured into a CUDA graph; "
                "fill out before the capture begins"
            )

    @property
    def _ids_on_host(self) -> str | None:
        """What an argument is called whose ids would be copied to a GPU."""
        return "rows" if isinstance(self.rows, np.ndarray) else None

    @property
    def selection(self) -> Selection:
        """Which elements are made, as the kernels take it."""
        if self.rows is None:
            return runs(self.shape, self.window)
        assert self.window is not None
        return rows_of(self.rows, self.shape, self.window)

    @property
    def target(self) -> Any:
        """The array that takes the values: of the host, or on a GPU. Allocated when first asked."""
        if self._target is None:
            if self._device is None:
                self._target = HostArray.empty(self.size, self.dtype, self._outer)
            else:
                from ..gpu import DeviceArray

                array = None if self._ids is None else self._ids.array
                stream = array.stream if array is not None and array.settled else None
                self._target = DeviceArray.empty(self.size, self.dtype, self._device, stream)
                self._target.kept = array  # which another stream may still be reading
        return self._target

    def mark(self) -> None:
        """Set rows of numbers outside the table to NaN, where nobody could check them before."""
        if self._ids is not None:
            self.target.mark(self._ids)


class KeyedRequest(Request):
    """Rows of 64-bit keys, and the array that takes them. There is no full table.

    Parameters
    ----------
    keys : array or sequence of int
        In [-2**63, 2**64), of any shape; -1 and 2**64 - 1 are the same key.
    width : int
        Columns of a row: at most 2**33, or 2**32 in float64.
    columns : slice, optional
        Of step 1: make only these.
    dtype, out, device
        As `Request` takes them. The rows of `out` may have any distance.

    Examples
    --------
    >>> KeyedRequest([7, -1], 64, "bfloat16").size
    (2, 64)
    """

    __slots__ = ("column", "keys", "width")

    def __init__(
        self,
        keys: Any,
        width: int,
        dtype: Any = None,
        *,
        columns: slice | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> None:
        self.dtype = as_dtype(getattr(out, "dtype", None) if dtype is None else dtype)
        most = 2**32 if self.dtype.itemsize == 8 else 2**33
        self.width, self.column, count = check_columns(columns, width, most)
        self._ids = None
        if on_gpu(keys):
            self.keys = self._ids = _device_ids(keys, "keys")
            outer = self.keys.shape
        else:
            self.keys, outer = check_keys(keys)
        self.shape = self.size = (*outer, count)
        self.window = self.rows = None
        self._check_numbers()
        self._take(out, device, len(outer))

    @property
    def selection(self) -> Selection:
        """Which elements are made, as the kernels take it."""
        return Keys(self.keys, self.column, self.size[-1])

    @property
    def _ids_on_host(self) -> str | None:
        return "keys" if isinstance(self.keys, np.ndarray) else None


def _device_ids(values: Any, name: str, count: int | None = None) -> Any:
    from ..gpu import adopt

    return adopt.row_ids(values, name, count)


def check_shape(shape: Sequence[int], owner: str | None = None) -> tuple[int, ...]:
    """Return a shape as a tuple of non-negative ints; errors name the owner, if there is one."""
    if type(shape) is tuple and len(shape) <= MAX_RANK:  # most calls, and small ones are quick
        for size in shape:
            if type(size) is not int or not 0 <= size <= MAX_LENGTH:
                break
        else:
            return shape
    try:
        sizes = tuple(map(as_index, shape))
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


def check_out(
    out: np.ndarray, size: tuple[int, ...], dtype: np.dtype, outer: int = 0
) -> np.ndarray:
    """Return a NumPy array if it can be filled in place.

    Its first `outer` axes are one axis of rows, which may have any distance but must not overlap.
    """
    if out.shape != size:
        raise ArgumentError(f"out must have shape {size}; given {out.shape}")
    if out.dtype != dtype:
        raise ArgumentError(f"out must have dtype {dtype.name}; given {out.dtype}")
    if not out.flags.c_contiguous and (
        row_distance(out.shape, out.strides, outer, out.itemsize) is None
    ):
        rows = ", or rows of such at equal distances" if outer else ""
        raise ArgumentError(f"out must be C-contiguous{rows}; given strides {out.strides}")
    if not out.flags.writeable:
        raise ArgumentError("out must be writable; given a read-only array")
    return out.view(np.ndarray)  # a matrix stays two-dimensional whatever it is asked
