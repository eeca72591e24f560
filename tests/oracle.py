"""The stream contract (kernels/README.md) in plain Python integers and plain NumPy.

Nothing here comes from the package: Philox is computed with Python's integers, a fused
multiply-add with exact sums of float64, and the polynomials' coefficients stand here again.
"""

import ml_dtypes
import numpy as np

M32 = 2**32 - 1
LOG = {
    np.float32: "-2 0.99999976 -0.66668373 0.5000415 -0.3991366 0.33124825 -0.2990464 0.28733477 "
    "-0.17444193",
    np.float64: "-2 0.9999999999999685 -0.6666666666666242 0.5000000000155644 -0.40000000002452 "
    "0.3333333310983735 -0.2857142812440032 0.2500001430386271 -0.22222257797825432 "
    "0.19999524552251557 -0.18180366428391528 0.16675160214066334 -0.15417158928775143 "
    "0.1421208328974906 -0.12933447561662986 0.1262201453583964 -0.14189328205155216 "
    "0.13387285812734387 -0.06138270581701537",
}
SIN = {
    np.float32: "3.1415927 -5.16771 2.5500698 -0.5982421 0.07756039",
    np.float64: "3.141592653589793 -5.167712780049969 2.550164039877294 -0.5992645293187382 "
    "0.0821458865698926 -0.007370430478762461 0.0004662996887731736 -2.1903185420805378e-05 "
    "7.69472732830679e-07",
}
COS = {
    np.float32: "1 -4.934802 4.058709 -1.3352121 0.23493756 -0.024396716",
    np.float64: "1 -4.934802200544676 4.058712126416498 -1.3352627688434646 0.23533063012980845 "
    "-0.025806888739358047 0.0019295562836343031 -0.00010456658087273931 4.149591867063527e-06",
}


def philox(counter, key):
    """Return the four words of Philox4x32-10, from Python integers."""
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
    return np.where(result == 0, a * b + c, result)  # for the sign of a zero


def polynomial(text, x):
    coefficients = [x.dtype.type(c) for c in text.split()]
    value = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
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
    scale = np.full_like(u, -2 * np.log(2.0))
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
    """Return the words of the elements' lanes, and the elements' places in them."""
    per_tile = 64 if wide else 128
    lanes = [e // per_tile * 32 + e % 32 for e in elements]
    key = (seed & M32, seed >> 32)
    words = np.array(
        [philox((lane & M32, lane >> 32, attempt, stream), key) for lane in lanes], np.int64
    ).reshape(-1, 4)
    return words, np.array([e % per_tile // 32 for e in elements], np.int64)


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


def values(kind, parameters, dtype, elements, seed, stream=0):
    """Return elements of a table as its dtype holds them.

    `parameters` are minval and maxval, or mean and stddev, and of a "rare" truncated normal its
    bounds.
    """
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    wide = dtype == np.float64
    real = np.float64 if wide else np.float32
    elements = [int(e) for e in elements]
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
    result = fma(base, np.full_like(base, scale), np.full_like(base, shift))
    return np.clip(result, real(low), real(high)).astype(dtype)


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
