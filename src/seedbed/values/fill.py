"""The one door to the kernels: every value of every initializer comes through `fill`.

It checks the request, finds or allocates the array, and hands contiguous chunks of it to the thread
pool. Sources say what the values are; kernels are imported at the first random fill.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from ..errors import brief
from . import threads
from .dtypes import BFLOAT16, FLOATING, FLOATING_DTYPES, as_dtype
from .recipes import (
    Computed,
    Constant,
    Delta,
    Diagonal,
    Haar,
    Normal,
    Recipe,
    TruncatedNormal,
    Uniform,
    Window,
    kernel_key,
    kernel_sampler,
)
from .seeds import Stream
from .window import check_window, everything, runs, windows

GRAIN = 1 << 18  # elements in a chunk: some 100 µs of work, against 10 µs to hand it over
MAX_BYTES = 2**63
MAX_RANK = 64  # of NumPy's arrays
LARGE = 1 << 20  # bytes: from there on an array begins with a cache line
RANDOM = (Uniform, Normal, TruncatedNormal, Haar, Delta)

Draw = Stream | Callable[[], Stream | None] | None


def fill(
    source: Recipe,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    stream: Draw = None,
    window: Window | None = None,
    out: Any = None,
    device: str | None = None,
    owner: str = "fill",
) -> Any:
    """Return an array of values from a source, or the part of it inside a window.

    Parameters
    ----------
    source : one of the classes of `recipes`
        What the values are. The random ones need a floating `dtype`.
    shape : sequence of int
        The full table, of any rank, below 2**63 bytes. It need not fit in memory.
    dtype : dtype or name, optional
        That of `out` if there is one, else float32.
    stream : Stream, or callable that returns one
        Which random numbers; for the random sources. A callable is called once, if nothing is
        refused.
    window : tuple of slice, optional
        One step-1 slice an axis, inside `shape`; all of it by default.
    out : array, optional
        C-contiguous and writable, of the window's shape; filled in place and returned. Of NumPy, or
        on a GPU: anything with ``__cuda_array_interface__`` or ``__dlpack__``.
    device : str, optional
        ``"cpu"`` (default), ``"cuda"`` or ``"cuda:1"``.
    owner : str
        Whom errors name.

    Returns
    -------
    array
        Equal, bit for bit, to ``fill(source, shape, ...)[window]``. A new array on a GPU is a
        `seedbed.gpu.DeviceArray`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as said above, or a GPU is asked for and something is missing
        (`seedbed.gpu.DeviceError`); before any work.

    Examples
    --------
    >>> whole = fill(Normal(0.0, 1.0), (1000, 64), stream=Stream(7))
    >>> part = fill(Normal(0.0, 1.0), (1000, 64), stream=Stream(7), window=(slice(8, 9), slice(4)))
    >>> bool((part == whole[8:9, :4]).all())
    True
    """
    shape = check_shape(shape, owner)
    dtype = asked_dtype(dtype, out, owner)
    count = math.prod(shape) or math.prod(filter(None, shape))  # as NumPy counts empty arrays
    if count * dtype.itemsize >= MAX_BYTES:
        raise ValueError(f"{owner}: shape must be below 2**63 bytes; given {shape} of {dtype.name}")
    if isinstance(source, RANDOM) and dtype not in FLOATING_DTYPES:
        raise ValueError(f"{owner}: dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")
    bounds = None if window is None else check_window(window, shape, owner)
    size = shape if bounds is None else tuple(part.stop - part.start for part in bounds)
    if device in (None, "cpu") and (out is None or isinstance(out, np.ndarray)):
        array = _empty(size, dtype) if out is None else check_out(out, size, dtype, owner)
    else:
        from ..gpu import adopt

        array = adopt.target(out, device, size, dtype, owner)
    if isinstance(source, Constant):
        _fill_constant(source.value, array, shape, bounds, owner)
    elif isinstance(source, Diagonal):
        _fill_diagonal(source, array, shape, bounds, owner)
    elif isinstance(source, Computed):
        array[...] = source.compute(bounds or everything(shape), dtype)
    elif isinstance(source, (Haar, Delta)):
        _check_gain(source.gain, dtype, owner)
        key = kernel_key(_drawn(stream))
        fill_matrix = _fill_haar if isinstance(source, Haar) else _fill_delta
        fill_matrix(source.gain, array, shape, bounds, key, owner)
    else:
        _fill_random(source, array, shape, bounds, stream, owner)
    if not isinstance(array, np.ndarray):
        array.settle()
    return array if out is None else out


def asked_dtype(dtype: Any, out: Any, owner: str) -> np.dtype:
    """Return a dtype; where none is named, that of `out` if there is one, else float32."""
    return as_dtype(getattr(out, "dtype", None) if dtype is None else dtype, owner)


def check_shape(shape: Sequence[int], owner: str) -> tuple[int, ...]:
    """Return a shape as a tuple of non-negative ints, of an array that could be numbered."""
    if type(shape) is tuple and len(shape) <= MAX_RANK:  # most calls, and small ones are quick
        total = 1
        for size in shape:
            if type(size) is not int or size < 0:
                break
            total *= size or 1
        else:
            if total < MAX_BYTES:
                return shape
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        raise TypeError(f"{owner}: shape must be a sequence of integers; given {shape!r}") from None
    if sizes and (min(sizes) < 0 or any(isinstance(size, bool) for size in shape)):
        raise ValueError(f"{owner}: shape must hold integers of at least 0; given {shape!r}")
    if len(sizes) > MAX_RANK:
        raise ValueError(f"{owner}: shape must have rank {MAX_RANK} or less; given {len(sizes)}")
    if math.prod(size or 1 for size in sizes) >= MAX_BYTES:
        raise ValueError(f"{owner}: shape must be below 2**63 bytes; given {brief(shape)}")
    return sizes


def check_out(out: Any, size: tuple[int, ...], dtype: np.dtype, owner: str) -> np.ndarray:
    """Return `out` if it can be filled in place."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{owner}: out must be a NumPy array; given {type(out).__name__}")
    if out.shape != size:
        raise ValueError(f"{owner}: out must have shape {size}; given {out.shape}")
    if out.dtype != dtype:
        raise ValueError(f"{owner}: out must have dtype {dtype.name}; given {out.dtype}")
    if not out.flags.c_contiguous:
        raise ValueError(f"{owner}: out must be C-contiguous; given strides {out.strides}")
    if not out.flags.writeable:
        raise ValueError(f"{owner}: out must be writable; given a read-only array")
    return out.view(np.ndarray)  # a matrix stays two-dimensional whatever it is asked


