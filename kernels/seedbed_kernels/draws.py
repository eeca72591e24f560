"""What a sampler draws: base values of a lane at an attempt, before scale and shift.

Normal values between bounds that keep little of the normal distribution are not normal values
redrawn, but candidates of another distribution, of which some are refused. A candidate is a
distance from the lower bound, so that even far in the tail no digits are lost; its place comes from
the words of attempt 2n, and whether it is refused from those of attempt 2n + 1.
"""

import functools
from typing import Any

import numpy as np

from .compiling import scalar
from .floats import (
    divide,
    fma,
    unit_float32_closed_open,
    unit_float32_open_closed,
    unit_float64_closed_open,
    unit_float64_open_closed,
)
from .gaussian import (
    minus_two_log_float32,
    minus_two_log_float64,
    normal_float32_at,
    normal_float64_at,
    normals_float32,
    normals_float64,
    square_root,
    uniforms_float32,
    uniforms_float64,
)
from .philox import lane_words
from .samplers import NarrowNormal, Normal, TailNormal, TruncatedNormal, Uniform

ONE = np.uint64(1)
TWO = np.uint64(2)

VALUES = {
    (Uniform, np.float32): uniforms_float32,
    (Uniform, np.float64): uniforms_float64,
    (Normal, np.float32): normals_float32,
    (Normal, np.float64): normals_float64,
    (TruncatedNormal, np.float32): normals_float32,
    (TruncatedNormal, np.float64): normals_float64,
}
VALUE_AT = {
    (TruncatedNormal, np.float32): normal_float32_at,
    (TruncatedNormal, np.float64): normal_float64_at,
}


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
    if (kind, real) in VALUES:
        values = VALUES[kind, real]

        @scalar
        def drawn(sampler, lane, attempt, key):
            k0, k1, stream = key
            return values(*lane_words(lane, attempt, stream, k0, k1))

        return drawn

    candidate = _candidate(kind, real)
    if real is np.float64:

        @scalar
        def two(sampler, lane, attempt, key):
            k0, k1, stream = key
            p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
            r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
            return candidate(sampler, p0, p1, r0, r1), candidate(sampler, p2, p3, r2, r3)

        return two

    @scalar
    def four(sampler, lane, attempt, key):
        k0, k1, stream = key
        p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
        r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
        return (
            candidate(sampler, p0, r0),
            candidate(sampler, p1, r1),
            candidate(sampler, p2, r2),
            candidate(sampler, p3, r3),
        )

    return four


@functools.cache
def value_at(kind: type, real: type) -> Any:
    """Return a scalar ``(sampler, place, lane, attempt, key)``: one of the values of a lane."""
    if (kind, real) in VALUE_AT:
        value = VALUE_AT[kind, real]

        @scalar
        def drawn(sampler, place, lane, attempt, key):
            k0, k1, stream = key
            return value(place, *lane_words(lane, attempt, stream, k0, k1))

        return drawn

    candidate = _candidate(kind, real)
    if real is np.float64:

        @scalar
        def one_of_two(sampler, place, lane, attempt, key):
            k0, k1, stream = key
            p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
            r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
            second = place != 0
            return candidate(
                sampler,
                p2 if second else p0,
                p3 if second else p1,
                r2 if second else r0,
                r3 if second else r1,
            )

        return one_of_two

    @scalar
    def one_of_four(sampler, place, lane, attempt, key):
        k0, k1, stream = key
        p0, p1, p2, p3 = lane_words(lane, attempt * TWO, stream, k0, k1)
        r0, r1, r2, r3 = lane_words(lane, attempt * TWO + ONE, stream, k0, k1)
        upper, odd = place > 1, place & 1
        return candidate(
            sampler,
            (p3 if odd else p2) if upper else (p1 if odd else p0),
            (r3 if odd else r2) if upper else (r1 if odd else r0),
        )

    return one_of_four


@functools.cache
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

    made = {NarrowNormal: narrow, TailNormal: tail}[kind]
    if wide:
        return scalar(lambda sampler, u0, u1, v0, v1: made(sampler, (u0, u1), (v0, v1)))
    return scalar(lambda sampler, u, v: made(sampler, (u,), (v,)))
