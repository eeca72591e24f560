"""Recipes: what the values of a table are, and the kernels' samplers for the random ones.

Each recipe's `check` refuses a shape or dtype that it does not fit, before any work.
"""

import functools
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from seedbed_kernels import samplers

from ..errors import ArgumentError, ArgumentTypeError, brief
from . import threads
from .dtypes import (
    FLOATING,
    FLOATING_DTYPES,
    largest,
    largest_below,
    largest_not_above,
    quiet,
    smallest_not_below,
)
from .seeds import Stream
from .window import Window

TRUNCATION = 2.0  # a truncated normal keeps by default what lies within two stddev of the mean
FARTHEST = 2.0**60  # bound of a tail, in stddev: its square is still a float32
REACH = 10.0  # stddev: no normal value is so far from the mean (at most sqrt(2 ln 2**65) = 9.5)
FLAT = 10.0  # stddev: beyond lie 2e-23 of a normal distribution
PRECISION = 320  # bits after the point
PI = 0x3243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89452821E638D01377
CHECKED = 1 << 18  # elements of a constant that are looked at together


class Uniform(NamedTuple):
    """Uniform on [minval, maxval)."""

    minval: float
    maxval: float

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse bounds that the dtype does not hold."""
        kernel_sampler(self, dtype)


class Normal(NamedTuple):
    """Normal."""

    mean: float
    stddev: float

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse parameters that the dtype does not hold."""
        kernel_sampler(self, dtype)


class TruncatedNormal(NamedTuple):
    """Normal, but only what lies in [mean + lower stddev, mean + upper stddev]."""

    mean: float
    stddev: float
    lower: float = -TRUNCATION
    upper: float = TRUNCATION

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse bounds between which the dtype has no number."""
        kernel_sampler(self, dtype)


class Haar(NamedTuple):
    """`gain` times orthonormal rows or columns, whichever are fewer, uniformly distributed.

    They are those of a matrix: its columns are the last axis, its rows all others. Rank 2 or more.
    """

    gain: float

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse a gain that the dtype does not hold."""
        _check_floating(dtype)
        _check_gain(self.gain, dtype)


class Delta(NamedTuple):
    """Zeros, but at the centre of the axes before the last two a matrix like that of `Haar`."""

    gain: float

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse a gain that the dtype does not hold."""
        _check_floating(dtype)
        _check_gain(self.gain, dtype)


class Constant(NamedTuple):
    """One value, or an array of them that broadcasts to the full shape."""

    value: Any

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse values that the dtype does not hold, and those that do not broadcast."""
        values = np.asarray(self.value)
        _check_fits(values, dtype)
        if values.ndim == 0:
            return
        inner = shape[max(len(shape) - values.ndim, 0) :]
        lengths = zip(values.shape, inner, strict=False)
        if values.ndim > len(shape) or any(n not in (1, size) for n, size in lengths):
            raise ArgumentError(
                f"value of shape {values.shape} does not broadcast to shape {brief(shape)}"
            )

    def item(self, dtype: np.dtype) -> Any:
        """Return a single value in a dtype."""
        value = np.asarray(self.value)
        if value.dtype.kind == "b":  # nothing is rounded: that of Zeros and Ones
            return value.astype(dtype)[()]
        return _converted(value, dtype)

    def chosen(self, shape: tuple[int, ...], window: Window | None, rows: Any) -> np.ndarray:
        """Return the values in a window, or in rows of it, as far as they differ."""
        values = np.asarray(self.value)
        if window is None:
            return values
        index: list[Any] = list(window[len(shape) - values.ndim :])
        if rows is not None and values.ndim == len(shape):
            index[0] = rows
        axes = zip(values.shape, index, strict=True)
        return values[tuple([slice(None) if length == 1 else axis for length, axis in axes])]


