"""From random words to floats: errors against a wider format, order, ends and symmetry."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

from seedbed_kernels import floats, gaussian

from .results import Finding

GROUP = "From words to floats"


def _vectorized(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """Return a scalar of one or two arguments as a function of arrays."""
    if "," in signature:
        return numba.vectorize([signature])(lambda x, y: function(x, y))
    return numba.vectorize([signature])(lambda x: function(x))


def words(bits: int) -> Iterator[np.ndarray]:
    """Yield words (uint64) in ascending order: each 2**(32 − bits)-th, and 2**bits at each end."""
    size = 1 << min(bits, 20)
    for start in range(0, 1 << bits, size):
        yield np.arange(start, start + size, dtype=np.uint64)
    step = np.uint64(1 << (32 - bits))
    for start in range(0, 1 << bits, size):
        yield np.arange(start, start + size, dtype=np.uint64) * step + step // np.uint64(2)
    for start in range(2**32 - (1 << bits), 2**32, size):
        yield np.arange(start, start + size, dtype=np.uint64)


def ulp_error(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place of the exact value."""
    spacing = np.spacing(np.abs(exact).astype(found.dtype))
    spacing = np.maximum(spacing, np.finfo(found.dtype).smallest_subnormal)
    return float(np.max(np.abs(found.astype(exact.dtype) - exact) / spacing))


def check(bits: int) -> list[Finding]:
    """Check the transforms of float32 on every word of `words`, those of float64 on some."""
    unit = _vectorized(floats.unit_float32_open_closed, "f4(u8)")
    closed = _vectorized(floats.unit_float32_closed_open, "f4(u8)")
    turn = _vectorized(floats.half_turn_float32_closed_closed, "f4(u8)")
    log = _vectorized(gaussian.minus_two_log_float32, "f4(f4)")
    sine = _vectorized(gaussian.sin_ratio_float32, "f4(f4)")
    cosine = _vectorized(gaussian.cos_pi_float32, "f4(f4)")
    errors = dict.fromkeys(("u", "log", "cos", "sin"), 0.0)
    ordered, count, ends = True, 0, [math.inf, -math.inf]
    last_word, last = -1, (-1.0, math.inf)
    for some in words(bits):
        count += some.size
        u, t = unit(some), turn(some)
        exact_u = (some.astype(np.float64) + 0.5) * 2.0**-32
        errors["u"] = max(errors["u"], ulp_error(u, exact_u))
        logs = log(u)
        exact = -2 * np.log(u.astype(np.float64))
        errors["log"] = max(errors["log"], float(np.max(np.abs(logs - exact) / np.maximum(
            exact, 2.0**-24))))  # fmt: skip
        wide = np.pi * t.astype(np.float64)
        y = t * t
        errors["cos"] = max(errors["cos"], float(np.max(np.abs(cosine(y) - np.cos(wide)))))
        errors["sin"] = max(errors["sin"], float(np.max(np.abs(t * sine(y) - np.sin(wide)))))
        if int(some[0]) < last_word:
            last = (-1.0, math.inf)
        ordered &= bool(np.all(np.diff(u) >= 0)) and u[0] >= last[0]
        ordered &= bool(np.all(np.diff(closed(some)) >= 0))
        last_word, last = int(some[-1]), (float(u[-1]), float(logs[-1]))
        ends = [min(ends[0], float(u.min())), max(ends[1], float(u.max()))]
    zero, one = (np.array([word], np.uint64) for word in (0, 2**32 - 1))
    below = np.nextafter(np.float32(1), np.float32(0))
    turned = turn(np.arange(1, 1 << 16, dtype=np.uint64) << np.uint64(8))
    mirrored = turn((-np.arange(1, 1 << 16, dtype=np.int64) << 8).view(np.uint64))
    return [
        Finding(GROUP, "u in (0, 1], float32: error", count, figure=f"{errors['u']:.3f} ulp",
                holds=errors["u"] < 0.51),
        Finding(GROUP, "−2 ln u, float32: relative error", count, figure=f"{errors['log']:.2e}",
                holds=errors["log"] < 4e-7),
        Finding(GROUP, "cos πt, float32: error", count, figure=f"{errors['cos']:.2e}",
                holds=errors["cos"] < 3e-7),
        Finding(GROUP, "sin πt, float32: error", count, figure=f"{errors['sin']:.2e}",
                holds=errors["sin"] < 3e-7),
        Finding(GROUP, "u grows with the word", count, holds=ordered),
        Finding(GROUP, "ends of u in (0, 1]", count, figure=f"{ends[0]:.4g} to {ends[1]:.9g}",
                holds=ends == [2.0**-33, 1.0]),
        Finding(GROUP, "ends of u in [0, 1)", 2, figure=f"{closed(zero)[0]} to {closed(one)[0]}",
                holds=closed(zero)[0] == 0 and closed(one)[0] == below),
        Finding(GROUP, "t is odd", turned.size, holds=bool((turned == -mirrored).all())),
        *_wide(1 << min(bits, 18)),
    ]  # fmt: skip


def _wide(count: int) -> list[Finding]:
    """Check float64 against the 80-bit format where the platform has it."""
    if np.finfo(np.longdouble).nmant < 63:
        return []
    generator = np.random.default_rng(7)
    high, low = generator.integers(0, 2**32, (2, count), np.uint64)
    high[: count // 4] >>= np.uint64(20)  # small u: large values
    pair = "f8(u8,u8)"
    u = _vectorized(floats.unit_float64_open_closed, pair)(high, low)
    t = _vectorized(floats.half_turn_float64_closed_closed, pair)(high, low)
    y = t * t
    wide = t.astype(np.longdouble) * np.arctan(np.longdouble(1)) * 4
    logs = _vectorized(gaussian.minus_two_log_float64, "f8(f8)")(u)
    exact = -2 * np.log(u.astype(np.longdouble))
    log_error = float(np.max(np.abs(logs - exact) / exact))
    cos = np.abs(_vectorized(gaussian.cos_pi_float64, "f8(f8)")(y) - np.cos(wide)).max()
    sin = np.abs(t * _vectorized(gaussian.sin_ratio_float64, "f8(f8)")(y) - np.sin(wide)).max()
    return [
        Finding(GROUP, "−2 ln u, float64: relative error", count, figure=f"{log_error:.2e}",
                holds=log_error < 8e-16),
        Finding(GROUP, "cos πt, float64: error", count, figure=f"{cos:.2e}", holds=cos < 6e-16),
        Finding(GROUP, "sin πt, float64: error", count, figure=f"{sin:.2e}", holds=sin < 6e-16),
    ]  # fmt: skip
