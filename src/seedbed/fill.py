"""The one door to the kernels: every value of every initializer comes through `fill`.

It checks the request, finds or allocates the array, and hands contiguous chunks of it to the thread
pool. Sources say what the values are; kernels are imported at the first random fill.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import parallel
from .dtypes import (
    BFLOAT16,
    FLOATING,
    FLOATING_DTYPES,
    as_dtype,
    largest_below,
    largest_not_above,
    smallest_not_below,
)
from .seeds import Stream

GRAIN = 1 << 18  # elements in a chunk: some 100 µs of work, against 10 µs to hand it over
MAX_BYTES = 2**63
LARGE = 1 << 20  # bytes: from there on an array begins with a cache line
TRUNCATION = 2.0  # a truncated normal keeps by default what lies within two stddev of the mean
LEAST_KEPT = 0.05  # of a normal between the bounds, to redraw what lies outside: 20 draws or fewer
FARTHEST = 2.0**60  # bound of a tail, in stddev: its square is still a float32

Window = tuple[slice, ...]


class Uniform(NamedTuple):
    """Uniform on [minval, maxval)."""

    minval: float
    maxval: float


class Normal(NamedTuple):
    """Normal."""

    mean: float
    stddev: float


class TruncatedNormal(NamedTuple):
    """Normal, but only what lies in [mean + lower stddev, mean + upper stddev]."""

    mean: float
    stddev: float
    lower: float = -TRUNCATION
    upper: float = TRUNCATION


class Haar(NamedTuple):
    """`gain` times orthonormal rows or columns, whichever are fewer, uniformly distributed.

    They are those of a matrix: its columns are the last axis, its rows all others. Rank 2 or more.
    """

    gain: float


class Delta(NamedTuple):
    """Zeros, but at the centre of the axes before the last two a matrix like that of `Haar`."""

    gain: float


class Constant(NamedTuple):
    """One value, or an array of them that broadcasts to the full shape."""

    value: Any


class Computed(NamedTuple):
    """Values from a function of the window, as slices with plain bounds, and the dtype."""

    compute: Callable[[Window, np.dtype], np.ndarray]


Source = Uniform | Normal | TruncatedNormal | Haar | Delta | Constant | Computed


def fill(
    source: Source,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    stream: Stream | None = None,
    window: Window | None = None,
    out: Any = None,
    device: str | None = None,
    owner: str = "fill",
) -> Any:
    """Return an array of values from a source, or the part of it inside a window.

    Parameters
    ----------
    source : Uniform, Normal, TruncatedNormal, Haar, Delta, Constant or Computed
        What the values are. The random ones need a floating `dtype`.
    shape : sequence of int
        The full table, of any rank, below 2**63 bytes. It need not fit in memory.
    dtype : dtype or name, optional
        That of `out` if there is one, else float32.
    stream : Stream
        Which random numbers; for the random sources.
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
        `seedbed.cuda.DeviceArray`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as said above, or a GPU is asked for and something is missing
        (`seedbed.cuda.DeviceError`); before any work.

    Examples
    --------
    >>> whole = fill(Normal(0.0, 1.0), (1000, 64), stream=Stream(7))
    >>> part = fill(Normal(0.0, 1.0), (1000, 64), stream=Stream(7), window=(slice(8, 9), slice(4)))
    >>> bool((part == whole[8:9, :4]).all())
    True
    """
    shape = check_shape(shape, owner)
    dtype = asked_dtype(dtype, out, owner)
    if math.prod(shape) * dtype.itemsize >= MAX_BYTES:
        raise ValueError(f"{owner}: shape {shape} of {dtype.name} is not below 2**63 bytes")
    random = isinstance(source, (Uniform, Normal, TruncatedNormal, Haar, Delta))
    if random and dtype not in FLOATING_DTYPES:
        raise ValueError(f"{owner}: dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")
    bounds = None if window is None else check_window(window, shape, owner)
    size = shape if bounds is None else tuple(part.stop - part.start for part in bounds)
    if device in (None, "cpu") and (out is None or isinstance(out, np.ndarray)):
        array = _empty(size, dtype) if out is None else check_out(out, size, dtype, owner)
    else:
        from . import cuda

        array = cuda.place(out, device, size, dtype, owner)

    if isinstance(source, Constant):
        _fill_constant(source.value, array, shape, bounds, owner)
    elif isinstance(source, Computed):
        array[...] = source.compute(bounds or tuple(slice(0, size) for size in shape), dtype)
    elif isinstance(source, Haar):
        assert stream is not None
        _fill_haar(source.gain, array, shape, bounds, stream, owner)
    elif isinstance(source, Delta):
        assert stream is not None
        _fill_delta(source.gain, array, shape, bounds, stream, owner)
    else:
        assert stream is not None
        _fill_random(source, array, shape, bounds, stream, owner)
    if not isinstance(array, np.ndarray):
        array.settle()
    return array if out is None else out


def asked_dtype(dtype: Any, out: Any, owner: str) -> np.dtype:
    """Return a dtype; where none is named, that of `out` if there is one, else float32."""
    return as_dtype(getattr(out, "dtype", None) if dtype is None else dtype, owner)


def check_shape(shape: Sequence[int], owner: str) -> tuple[int, ...]:
    """Return a shape as a tuple of non-negative ints."""
    if type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape):
        return shape
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        raise TypeError(f"{owner}: shape must be a sequence of integers; given {shape!r}") from None
    if sizes and (min(sizes) < 0 or any(isinstance(size, bool) for size in shape)):
        raise ValueError(f"{owner}: shape must hold integers of at least 0; given {shape!r}")
    return sizes


def check_window(window: Window, shape: tuple[int, ...], owner: str) -> Window:
    """Return a window with plain bounds: ``0 <= start <= stop <= size`` on each axis."""
    given = f"given {window!r} for shape {shape}"
    if not isinstance(window, tuple) or not all(isinstance(part, slice) for part in window):
        raise TypeError(f"{owner}: window must be a tuple of slices; {given}")
    if len(window) != len(shape):
        raise ValueError(f"{owner}: window must have one slice for each axis; {given}")
    bounds = []
    for part, size in zip(window, shape, strict=True):
        try:
            start = 0 if part.start is None else operator.index(part.start)
            stop = size if part.stop is None else operator.index(part.stop)
            step = 1 if part.step is None else operator.index(part.step)
        except TypeError:
            raise TypeError(f"{owner}: window must have integer bounds; {given}") from None
        start, stop = start + size * (start < 0), stop + size * (stop < 0)
        if step != 1:
            raise ValueError(f"{owner}: window must have slices of step 1; {given}")
        if not 0 <= start <= stop <= size:
            raise ValueError(f"{owner}: window must lie inside the shape; {given}")
        bounds.append(slice(start, stop))
    return tuple(bounds)


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


def _kind(dtype: np.dtype) -> int:
    """Order the kinds of number by what they can hold: bool, integer, floating, complex."""
    return "bifc".index({"u": "i", "V": "f"}.get(dtype.kind, dtype.kind))


def _fill_constant(
    value: Any, array: Any, shape: tuple[int, ...], bounds: Window | None, owner: str
) -> None:
    values = np.asarray(value)
    dtype = array.dtype
    if _kind(values.dtype) > _kind(dtype):
        raise ValueError(f"{owner}: a value of {values.dtype} does not fit dtype {dtype.name}")
    if dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise ValueError(
                f"{owner}: value must lie in [{limits.min}, {limits.max}] for {dtype.name}; "
                f"given {value!r}"
            )
    if values.ndim == 0:
        item = values.astype(dtype)[()]
        if not isinstance(array, np.ndarray):
            array.fill(item)
            return
        flat = array.reshape(-1)
        parallel.run(lambda begin, end: flat[begin:end].fill(item), flat.size, 4 * GRAIN)
        return
    try:
        whole = np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"{owner}: value of shape {values.shape} does not broadcast to shape {shape}"
        ) from None
    array[...] = whole if bounds is None else whole[bounds]


def _fill_random(
    source: Uniform | Normal | TruncatedNormal,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    stream: Stream,
    owner: str,
) -> None:
    if array.size == 0:
        return
    sampler = kernel_sampler(source, array.dtype, owner)
    key = kernel_key(stream)
    base, lengths, strides, run = runs(shape, bounds) if bounds else (0, [], [], array.size)
    if not isinstance(array, np.ndarray):
        array.fill_random(base, lengths, strides, run, key, sampler)
        return

    from seedbed_kernels import fills_cpu

    flat = _bits(array).reshape(-1)

    def task(begin: int, end: int) -> None:
        part = flat[begin:end]
        fills_cpu.fill_window(part, begin, base, lengths, strides, run, key, sampler)

    parallel.run(task, flat.size, GRAIN)


def _fill_haar(
    gain: float,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    stream: Stream,
    owner: str,
) -> None:
    largest = largest_not_above(math.inf, array.dtype)
    if abs(gain) > largest:
        raise ValueError(
            f"{owner}: gain = {gain} must be within ±{largest:g} for {array.dtype.name}"
        )
    if array.size == 0:
        return

    from seedbed_kernels import haar_cpu

    *outer, columns = shape
    *touched, across = bounds or tuple(slice(0, size) for size in shape)
    # The rows from the first to the last that the window touches.
    first, last = (
        int(np.ravel_multi_index(corner, outer))
        for corner in ([part.start for part in touched], [part.stop - 1 for part in touched])
    )
    count, width = last - first + 1, across.stop - across.start
    rows, key = math.prod(outer), kernel_key(stream)
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
        haar_cpu.haar(out, (first, across.start), (rows, columns), key, gain, parallel.run)
    else:
        haar_cpu.haar(out.T, (across.start, first), (columns, rows), key, gain, parallel.run)
    if not in_place:
        array[...] = values.reshape(array.shape) if chosen is None else values[chosen]


def _fill_delta(
    gain: float,
    array: Any,
    shape: tuple[int, ...],
    bounds: Window | None,
    stream: Stream,
    owner: str,
) -> None:
    _fill_constant(0.0, array, shape, bounds, owner)
    *outer, rows, columns = bounds or tuple(slice(0, size) for size in shape)
    centre = [(size - 1) // 2 for size in shape[:-2]]
    if all(part.start <= i < part.stop for i, part in zip(centre, outer, strict=True)):
        number = 0
        for i, part in zip(centre, outer, strict=True):
            number = number * (part.stop - part.start) + i - part.start
        size = rows.stop - rows.start, columns.stop - columns.start
        matrix = array.reshape((math.prod(array.shape[:-2]), *size))[number : number + 1]
        _fill_haar(gain, matrix.reshape(size), shape[-2:], (rows, columns), stream, owner)


def _bits(array: np.ndarray) -> np.ndarray:
    """Return an array as the kernels take it: of 16-bit formats they know only the bits."""
    if array.itemsize == 2:
        return array.view(np.uint16 if array.dtype == BFLOAT16 else np.int16)
    return array


@functools.lru_cache(64)
def kernel_key(stream: Stream) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the kernels' key: the words of the seed, and the stream."""
    return np.uint64(stream.seed % 2**32), np.uint64(stream.seed >> 32), np.uint64(stream.draw)


