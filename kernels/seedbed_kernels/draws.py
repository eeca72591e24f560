"""What a sampler draws: base values of a lane at an attempt, before scale and shift.

Each half of a lane is two random words: two values in float32, one in float64.

Normal values between bounds that keep little of the normal distribution are not normal values
redrawn, but candidates of another distribution, of which some are refused. A candidate is a
distance from the lower bound, so that even far in the tail no digits are lost; the distance comes
from the words of attempt 2n, and whether it is refused from those of attempt 2n + 1.
"""

import functools
from typing import Any

import numpy as np

from .compiling import scalar
from .floats import (
    ROUNDED,
    divide,
    fma,
    rounded_to_bfloat16,
    scale_shift_clamp,
    unit_float32_closed_open,
    unit_float32_open_closed,
    unit_float64_closed_open,
    unit_float64_open_closed,
)
from .gaussian import (
    box_muller_float32,
    box_muller_float64,
    minus_two_log_float32,
    minus_two_log_float64,
    square_root,
)
from .layout import precision
from .philox import lane_words
from .samplers import NarrowNormal, Normal, TailNormal, TruncatedNormal, Uniform

ONE = np.uint64(1)
TWO = np.uint64(2)


@scalar
def uniforms_float32(w0, w1):
    """Return two values, uniform on [0, 1)."""
    return unit_float32_closed_open(w0), unit_float32_closed_open(w1)


@scalar
def uniforms_float64(w0, w1):
    """Return one value, uniform on [0, 1)."""
    return (unit_float64_closed_open(w0, w1),)


# The values of half a lane, made of its two words. In float64 a normal takes the whole lane.
HALF = {
    (Uniform, np.float32): uniforms_float32,
    (Uniform, np.float64): uniforms_float64,
    (Normal, np.float32): box_muller_float32,
    (TruncatedNormal, np.float32): box_muller_float32,
}


@scalar
def rejects(value, sampler):
    """Return whether a sampler with bounds refuses a base value."""
    return (value < sampler.lower) | (value > sampler.upper)


@functools.cache
def finished(kind: type, dtype: str, native: bool = False) -> Any:
    """Return a scalar ``(value, sampler)``: a base value scaled, shifted, clamped and rounded.

    Parameters
    ----------
    kind : type
        Of the sampler; a `Normal` is not clamped.
    dtype : str
        Name of what is stored: a key of `floats.ROUNDED`.
    native : bool
        Whether this is for a GPU that rounds to bfloat16 itself.
    """
    real, rounded = precision(np.dtype(dtype)), ROUNDED[dtype]
    if native and dtype == "uint16":
        rounded = rounded_to_bfloat16

    if kind is Normal:
        return scalar(
            lambda value, sampler: rounded(fma(real(value), sampler.scale, sampler.shift))
        )

    @scalar
    def finish(value, sampler):
        value, low, high = real(value), sampler.low, sampler.high  # Python knows no float32
        return rounded(scale_shift_clamp(value, sampler.scale, sampler.shift, low, high))

    return finish


def lane_finished(kind: type, dtype: str, native: bool) -> Any:
    """Return a scalar ``(values, sampler)``: all values of a lane finished, as a tuple."""
    last = finished(kind, dtype, native)
    if dtype == "float64":
        return scalar(lambda values, own: (last(values[0], own), last(values[1], own)))

    @scalar
    def four(values, own):
        return (
            last(values[0], own),
            last(values[1], own),
            last(values[2], own),
            last(values[3], own),
        )

    return four


@functools.cache
def lane_values(kind: type, real: type) -> Any:
    """Return a scalar ``(sampler, lane, attempt, key)``: the base values of a lane.

    Parameters
    ----------
    kind : type
        Of the sampler.
    real : np.float32 or np.float64
        The precision computed in: four or two values a lane.
    """
    if (kind, real) in HALF:
        values = HALF[kind, real]

        @scalar
        def drawn(sampler, lane, attempt, key):
            k0, k1, stream = key
            w0, w1, w2, w3 = lane_words(lane, attempt, stream, k0, k1)
            return values(w0, w1) + values(w2, w3)

        return drawn

    if kind in (Normal, TruncatedNormal):

        @scalar
        def two(sampler, lane, attempt, key):
            k0, k1, stream = key
            return box_muller_float64(*lane_words(lane, attempt, stream, k0, k1))

        return two

    candidates = _candidates(kind, real)

    @scalar
    def refused_or_not(sampler, lane, attempt, key):
        k0, k1, stream = key
        p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
        r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
        return candidates(sampler, p0, p1, r0, r1) + candidates(sampler, p2, p3, r2, r3)

    return refused_or_not


