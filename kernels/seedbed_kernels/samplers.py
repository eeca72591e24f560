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
    """``z * scale + shift`` kept in [low, high], for z standard normal."""

    scale: Any
    shift: Any
    low: Any
    high: Any


class TruncatedNormal(NamedTuple):
    """``z * scale + shift`` kept in [low, high], for z standard normal with lower <= z <= upper."""

    scale: Any
    shift: Any
    low: Any
    high: Any
    lower: Any
    upper: Any


class NarrowNormal(NamedTuple):
    """``d * scale + shift`` kept in [low, high], with 0 <= d <= upper, for a little of a normal.

    lower + d, with the lower bound in units of `scale`, is normal between bounds over which the
    density changes little. `slope` is twice that bound, and `rest` its square less that of the
    least |z| within the bounds. `lower` is 0.
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
    """``d * scale + shift`` kept in [low, high], with 0 <= d <= upper: near + d is a normal's tail.

    `near`, at least 1, is the bound next to the mean, in units of `scale`. `lower` is 0.
    """

    scale: Any
    shift: Any
    low: Any
    high: Any
    lower: Any
    upper: Any
    near: Any


REJECTING = (TruncatedNormal, NarrowNormal, TailNormal)