@functools.lru_cache(256, typed=True)  # tuples of different types are equal
def kernel_sampler(source: Uniform | Normal | TruncatedNormal, dtype: np.dtype, owner: str) -> Any:
    """Return the kernels' sampler for a random source: scale, shift and bounds in its precision."""
    from seedbed_kernels import samplers

    first, second = source[:2]
    real = np.float64 if dtype == np.float64 else np.float32
    precision = np.dtype(real)
    largest = largest_not_above(math.inf, dtype)
    first += 0.0  # not -0.0
    scale, shift, low, high = second, first, -largest, largest
    sampler: type = getattr(samplers, type(source).__name__)
    further: tuple[float, ...] = ()
    if isinstance(source, Uniform):
        scale, shift = second - first, smallest_not_below(first, precision)
        low, high = smallest_not_below(first, dtype), largest_below(second, dtype)
        if scale == 0.0:
            low = high = _nearest(first, dtype)
        elif low > high:
            raise ValueError(
                f"{owner}: no {dtype.name} number lies in [minval, maxval) = [{first}, {second})"
            )
    elif isinstance(source, TruncatedNormal):
        lower, upper = further = source[2:]
        check_truncation(lower, upper, owner)
        below, above = (bound * second if second else 0.0 for bound in further)
        if first + below > largest or first + above < -largest:
            raise ValueError(
                f"{owner}: no {dtype.name} number lies from mean + lower stddev = "
                f"{first + below:g} to mean + upper stddev = {first + above:g}"
            )
        low = smallest_not_below(max(first + below, -largest), dtype)
        high = largest_not_above(min(first + above, largest), dtype)
        if low > high:  # none between the bounds
            low = high = _nearest(first + (below + above) / 2, dtype)
        if _kept(lower, upper) < LEAST_KEPT:
            if upper <= 0.0:  # as its mirror image
                scale, lower, upper = -second, -upper, -lower
            shift = first + lower * scale
            sampler, further = _rare(lower, upper)
    widest = largest_not_above(math.inf, precision)  # that is computed in
    if max(abs(first), abs(second)) > largest or max(abs(scale), abs(shift)) > widest:
        names = ", ".join(source._fields)
        too = ", and maxval - minval" if isinstance(source, Uniform) else ""
        raise ValueError(
            f"{owner}: {names} = {', '.join(map(str, source))}{too} must be within ±{largest:g} "
            f"for {dtype.name}"
        )
    numbers = [real(scale), real(shift), real(low + 0.0), real(high + 0.0)]  # no bound is -0
    return sampler(*numbers, *map(real, further))