class Diagonal(NamedTuple):
    """A matrix of zeros, but `gain` on its diagonal."""

    gain: float

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse a gain that the dtype does not hold."""
        gain = self.gain
        if dtype.kind not in "biu":
            _check_gain(gain, dtype)
            return
        limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        most = 1 if dtype.kind == "b" else limits.max
        if gain != int(gain) or not limits.min <= gain <= most:
            raise ArgumentError(
                f"gain must be an integer in [{limits.min}, {most}] for {dtype.name}; "
                f"given {brief(gain)}"
            )


class Computed(NamedTuple):
    """Values from a function of the window, as slices with plain bounds, and the dtype.

    Where `cut` is set, a part of a window costs no more than its share, and memory is bounded.
    """

    compute: Callable[[Window, np.dtype], np.ndarray]
    cut: bool = False

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse nothing: the function does."""


Random = Uniform | Normal | TruncatedNormal
Recipe = Random | Haar | Delta | Constant | Diagonal | Computed


@quiet
def _converted(value: np.ndarray, dtype: np.dtype) -> Any:
    if value.dtype == object:  # an integer of more than 64 bits: some dtypes take no such array
        value = value.astype(np.float64)
    return value.astype(dtype)[()]


def _check_floating(dtype: np.dtype) -> None:
    if dtype not in FLOATING_DTYPES:
        raise ArgumentError(f"dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")


def _check_gain(gain: float, dtype: np.dtype) -> None:
    most = largest(dtype)
    if abs(gain) > most:
        raise ArgumentError(f"gain must be within ±{most:g} for {dtype.name}; given {brief(gain)}")


def _check_fits(values: np.ndarray, dtype: np.dtype) -> None:
    """Refuse constants that a dtype does not hold: of a larger kind, or too large."""
    if values.dtype == dtype or np.can_cast(values.dtype, dtype):
        return
    given, kind = (
        "bifc".index({"u": "i", "V": "f"}.get(each.kind, each.kind))
        for each in (values.dtype, dtype)
    )
    if given > kind:
        raise ArgumentError(
            f"value of {values.dtype} does not fit dtype {dtype.name}; given {brief(values[()])}"
        )
    whole = dtype.kind in "iu"
    flat = values.reshape(-1)

    @quiet
    def check(begin: int, end: int) -> None:
        part = flat[begin:end]
        if whole:
            limits = np.iinfo(dtype)
            allowed = f"lie in [{limits.min}, {limits.max}]"
            lost = (part < limits.min) | (part > limits.max)
        else:
            allowed = f"be within ±{largest(dtype):g}"
            lost = np.isfinite(part) & ~np.isfinite(part.astype(dtype))
        if lost.any():
            raise ArgumentError(f"value must {allowed} for {dtype.name}; given {part[lost][0]}")

    threads.run_chunks(check, flat.size, CHECKED)


@functools.lru_cache(64)
def kernel_key(stream: Stream) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the kernels' key: the words of the seed, and the stream."""
    return np.uint64(stream.seed % 2**32), np.uint64(stream.seed >> 32), np.uint64(stream.draw)


