"""From random words to floats: errors against wider formats, order, bounds, ends and symmetry."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numba
import numpy as np

from seedbed_kernels import floats, gaussian

from .results import Finding

GROUP = "From words to floats"
ALL = 1 << 32
CHUNK = 1 << 20


def _vectorized(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """Return a scalar of one or two arguments as a function of arrays."""
    if "," in signature:
        return numba.vectorize([signature])(lambda x, y: function(x, y))
    return numba.vectorize([signature])(lambda x: function(x))


def words(bits: int) -> Iterator[np.ndarray]:
    """Yield words (uint64) in ascending order: all, or of each share so many and both its ends.

    Parameters
    ----------
    bits : int
        32: every word. Fewer: each 2**(32 − bits)-th, and 2**bits at each end.
    """
    step, size = ALL >> bits, min(1 << bits, CHUNK)
    for start in range(0, 1 << bits, size):
        yield np.arange(start, start + size, dtype=np.uint64) * step + step // 2
    if step > 1:
        for end in (0, ALL - (1 << bits)):
            for start in range(end, end + (1 << bits), size):
                yield np.arange(start, start + size, dtype=np.uint64)


def ulp_error(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place of the exact value."""
    spacing = np.spacing(np.abs(exact).astype(found.dtype))
    spacing = np.maximum(spacing, np.finfo(found.dtype).smallest_subnormal)
    return float(np.max(np.abs(found.astype(exact.dtype) - exact) / spacing))


class Largest(dict[str, float]):
    """The largest of the numbers noted under each name."""

    def note(self, name: str, number: Any) -> None:
        """Keep a number if it is the largest under its name."""
        self[name] = max(self.get(name, -math.inf), float(number))


def check(bits: int) -> list[Finding]:
    """Check the transforms of float32 on every word of `words`, those of float64 on some."""
    unit = _vectorized(floats.unit_float32_open_closed, "f4(u8)")
    closed = _vectorized(floats.unit_float32_closed_open, "f4(u8)")
    turn = _vectorized(floats.half_turn_float32_closed_closed, "f4(u8)")
    log = _vectorized(gaussian.minus_two_log_float32, "f4(f4)")
    sine = _vectorized(gaussian.sin_ratio_float32, "f4(f4)")
    cosine = _vectorized(gaussian.cos_pi_float32, "f4(f4)")
    largest, count = Largest(), 0
    ends = [math.inf, -math.inf]
    is_exact = ordered = True
    for some in words(bits):
        count += some.size
        u, t, c = unit(some), turn(some), closed(some)
        largest.note("u", ulp_error(u, (some.astype(np.float64) + 0.5) * 2.0**-32))
        is_exact &= bool(np.all(c == (some >> np.uint64(8)).astype(np.float64) * 2.0**-24))
        ordered &= bool(np.all(np.diff(u) >= 0))
        ends = [min(ends[0], float(u[0])), max(ends[1], float(u[-1]))]
        logs, exact = log(u), -2 * np.log(u.astype(np.float64))
        largest.note("log", np.max(np.abs(logs - exact) / np.maximum(exact, 2.0**-24)))
        largest.note("log in ulp", ulp_error(logs[exact > 0], exact[exact > 0]))
        largest.note("log back", np.max(np.diff(logs) / np.maximum(logs[1:], 2.0**-24)))
        y, wide = t * t, np.pi * t.astype(np.float64)
        cos, sin, exact = cosine(y), t * sine(y), np.sin(wide)
        largest.note("cos", np.max(np.abs(cos - np.cos(wide))))
        largest.note("sin", np.max(np.abs(sin - exact)))
        largest.note("sin in ulp", ulp_error(sin, exact))
        largest.note("bound", max(cos.max(), -cos.min(), np.abs(sin).max()))
    zero, one = (np.array([word], np.uint64) for word in (0, ALL - 1))
    below = np.nextafter(np.float32(1), np.float32(0))
    turned = turn(np.arange(1, 1 << 16, dtype=np.uint64) << np.uint64(8))
    mirrored = turn((-np.arange(1, 1 << 16, dtype=np.int64) << 8).view(np.uint64))

    def bound(what: str, name: str, most: float, unit: str = "") -> Finding:
        told = f"{largest[name]:.3f} {unit}" if unit else f"{largest[name]:.3g}"
        return Finding(GROUP, what, count, figure=told, holds=largest[name] <= most)

    return [
        bound("u in (0, 1], float32: error", "u", 0.751, "ulp"),  # rounded twice
        bound("−2 ln u, float32: relative error", "log", 4e-7),
        bound("−2 ln u, float32: error", "log in ulp", 4.0, "ulp"),
        bound("−2 ln u, float32: largest step up where u grows, relative", "log back", 4e-7),
        bound("cos πt, float32: error", "cos", 3e-7),
        bound("sin πt, float32: error", "sin", 3e-7),
        bound("sin πt, float32: error", "sin in ulp", 4.0, "ulp"),
        bound("largest of cos πt and sin πt without sign, float32", "bound", 1 + 3e-7),
        Finding(GROUP, "u in [0, 1) is the word's upper 24 bits", count, holds=is_exact),
        Finding(GROUP, "u grows with the word", count, holds=ordered),
        Finding(GROUP, "ends of u in (0, 1]", count, figure=f"{ends[0]:.4g} to {ends[1]:.9g}",
                holds=ends == [2.0**-33, 1.0]),
        Finding(GROUP, "ends of u in [0, 1)", 2, figure=f"{closed(zero)[0]} to {closed(one)[0]}",
                holds=closed(zero)[0] == 0 and closed(one)[0] == below),
        Finding(GROUP, "t is odd", turned.size, holds=bool((turned == -mirrored).all())),
        *_wide(1 << min(bits, 24)),
    ]  # fmt: skip