def _rare(lower: float, upper: float) -> tuple[type, tuple[float, ...]]:
    """Return the sampler for bounds that keep little of a normal, and what it takes of them."""
    from seedbed_kernels.samplers import NarrowNormal, TailNormal

    near, far = max(lower, 0.0), max(-lower, upper)
    if (far - near) * (far + near) < 2.0:  # the density changes by less than e
        return NarrowNormal, (0.0, upper - lower, 2.0 * lower, lower * lower - near * near)
    return TailNormal, (0.0, upper - lower, near)


def _kept(lower: float, upper: float) -> float:
    """Return how much of a normal distribution lies between bounds."""
    below, above = (math.erfc(-bound / math.sqrt(2)) / 2 for bound in (lower, upper))
    return above - below


def check_truncation(lower: float, upper: float, owner: str) -> None:
    """Check the bounds of a truncated normal, in stddev."""
    given = f"given {lower!r} and {upper!r}"
    if not all(isinstance(bound, (int, float)) for bound in (lower, upper)):
        raise TypeError(f"{owner}: lower and upper must be numbers; {given}")
    if not lower < upper:
        raise ValueError(f"{owner}: lower must be below upper; {given}")
    if max(lower, -upper) > FARTHEST:
        raise ValueError(f"{owner}: lower and upper must not both lie beyond ±2**60; {given}")


def _nearest(value: float, dtype: np.dtype) -> float:
    return float(np.asarray(value, np.float64).astype(dtype))


def runs(shape: tuple[int, ...], bounds: Window) -> tuple[int, list[int], list[int], int]:
    """Return a window as runs of elements that follow each other in the full table.

    That is: the number of its first element, the lengths and strides (in elements) of the axes over
    the runs, and the length of a run.
    """
    lengths: list[int] = []
    strides: list[int] = []
    base, run, stride, whole = 0, 1, 1, True
    for size, part in zip(reversed(shape), reversed(bounds), strict=True):
        length = part.stop - part.start
        base += part.start * stride
        if whole:
            run *= length
        elif lengths and strides[-1] * lengths[-1] == stride:
            lengths[-1] *= length
        elif length > 1:
            lengths.append(length)
            strides.append(stride)
        whole = whole and length == size
        stride *= size
    return base, lengths[::-1], strides[::-1], run