@functools.lru_cache(256, typed=True)  # tuples of different types are equal
@quiet
def kernel_sampler(recipe: Random, dtype: np.dtype) -> Any:
    """Return the kernels' sampler for a random recipe: scale, shift and bounds in its precision."""
    _check_floating(dtype)
    first, second = recipe[:2]
    real = np.float64 if dtype == np.float64 else np.float32
    precision = np.dtype(real)
    most = largest(dtype)
    first += 0.0  # not -0.0
    scale, shift, low, high = second, first, -most, most
    sampler: type = getattr(samplers, type(recipe).__name__)
    further: tuple[float, ...] = ()
    if isinstance(recipe, Uniform):
        scale, shift = second - first, smallest_not_below(first, precision)
        low, high = smallest_not_below(first, dtype), largest_below(second, dtype)
        if scale == 0.0:
            low = high = _nearest(first, dtype)
        elif low > high:
            raise ArgumentError(
                f"no {dtype.name} number lies in [minval, maxval) = [{first}, {second})"
            )
    elif isinstance(recipe, TruncatedNormal):
        lower, upper = further = recipe[2:]
        check_truncation(lower, upper)
        below, above = (bound * second if second else 0.0 for bound in further)
        if first + below > most or first + above < -most:
            raise ArgumentError(
                f"no {dtype.name} number lies from mean + lower stddev = "
                f"{first + below:g} to mean + upper stddev = {first + above:g}"
            )
        low = smallest_not_below(max(first + below, -most), dtype)
        high = largest_not_above(min(first + above, most), dtype)
        if low > high:  # none between the bounds
            low = high = _nearest(first + (below + above) / 2, dtype)
        if keeps_little(lower, upper):
            if upper <= 0.0:  # as its mirror image
                scale, lower, upper = -second, -upper, -lower
            shift = first + lower * scale
            sampler, further = _rare(lower, upper)
    widest = largest(precision)  # that is computed in
    if max(abs(first), abs(second)) > most or max(abs(scale), abs(shift)) > widest:
        names = ", ".join(recipe._fields)
        too = ", and maxval - minval" if isinstance(recipe, Uniform) else ""
        raise ArgumentError(
            f"{names} = {', '.join(map(str, recipe))}{too} must be within ±{most:g} "
            f"for {dtype.name}"
        )
    if isinstance(recipe, Normal):
        plain = sampler(real(scale), real(shift))
        # Rounded as a kernel rounds a value, which therefore is no larger: no bound would matter.
        if abs(plain.shift) + real(REACH) * abs(plain.scale) <= most:
            return plain
        sampler, further = samplers.TruncatedNormal, (-math.inf, math.inf)  # this has bounds
    numbers = scale, shift, low + 0.0, high + 0.0, *further  # no bound is -0
    return sampler(*map(real, numbers))  # a bound beyond the range is as good as infinite


def _rare(lower: float, upper: float) -> tuple[type, tuple[float, ...]]:
    """Return the sampler for bounds that keep little of a normal, and what it takes of them."""
    near, far = max(lower, 0.0), max(-lower, upper)
    if (far - near) * (far + near) < 2.0:  # the density changes by less than e
        return samplers.NarrowNormal, (0.0, upper - lower, 2.0 * lower, lower * lower - near * near)
    return samplers.TailNormal, (0.0, upper - lower, near)


@functools.lru_cache(256)
def keeps_little(lower: float, upper: float) -> bool:
    """Return whether less than 1/20 of a normal distribution lies between bounds.

    Integers decide it: the C libraries' erfc differ in the last digits, and so would tables.
    """
    kept = _integral(upper) - _integral(lower)
    return 400 * kept * kept < 2 * PI << PRECISION  # (kept / sqrt(2 pi))**2 < (1 / 20)**2


def _integral(bound: float) -> int:
    """Return the integral of exp(-t**2 / 2) from 0 to a bound, as a number of 2**-PRECISION.

    By its series, which alternates: sum over k of (-1)**k x**(2 k + 1) / (2**k k! (2 k + 1)).
    """
    inside = min(abs(bound), FLAT)
    power = int(Fraction(inside) * 2**PRECISION)
    square = power * power >> PRECISION
    total = k = 0
    while power:
        total += (-1) ** k * (power // (2 * k + 1))
        k += 1
        power = (power * square >> PRECISION) // (2 * k)
    return total if bound > 0 else -total


def check_truncation(lower: float, upper: float) -> None:
    """Check the bounds of a truncated normal, in stddev."""
    given = f"given {brief(lower)} and {brief(upper)}"
    for bound in (lower, upper):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise ArgumentTypeError(f"lower and upper must be numbers; {given}")
        if isinstance(bound, int) and abs(bound) > sys.float_info.max:
            raise ArgumentError(f"lower and upper must be within float64's range; {given}")
    if not lower < upper:
        raise ArgumentError(f"lower must be below upper; {given}")
    if max(lower, -upper) > FARTHEST:
        raise ArgumentError(f"lower and upper must not both lie beyond ±2**60; {given}")


def _nearest(value: float, dtype: np.dtype) -> float:
    return float(np.asarray(value, np.float64).astype(dtype))