def _wide(count: int) -> list[Finding]:
    """Check float64 against the 80-bit format where the platform has it, and against mpmath."""
    generator = np.random.default_rng(7)
    high, low = generator.integers(0, 2**32, (2, count), np.uint64)
    high[: count // 4] >>= np.uint64(20)  # small u: large values
    pair = "f8(u8,u8)"
    u = _vectorized(floats.unit_float64_open_closed, pair)(high, low)
    t = _vectorized(floats.half_turn_float64_closed_closed, pair)(high, low)
    y = t * t
    log = _vectorized(gaussian.minus_two_log_float64, "f8(f8)")(u)
    cos = _vectorized(gaussian.cos_pi_float64, "f8(f8)")(y)
    sin = t * _vectorized(gaussian.sin_ratio_float64, "f8(f8)")(y)
    found = []

    def bounds(against: str, size: int, log: Any, cos: Any, sin: Any) -> None:
        for what, error, most in (
            ("−2 ln u, float64: relative error", log, 8e-16),
            ("cos πt, float64: error", cos, 6e-16),
            ("sin πt, float64: error", sin, 6e-16),
        ):
            figure, holds = f"{float(error):.3g}", bool(error < most)
            found.append(Finding(GROUP, f"{what}, against {against}", size, None, figure, holds))

    if np.finfo(np.longdouble).nmant >= 63:
        exact = -2 * np.log(u.astype(np.longdouble))
        turned = t.astype(np.longdouble) * np.arctan(np.longdouble(1)) * 4
        errors = np.abs(cos - np.cos(turned)).max(), np.abs(sin - np.sin(turned)).max()
        bounds("80 bits", count, np.max(np.abs(log - exact) / exact), *errors)
    few = slice(0, count, max(count >> 16, 1))
    largest = Largest()
    with mpmath.workdps(40):
        for a, b, c, d, e in zip(*(x[few].tolist() for x in (u, t, log, cos, sin)), strict=True):
            exact = -2 * mpmath.log(a)
            largest.note("log", abs(c - exact) / exact if exact else abs(c))
            largest.note("cos", abs(d - mpmath.cospi(b)))
            largest.note("sin", abs(e - mpmath.sinpi(b)))
    bounds("mpmath", u[few].size, largest["log"], largest["cos"], largest["sin"])
    return found
