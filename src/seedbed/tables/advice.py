"""Warnings about tables whose dtype cannot hold what was asked for."""

from dataclasses import replace

import ml_dtypes
import numpy as np

from .table import Table

SAMPLE = 1 << 16
SUBNORMAL_SHARE = 0.05
DISTINCT = 1 << 16


class ScaleWarning(UserWarning):
    """The dtype of a table is too coarse for the scale of its values."""


def advice(table: Table) -> list[str]:
    """Return what the first values of a random floating table show to be wrong with its scale.

    That is: all are equal, though the initializer is random; more than 5 % are too small for the
    full precision of the dtype (subnormal or zero); the dtype has fewer than 2**16 numbers in the
    range of the values (fewer than 2**10 for a 16-bit dtype, which has only 2**16 at all).
    """
    table = replace(table, placed=None)
    size = min(table.size - table.kept_size, SAMPLE)
    if size < 2 or table.seed is None or table.whole is not None or table.dtype.kind not in "fV":
        return []
    sample = np.empty(size, table.dtype)
    table.fill(sample, table.kept_size)
    name = f"{table.name}: {table.dtype.name}"
    numbers = sample.astype(np.float64)
    if numbers.min() == numbers.max():
        return [f"{name} rounds all values to {numbers[0] + 0.0:g}"]
    found = []
    smallest = float(ml_dtypes.finfo(table.dtype).smallest_normal)
    share = float(np.mean(np.abs(numbers) < smallest))
    if share > SUBNORMAL_SHARE:
        found.append(f"{name} holds {share:.0%} of the values with less precision (subnormal)")
    bits = 8 * table.dtype.itemsize
    distinct = _ordinal(sample[numbers.argmax()]) - _ordinal(sample[numbers.argmin()]) + 1
    if distinct < min(DISTINCT, 2**bits // 64):
        found.append(
            f"{name} has only {distinct:,} numbers from {numbers.min():g} to {numbers.max():g}"
        )
    return found


def _ordinal(value: np.generic) -> int:
    """Return the place of a floating number among all of its dtype, zero having 0."""
    bits = int(np.asarray(value).view(f"u{value.itemsize}")[()])
    sign = 1 << (8 * value.itemsize - 1)
    return -(bits & ~sign) if bits & sign else bits
