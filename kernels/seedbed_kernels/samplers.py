"""What a fill draws: a distribution and the parameters that its kernel takes.

The classes are named tuples because Numba compiles a kernel for each class of named tuple, and for
float32 and float64 fields apart: one loop serves every distribution in both precisions.
"""

from typing import Any, NamedTuple


class Uniform(NamedTuple):
    """``u * scale + shift`` kept in [low, high], for u uniform on [0, 1)."""

    scale: Any
    shift: Any
    low: Any
    high: Any


class Normal(NamedTuple):
    """``z * scale + shift``, for z standard normal, where no z leads out of the dtype's range."""

    scale: Any
    shift: Any


class TruncatedNormal(NamedTuple):
    """``z * scale + shift`` kept in [low, high], for z standard normal with lower <= z <= upper.

    The last two may be infinite.
    """

    scale: Any
    shift: Any
    low: Any
    high: Any
    lower: Any
    upper: Any


class NarrowNormal(NamedTuple):
    """``d * scale + shift`` kept in [low, high], where a + d is a normal between close bounds.

    The lower bound is a, in units of `scale`, and 0 <= d <= upper. `slope` is 2 a, and `rest` is a²
    less the least z² of the z between the bounds: with them the density at a + d, relative to its
    maximum, is exp(-(d² + slope d + rest) / 2). `lower` is 0.
    """

    scale: Any
    shift: Any
    low: Any
    high: Any
    lower: Any
    upper: Any
    slope: Any
    rest: Any


class TailNormal(NamedTuple):
    """``d * scale + shift`` kept in [low, high], where near + d is the tail of a normal.

    `near`, at least 1, is the bound next to the mean, in units of `scale`; 0 <= d <= upper, which
    may be infinite. `lower` is 0.
    """

    scale: Any
    shift: Any
    low: Any
    high: Any
    lower: Any
    upper: Any
    near: Any


REJECTING = (TruncatedNormal, NarrowNormal, TailNormal)
