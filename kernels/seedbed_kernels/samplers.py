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
