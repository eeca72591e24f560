"""The stream contract (kernels/README.md) in plain Python integers and plain NumPy.

Nothing here comes from the package: Philox is computed with Python's integers and a fused
multiply-add with exact sums. The coefficients are those of kernels/contract/polynomials.json.
"""

import json
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np

M32 = 2**32 - 1
CONTRACT = Path(__file__).parents[1] / "kernels" / "contract"
POLYNOMIALS = json.loads((CONTRACT / "polynomials.json").read_text())


def coefficients(letter):
    return {
        real: [real(number["decimal"]) for number in POLYNOMIALS[real.__name__][letter]]
        for real in (np.float32, np.float64)
    }


LOG, SIN, COS = coefficients("P"), coefficients("S"), coefficients("C")
MINUS_2_LN_2 = float(POLYNOMIALS["float64"]["minus_2_ln_2"]["decimal"])


def philox(counter, key):
    """Return the four words of Philox4x32-10, from Python integers, or arrays of uint64 of such."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & M32, (a >> 32) ^ c[3] ^ k[1], a & M32]
        k = [(k[0] + 0x9E3779B9) & M32, (k[1] + 0xBB67AE85) & M32]
    return c


def two_sum(a, b):
    """Return a + b rounded, and what the rounding lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def round_to_odd(total, rest):
    """Return an exact sum as float64, with the last bit set if it is not exact."""
    bits = np.asarray(total).view(np.int64)
    even = (bits & 1) == 0
    away = (rest > 0) == (total > 0)
    return np.where((rest != 0) & even, bits + np.where(away, 1, -1), bits).view(np.float64)


def two_product(a, b):
    """Return a * b rounded, and what the rounding lost (Dekker)."""

    def split(x):
        big = x * 134217729.0
        high = big - (big - x)
        return high, x - high

    product = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return product, ((ah * bh - product) + ah * bl + al * bh) + al * bl


@np.errstate(all="ignore")
def fma(a, b, c):
    """Return a * b + c rounded once, in the precision of `a`."""
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        # The product is exact in float64; odd rounding survives the second one to float32.
        wide = two_sum(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64))
        return round_to_odd(*wide).astype(np.float32)
    # Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.
    high, low = two_product(a, b)
    top, bottom = two_sum(c, low)
    result, rest = two_sum(high, top)
    result = result + round_to_odd(*two_sum(bottom, rest))
    result = np.where(result == 0, a * b + c, result)  # for the sign of a zero
    for at in np.flatnonzero(np.abs(result) < 2.0**-900):  # where what is lost may be lost
        exact = Fraction(a.flat[at]) * Fraction(b.flat[at]) + Fraction(c.flat[at])
        if exact:
            result.flat[at] = float(exact)
    return result


def polynomial(numbers, x):
    value = np.full_like(x, numbers[-1])
    for c in numbers[-2::-1]:
        value = fma(value, x, np.full_like(x, c))
    return value


def minus_two_log(u):
    real = u.dtype.type
    width, integer, root = {
        np.float32: (23, np.int32, 0x3F3504F3),
        np.float64: (52, np.int64, 0x3FE6A09E667F3BCD),
    }[real]
    bits = u.view(integer).astype(np.int64)
    exponent = (bits - root) >> width
    f = (bits - (exponent << width)).astype(integer).view(real) - real(1)
    scale = np.full_like(u, MINUS_2_LN_2)
    return fma(exponent.astype(real), scale, f * polynomial(LOG[real], f))


def box_muller(u, t, mirrored):
    real = u.dtype.type
    radius, y = np.sqrt(minus_two_log(u)), t * t
    cosine = polynomial(COS[real], y)
    sine = t * polynomial(SIN[real], y)
    return radius * np.where(mirrored, -cosine, cosine), radius * sine


def uniforms(words):
    """Return float32 values of words."""
    return (words >> 8).astype(np.float32) * np.float32(2.0**-24)


def uniforms_float64(high, low):
    return ((high << 21) + (low >> 11)).astype(np.float64) * 2.0**-53


def normals(radius, angle):
    """Return both float32 values of pairs of words."""
    u = unit_open_closed(radius)
    y = (angle << 1) & M32
    signed = y - ((y >> 31) << 32)
    t = signed.astype(np.float32) * np.float32(2.0**-32)
    return box_muller(u, t, angle >> 31 != 0)


def normals_float64(r0, r1, a0, a1):
    """Return both float64 values of groups of four words."""

    def at(word):
        return word.astype(np.float64)

    u = unit_open_closed(r0, r1)
    head = fma(at(a0 & (2**31 - 1)), 2.0**-31, np.full(r0.shape, -0.5))
    return box_muller(u, fma(at(a1), 2.0**-63, head), a0 >> 31 != 0)


def unit_open_closed(*words):
    """Return floats in (0, 1] of one word (float32) or two (float64)."""
    if len(words) == 2:
        high, low = (word.astype(np.float64) for word in words)
        return fma(high, 2.0**-32, fma(low, 2.0**-64, np.full(high.shape, 2.0**-65)))
    return fma(words[0].astype(np.float32), np.float32(2.0**-32), np.float32(2.0**-33))


