"""What the values of a table are: in words of ours, and as the kernels take it."""

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import brief
from .dtypes import largest_below, largest_not_above, smallest_not_below
from .seeds import Stream
from .window import Window

TRUNCATION = 2.0  # a truncated normal keeps by default what lies within two stddev of the mean
LEAST_KEPT = 0.05  # of a normal between the bounds, to redraw what lies outside: 20 draws or fewer
FARTHEST = 2.0**60  # bound of a tail, in stddev: its square is still a float32


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


class Diagonal(NamedTuple):
    """A matrix of zeros, but `gain` on its diagonal."""

    gain: float


class Computed(NamedTuple):
    """Values from a function of the window, as slices with plain bounds, and the dtype."""

    compute: Callable[[Window, np.dtype], np.ndarray]


Recipe = Uniform | Normal | TruncatedNormal | Haar | Delta | Constant | Diagonal | Computed


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
    with np.errstate(over="ignore"):  # a bound that far is as good as infinite
        return sampler(
            *map(real, (scale, shift, low + 0.0, high + 0.0, *further))
        )  # no bound is -0


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
    given = f"given {brief(lower)} and {brief(upper)}"
    for bound in (lower, upper):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise TypeError(f"{owner}: lower and upper must be numbers; {given}")
        if isinstance(bound, int) and abs(bound) > sys.float_info.max:
            raise ValueError(f"{owner}: lower and upper must be within float64's range; {given}")
    if not lower < upper:
        raise ValueError(f"{owner}: lower must be below upper; {given}")
    if max(lower, -upper) > FARTHEST:
        raise ValueError(f"{owner}: lower and upper must not both lie beyond ±2**60; {given}")


def _nearest(value: float, dtype: np.dtype) -> float:
    return float(np.asarray(value, np.float64).astype(dtype))