@functools.cache
def half_values(kind: type, real: type) -> Any:
    """Return a scalar ``(sampler, half, lane, attempt, key)``: the values of half 0 or 1 of a lane.

    Parameters
    ----------
    kind, real : type
        As `lane_values` takes them.
    """
    if (kind, real) in HALF:
        values = HALF[kind, real]

        @scalar
        def drawn(sampler, half, lane, attempt, key):
            k0, k1, stream = key
            w0, w1, w2, w3 = lane_words(lane, attempt, stream, k0, k1)
            return values(w2 if half else w0, w3 if half else w1)

        return drawn

    if kind in (Normal, TruncatedNormal):

        @scalar
        def one(sampler, half, lane, attempt, key):
            k0, k1, stream = key
            z0, z1 = box_muller_float64(*lane_words(lane, attempt, stream, k0, k1))
            return (z1 if half else z0,)

        return one

    candidates = _candidates(kind, real)

    @scalar
    def refused_or_not(sampler, half, lane, attempt, key):
        k0, k1, stream = key
        p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
        r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
        p0, p1 = p2 if half else p0, p3 if half else p1
        r0, r1 = r2 if half else r0, r3 if half else r1
        return candidates(sampler, p0, p1, r0, r1)

    return refused_or_not


@functools.cache
def value_at(kind: type, real: type) -> Any:
    """Return a scalar ``(sampler, slot, lane, attempt, key)``: one of the values of a lane.

    Parameters
    ----------
    kind, real : type
        As `lane_values` takes them.
    """
    values = half_values(kind, real)
    if real is np.float64:
        return scalar(
            lambda sampler, slot, lane, attempt, key: values(sampler, slot, lane, attempt, key)[0]
        )

    if (kind, real) in HALF:

        @scalar
        def drawn(sampler, slot, lane, attempt, key):
            even, odd = values(sampler, slot > 1, lane, attempt, key)
            return odd if slot & 1 else even

        return drawn

    candidate = _candidate(kind, real)

    @scalar
    def refused_or_not(sampler, slot, lane, attempt, key):
        k0, k1, stream = key
        p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
        r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
        upper, odd = slot > 1, slot & 1
        return candidate(
            sampler,
            ((p3 if odd else p2) if upper else (p1 if odd else p0),),
            ((r3 if odd else r2) if upper else (r1 if odd else r0),),
        )

    return refused_or_not


def _candidates(kind: type, real: type) -> Any:
    """Return a scalar that makes the candidates of half a lane of its words at two attempts."""
    candidate = _candidate(kind, real)
    if real is np.float64:
        return scalar(lambda sampler, p0, p1, r0, r1: (candidate(sampler, (p0, p1), (r0, r1)),))
    return scalar(
        lambda sampler, p0, p1, r0, r1: (
            candidate(sampler, (p0,), (r0,)),
            candidate(sampler, (p1,), (r1,)),
        )
    )


def _candidate(kind: type, real: type) -> Any:
    """Return a scalar that makes a candidate of its words; what is refused lies below `lower`."""
    wide = real is np.float64
    closed_open = unit_float64_closed_open if wide else unit_float32_closed_open
    open_closed = unit_float64_open_closed if wide else unit_float32_open_closed
    minus_two_log = minus_two_log_float64 if wide else minus_two_log_float32

    @scalar
    def narrow(sampler, u, v):
        """Uniform between the bounds, kept in proportion to the normal density."""
        distance = closed_open(*u) * sampler.upper
        excess = fma(distance, distance, fma(distance, sampler.slope, sampler.rest))
        return distance if minus_two_log(open_closed(*v)) >= excess else -sampler.upper

    @scalar
    def tail(sampler, u, v):
        """Rayleigh's distribution beyond `near` (Marsaglia, 1964)."""
        y = minus_two_log(open_closed(*u))
        near = sampler.near
        distance = divide(y, square_root(fma(near, near, y)) + near)
        return distance if (distance + near) * open_closed(*v) <= near else -sampler.upper

    return {NarrowNormal: narrow, TailNormal: tail}[kind]