def places(elements, wide, seed, stream, attempt):
    """Return the words of the elements' lanes, and the elements' places in them.

    An element of a table is its number; one of a row of a key is (key, column).
    """
    slots = 2 if wide else 4
    found = []
    for element in elements:
        if isinstance(element, tuple):
            key, column = element
            found.append((key, 2**31 + column // slots, column % slots))
        else:
            tile, within = divmod(element, 32 * slots)
            found.append((tile * 32 + within % 32, stream, within // 32))
    seed_words = (seed & M32, seed >> 32)
    if len(found) < 8:
        words = [
            philox((lane & M32, lane >> 32, attempt, fourth), seed_words)
            for lane, fourth, _ in found
        ]
    else:  # the same at once: each number stays below 2**64
        lanes, fourth = (np.array([f[k] for f in found], np.uint64) for k in (0, 1))
        counter = (lanes & M32, lanes >> 32, np.full(len(found), attempt, np.uint64), fourth)
        words = np.stack(philox(counter, seed_words), axis=-1)
    return np.array(words, np.int64).reshape(-1, 4), np.array([p for *_, p in found], np.int64)


def candidates(bounds, elements, wide, seed, stream, attempt):
    """Return what a rare truncated normal draws at an attempt, less its bound; NaN if refused."""
    lower, upper = bounds
    real = np.float64 if wide else np.float32
    drawn = []
    for k in (2 * attempt, 2 * attempt + 1):
        words, place = places(elements, wide, seed, stream, k)
        row = np.arange(len(place))
        if wide:
            drawn.append((words[row, 2 * place], words[row, 2 * place + 1]))
        else:
            drawn.append((words[row, place],))
    width, least = real(upper - lower), max(lower, 0.0)
    most = max(-lower, upper)
    if (most - least) * (most + least) < 2:
        distance = (uniforms_float64 if wide else uniforms)(*drawn[0]) * width
        rest = np.full_like(distance, real(lower * lower - least * least))
        slope = np.full_like(distance, real(2 * lower))
        excess = fma(distance, distance, fma(distance, slope, rest))
        kept = minus_two_log(unit_open_closed(*drawn[1])) >= excess
    else:
        near = real(least)
        y = minus_two_log(unit_open_closed(*drawn[0]))
        distance = y / (np.sqrt(fma(np.full_like(y, near), near, y)) + near)
        kept = ((distance + near) * unit_open_closed(*drawn[1]) <= near) & (distance <= width)
    return np.where(kept, distance, real(np.nan))


def base_values(kind, elements, wide, seed, stream=0, attempt=0):
    """Return the values before scale and shift of elements (Python integers)."""
    words, place = places(elements, wide, seed, stream, attempt)
    row = np.arange(len(place))
    if kind == "uniform":
        if wide:
            return uniforms_float64(words[row, 2 * place], words[row, 2 * place + 1])
        return uniforms(words[row, place])
    if wide:
        first, second = normals_float64(*words.T)
    else:
        pair = place & 2
        first, second = normals(words[row, pair], words[row, pair + 1])
    return np.where(place & 1, second, first)


@np.errstate(all="ignore")
def values(kind, parameters, dtype, elements, seed, stream=0):
    """Return elements of a table, or of rows of keys, as its dtype holds them.

    `parameters` are minval and maxval, or mean and stddev, and of a "rare" truncated normal its
    bounds.
    """
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    wide = dtype == np.float64
    real = np.float64 if wide else np.float32
    elements = [e if isinstance(e, tuple) else int(e) for e in elements]
    first, second, *bounds = parameters
    shift, scale = first, second
    if kind == "rare":
        lower, upper = bounds
        if upper <= 0:
            lower, upper, scale = -upper, -lower, -second
        shift = first + lower * scale
        base = np.full(len(elements), np.nan, real)
        attempt = 0
        while (missing := np.flatnonzero(np.isnan(base))).size:
            again = [elements[i] for i in missing]
            base[missing] = candidates((lower, upper), again, wide, seed, stream, attempt)
            attempt += 1
    else:
        base = base_values(kind, elements, wide, seed, stream)
    if kind == "truncated":
        attempt = 0
        while (rejected := np.flatnonzero(np.abs(base) > 2)).size:
            attempt += 1
            again = [elements[i] for i in rejected]
            base[rejected] = base_values(kind, again, wide, seed, stream, attempt)
    low, high = -float(ml_dtypes.finfo(dtype).max), float(ml_dtypes.finfo(dtype).max)
    if kind == "uniform":
        shift, scale = float(least(first, np.dtype(real))), second - first
        low, high = float(least(first, dtype)), float(greatest_below(second, dtype))
    elif kind in ("truncated", "rare"):
        lower, upper = bounds or (-2, 2)
        low = max(low, float(least(first + lower * second, dtype)))
        high = min(high, -float(least(-(first + upper * second), dtype)))
        if low > high:  # no number of the dtype lies between
            low = high = float(
                np.asarray(first + (lower * second + upper * second) / 2).astype(dtype)
            )
    result = fma(base, np.full_like(base, scale), np.full_like(base, shift))
    result = np.where(result > real(low), result, real(low) + real(0))  # no bound is -0
    return np.where(real(high) < result, real(high) + real(0), result).astype(dtype)


def least(bound, dtype):
    """Return the least number of a dtype that is at least a Python float."""
    number = np.asarray(bound).astype(dtype)
    while float(number) < bound:
        number = np.nextafter(number, np.asarray(np.inf, dtype))
    return number


def greatest_below(bound, dtype):
    """Return the greatest number of a dtype that is less than a Python float."""
    number = np.asarray(bound).astype(dtype)
    while float(number) >= bound:
        number = np.nextafter(number, np.asarray(-np.inf, dtype))
    return number