def _empty(size: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array to fill; JAX and TensorFlow take over a large one without a copy."""
    if math.prod(size) * dtype.itemsize < LARGE:
        return np.empty(size, dtype)
    from seedbed_kernels import memory

    return memory.empty(size, dtype)


def _fill_constant(
    value: Any, array: Any, shape: tuple[int, ...], bounds: Window | None, owner: str
) -> None:
    values = np.asarray(value)
    _check_fits(values, array.dtype, owner)
    if values.ndim == 0:
        item = values.astype(array.dtype)[()]
        if not isinstance(array, np.ndarray):
            array.fill(item)
            return
        flat = array.reshape(-1)
        threads.run_chunks(lambda begin, end: flat[begin:end].fill(item), flat.size, 4 * GRAIN)
        return
    try:
        chosen = np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"{owner}: value of shape {values.shape} does not broadcast to shape {shape}"
        ) from None
    if bounds is not None:
        chosen = chosen[bounds]
    if not isinstance(array, np.ndarray):
        array[...] = chosen
        return

    def copy(begin: int, end: int) -> None:
        for part in windows(array.shape, begin, end):
            array[part] = chosen[part]

    threads.run_chunks(copy, array.size, GRAIN)


def _check_fits(values: np.ndarray, dtype: np.dtype, owner: str) -> None:
    """Refuse constants that a dtype does not hold: of a larger kind, or too large."""
    if np.can_cast(values.dtype, dtype):
        return
    given, kind = (
        "bifc".index({"u": "i", "V": "f"}.get(each.kind, each.kind))
        for each in (values.dtype, dtype)
    )
    if given > kind:
        raise ValueError(
            f"{owner}: value of {values.dtype} does not fit dtype {dtype.name}; "
            f"given {brief(values[()])}"
        )
    whole = dtype.kind in "iu"
    flat = values.reshape(-1)

    def check(begin: int, end: int) -> None:
        part = flat[begin:end]
        if whole:
            limits = np.iinfo(dtype)
            allowed = f"lie in [{limits.min}, {limits.max}]"
            lost = (part < limits.min) | (part > limits.max)
        else:
            allowed = f"be within ±{_largest(dtype):g}"
            with np.errstate(over="ignore", invalid="ignore"):
                lost = np.isfinite(part) & ~np.isfinite(part.astype(dtype))
        if lost.any():
            raise ValueError(
                f"{owner}: value must {allowed} for {dtype.name}; given {part[lost][0]}"
            )

    threads.run_chunks(check, flat.size, GRAIN)


def _largest(dtype: np.dtype) -> float:
    """Return the largest finite number of a floating or complex dtype."""
    return float(ml_dtypes.finfo(dtype).max)


def _check_gain(gain: float, dtype: np.dtype, owner: str) -> None:
    largest = _largest(dtype)
    if abs(gain) > largest:
        raise ValueError(
            f"{owner}: gain must be within ±{largest:g} for {dtype.name}; given {gain!r}"
        )


def _fill_diagonal(
    source: Diagonal, array: Any, shape: tuple[int, ...], bounds: Window | None, owner: str
) -> None:
    gain, dtype = source.gain, array.dtype
    if dtype.kind in "biu":
        limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        largest = 1 if dtype.kind == "b" else limits.max
        if gain != int(gain) or not limits.min <= gain <= largest:
            raise ValueError(
                f"{owner}: gain must be an integer in [{limits.min}, {largest}] for {dtype.name}; "
                f"given {gain!r}"
            )
    else:
        _check_gain(gain, dtype, owner)
    if not isinstance(array, np.ndarray):
        array[...] = fill(source, shape, dtype, window=bounds, owner=owner)
        return
    _fill_constant(False, array, shape, bounds, owner)
    rows, columns = bounds or everything(shape)
    first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
    if first < last:
        width = columns.stop - columns.start
        begin = (first - rows.start) * width + first - columns.start
        array.reshape(-1)[begin :: width + 1][: last - first] = gain


def _drawn(stream: Draw) -> Stream:
    """Return the stream of a fill that nothing refuses any more."""
    found = stream() if callable(stream) else stream
    assert found is not None
    return found


def _fill_random(
    source: Uniform | Normal | TruncatedNormal,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    stream: Draw,
    owner: str,
) -> None:
    if array.size == 0 or not isinstance(array, np.ndarray):
        sampler = kernel_sampler(source, array.dtype, owner)
        key = kernel_key(_drawn(stream))
        if array.size:
            where = runs(shape, bounds) if bounds else (0, [], [], array.size)
            array.fill_random(*where, key, sampler)
        return
    filler = _filler(source, array.dtype, owner)
    key, out = _packed_key(_drawn(stream)), _bits(array)
    window = filler.window(*runs(shape, bounds)) if bounds else filler.WHOLE
    threads.run_chunks(lambda begin, end: filler(out, begin, end, window, key), array.size, GRAIN)


@functools.lru_cache(256, typed=True)  # tuples of different types are equal
def _filler(source: Uniform | Normal | TruncatedNormal, dtype: np.dtype, owner: str) -> Any:
    sampler = kernel_sampler(source, dtype, owner)
    from seedbed_kernels import fills_cpu

    return fills_cpu.Filler(sampler, _bits(np.empty(0, dtype)).dtype)


@functools.lru_cache(64)
def _packed_key(stream: Stream) -> bytes:
    from seedbed_kernels import fills_cpu

    return fills_cpu.packed_key(kernel_key(stream))


def _fill_haar(
    gain: float,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    key: Any,
    owner: str,
) -> None:
    if array.size == 0:
        return
    if gain == 0.0:
        _fill_constant(False, array, shape, bounds, owner)
        return

    from seedbed_kernels import haar_cpu

    *outer, columns = shape
    *touched, across = bounds or everything(shape)
    # The rows from the first to the last that the window touches.
    first, last = (
        int(np.ravel_multi_index(corner, outer))
        for corner in ([part.start for part in touched], [part.stop - 1 for part in touched])
    )
    count, width = last - first + 1, across.stop - across.start
    rows = math.prod(outer)
    whole = array.size == count * width
    chosen = None if whole else np.ravel_multi_index(np.ogrid[tuple(touched)], outer) - first
    if not isinstance(array, np.ndarray):
        corner, size = (first, across.start), (count, width)
        if array.fill_haar(corner, size, (rows, columns), key, gain, chosen):
            return
    in_place = isinstance(array, np.ndarray) and whole
    values = array.reshape(count, width) if in_place else np.empty((count, width), array.dtype)
    out = _bits(values)
    if rows >= columns:
        haar_cpu.haar(out, (first, across.start), (rows, columns), key, gain, threads.run_chunks)
    else:
        haar_cpu.haar(out.T, (across.start, first), (columns, rows), key, gain, threads.run_chunks)
    if not in_place:
        array[...] = values.reshape(array.shape) if chosen is None else values[chosen]


def _fill_delta(
    gain: float,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    key: Any,
    owner: str,
) -> None:
    _fill_constant(False, array, shape, bounds, owner)
    *outer, rows, columns = bounds or everything(shape)
    centre = [(size - 1) // 2 for size in shape[:-2]]
    if all(part.start <= i < part.stop for i, part in zip(centre, outer, strict=True)):
        number = 0
        for i, part in zip(centre, outer, strict=True):
            number = number * (part.stop - part.start) + i - part.start
        size = rows.stop - rows.start, columns.stop - columns.start
        matrix = array.reshape((math.prod(array.shape[:-2]), *size))[number : number + 1]
        _fill_haar(gain, matrix.reshape(size), shape[-2:], (rows, columns), key, owner)


def _bits(array: np.ndarray) -> np.ndarray:
    """Return an array as the kernels take it: of 16-bit formats they know only the bits."""
    if array.itemsize == 2:
        return array.view(np.uint16 if array.dtype == BFLOAT16 else np.int16)
    return array
