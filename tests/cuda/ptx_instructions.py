"""What each PTX instruction computes, as functions of NumPy arrays, to the last bit.

`operation` looks an instruction up by its full name. It knows those that the kernels use and their
near relatives; any other is a `PtxError`, so nothing is ever run by a guess.
"""

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

BITS = {"8": np.uint8, "16": np.uint16, "32": np.uint32, "64": np.uint64}
_SIGNED = {"8": np.int8, "16": np.int16, "32": np.int32, "64": np.int64}
_FLOATS = {"16": np.float16, "32": np.float32, "64": np.float64}
_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNORDERED = {"geu": np.less, "gtu": np.less_equal, "leu": np.greater, "ltu": np.greater_equal}


class PtxError(Exception):
    """A kernel does what it must not, or something that is not known here."""


class Operation(NamedTuple):
    """A function of arrays, the type of its result, and the types of its operands."""

    function: Callable[..., Any]
    result: Any
    operands: list[Any]


def type_of(name: str) -> Any:
    """Return the NumPy type of ``u32``, ``f64``, ``b16``, ``pred`` and so on."""
    if name == "pred":
        return np.bool_
    if name == "bf16":
        return np.uint16
    table = {"u": BITS, "b": BITS, "s": _SIGNED, "f": _FLOATS}.get(name[0])
    if table is None or name[1:] not in table:
        raise PtxError(f"unknown type {name}")
    return table[name[1:]]


# --- floating point -----------------------------------------------------------------------------


def fma32(a: Any, b: Any, c: Any) -> Any:
    """Return float32 ``a * b + c`` rounded once.

    The product is exact in float64. The sum is rounded to odd there, which survives the second
    rounding to float32 (Boldo and Melquiond, 2008).
    """
    with np.errstate(all="ignore"):
        product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
        return _sum_to_odd(product, addend).astype(np.float32)


def fma64(a: Any, b: Any, c: Any) -> Any:
    """Return float64 ``a * b + c`` rounded once (Boldo and Melquiond, 2008).

    Fractions do it where a part could leave the range of the exponent.
    """
    with np.errstate(all="ignore"):
        high, low = _product(a, b)
        upper, lower = _sum(c, low)
        total, rest = _sum(high, upper)
        result = np.asarray(total + _sum_to_odd(rest, lower))
    hard = np.zeros(result.shape, np.bool_)
    for value in (a, b, high, c):
        size = np.abs(value)
        hard |= (size != 0.0) & ~((size > 2.0**-900) & (size < 2.0**900))
    hard |= result == 0.0  # for the sign
    for i in np.flatnonzero(hard):
        result[i] = _fma_slow(*(float(np.broadcast_to(x, hard.shape)[i]) for x in (a, b, c)))
    return result


def _sum_to_odd(a: Any, b: Any) -> Any:
    """Return float64 ``a + b``: if it is not exact, the neighbour whose last bit is 1."""
    total, error = _sum(a, b)
    total = np.asarray(total)
    bits = total.view(np.int64)
    wrong = np.isfinite(total) & (error != 0.0) & (bits & 1 == 0)
    away = (error > 0.0) == (total > 0.0)
    return np.where(wrong, bits + np.where(away, 1, -1), bits).view(np.float64)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a float64 product and what its rounding lost (Veltkamp and Dekker)."""

    def split(x: Any) -> tuple[Any, Any]:
        large = x * 134217729.0
        top = large - (large - x)
        return top, x - top

    high = a * b
    (a1, a2), (b1, b2) = split(a), split(b)
    return high, a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a float64 sum and what its rounding lost (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _fma_slow(a: float, b: float, c: float) -> float:
    with np.errstate(all="ignore"):
        plain = float(np.float64(a) * np.float64(b) + np.float64(c))
    if not all(np.isfinite((a, b, c))):
        return plain  # nothing is rounded
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return plain  # for its sign
    try:
        return exact.numerator / exact.denominator  # Python rounds a quotient of integers once
    except OverflowError:
        return float("inf") if exact > 0 else -float("inf")


def rsqrt(x: Any) -> Any:
    """Return the float32 nearest to the reciprocal root; a GPU's last bit may differ."""
    with np.errstate(all="ignore"):
        x = np.where(np.abs(x) < np.float32(2.0**-126), np.copysign(np.float32(0), x), x)
        return (1.0 / np.sqrt(x.astype(np.float64))).astype(np.float32)


def _extreme(a: Any, b: Any, larger: bool) -> Any:
    """Return the larger or smaller; -0 is less than 0, and a number wins over a NaN."""
    first = (a > b if larger else a < b) | np.isnan(b)
    first |= (a == b) & (np.signbit(a) != larger)
    return np.where(first, a, b)


def bfloat16(x: Any) -> Any:
    """Return the bits of the bfloat16 nearest to a float32, ties to even."""
    return x.astype(ml_dtypes.bfloat16).view(np.uint16)


# --- integers -----------------------------------------------------------------------------------


def _shift(a: Any, amount: Any, left: bool) -> Any:
    width = 8 * a.dtype.itemsize
    inside = np.minimum(amount, width - 1).astype(a.dtype)
    result = a << inside if left else a >> inside
    return result if a.dtype.kind == "i" else np.where(amount < width, result, a.dtype.type(0))


def _funnel_left(low: Any, high: Any, amount: Any) -> Any:
    """Return the upper word of ``high:low`` shifted left by ``amount mod 32``."""
    both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
    return (both << (amount & np.uint32(31)).astype(np.uint64) >> np.uint64(32)).astype(np.uint32)


def _funnel_right(low: Any, high: Any, amount: Any) -> Any:
    """Return the lower word of ``high:low`` shifted right by ``amount mod 32``."""
    both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
    return (both >> (amount & np.uint32(31)).astype(np.uint64)).astype(np.uint32)


def _permute(a: Any, b: Any, selector: Any) -> Any:
    """Return four bytes that nibbles of the selector choose of ``b:a``; 8 repeats a byte's sign."""
    both = b.astype(np.uint64) << np.uint64(32) | a.astype(np.uint64)
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, selector.shape), np.uint32)
    for byte in range(4):
        nibble = selector >> np.uint32(4 * byte) & np.uint32(15)
        chosen = (both >> ((nibble & np.uint32(7)) * np.uint32(8)).astype(np.uint64)).astype(
            np.uint32
        ) & np.uint32(0xFF)
        sign = np.where(chosen >> np.uint32(7), np.uint32(0xFF), np.uint32(0))
        chosen = np.where(nibble >> np.uint32(3), sign, chosen)
        result |= (chosen << np.uint32(8 * byte)).astype(np.uint32)
    return result


def _logic(a: Any, b: Any, c: Any, table: Any) -> Any:
    """Return ``lop3``: bit n of the table is the result for a, b, c = the three bits of n."""
    entry = int(np.ravel(table)[0])
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape), np.uint32)
    for n in range(8):
        if entry >> n & 1:
            result |= (a if n & 4 else ~a) & (b if n & 2 else ~b) & (c if n & 1 else ~c)
    return result


def _field(a: Any, start: Any, length: Any) -> Any:
    """Return ``bfe``: `length` bits from bit `start` of an unsigned number."""
    kind = a.dtype
    moved = _shift(a, start & np.uint32(0xFF), left=False)
    mask = _shift(np.ones(1, kind), length & np.uint32(0xFF), left=True) - kind.type(1)
    return moved & mask


def _reversed(x: Any) -> Any:
    result = np.zeros_like(x)
    for bit in range(32):
        result |= ((x >> np.uint32(bit)) & np.uint32(1)) << np.uint32(31 - bit)
    return result


def _leading_zeros(x: Any) -> Any:
    exponent = np.frexp(x.astype(np.float64))[1]
    return (32 - exponent).astype(np.uint32)


def _shift_to_top(x: Any) -> Any:
    """Return ``bfind.shiftamt``: how far to shift the highest bit to the top."""
    return np.where(x == 0, np.uint32(0xFFFFFFFF), _leading_zeros(x))


def _quotient(a: Any, b: Any) -> Any:
    """Return an integer quotient, cut towards zero."""
    if (b == 0).any():
        raise PtxError("division by zero")
    if a.dtype.kind == "i":
        if ((a == np.iinfo(a.dtype).min) & (b == -1)).any():
            raise PtxError("a quotient that does not fit")
        floor, rest = np.divmod(a, b)
        return floor + ((rest != 0) & ((a < 0) != (b < 0)))
    return a // b


def _upper_half(a: Any, b: Any) -> Any:
    """Return the upper half of a product of numbers of 32 or 64 bits."""
    if a.dtype.kind == "i":
        unsigned = BITS[str(8 * a.dtype.itemsize)]
        x, y, zero = a.view(unsigned), b.view(unsigned), unsigned(0)
        upper = _upper_half(x, y) - np.where(a < 0, y, zero) - np.where(b < 0, x, zero)
        return upper.view(a.dtype)
    if a.dtype == np.uint32:
        return (a.astype(np.uint64) * b.astype(np.uint64) >> np.uint64(32)).astype(np.uint32)
    low, word = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> word, b & low, b >> word
    middle = a1 * b0 + (a0 * b0 >> word)
    return a1 * b1 + (middle >> word) + ((a0 * b1 + (middle & low)) >> word)


# --- by name ------------------------------------------------------------------------------------


@functools.cache
def operation(name: str, root: Callable[[Any], Any] = rsqrt) -> Operation:
    """Return what an instruction computes.

    Parameters
    ----------
    name : str
        With all its modifiers, such as ``fma.rn.f32``.
    root : callable, optional
        What stands for ``rsqrt.approx.ftz.f32``, which PTX does not define to the last bit.

    Examples
    --------
    >>> function, result, operands = operation("mul.wide.u32")
    >>> function(np.array([2**32 - 1], np.uint32), np.array([3], np.uint32))
    array([12884901885], dtype=uint64)
    """
    verb, *words = name.split(".")
    fixed: dict[str, tuple[Any, int]] = {
        "fma.rn.f32": (fma32, 3),
        "fma.rn.f64": (fma64, 3),
        "sqrt.rn.f32": (np.sqrt, 1),
        "sqrt.rn.f64": (np.sqrt, 1),
        "div.rn.f32": (np.divide, 2),
        "div.rn.f64": (np.divide, 2),
        "rsqrt.approx.ftz.f32": (root, 1),
        "brev.b32": (_reversed, 1),
        "clz.b32": (_leading_zeros, 1),
        "bfind.shiftamt.u32": (_shift_to_top, 1),
        "cvta.to.global.u64": (lambda a: a, 1),
        "shf.l.wrap.b32": (_funnel_left, 3),
        "shf.r.wrap.b32": (_funnel_right, 3),
        "prmt.b32": (_permute, 3),
        "lop3.b32": (_logic, 4),
        "mul.hi.u32": (_upper_half, 2),
        "mul.hi.u64": (_upper_half, 2),
        "mul.hi.s32": (_upper_half, 2),
        "mul.hi.s64": (_upper_half, 2),
    }
    if name in fixed:
        function, count = fixed[name]
        return Operation(function, kind := type_of(words[-1]), [kind] * count)
    if verb == "popc":
        given = type_of(words[0])
        return Operation(
            np.vectorize(lambda a: int(a).bit_count(), otypes=[np.uint32]), np.uint32, [given]
        )
    if verb == "cvt":
        return _conversion(name, words)
    if verb == "setp" and len(words) == 2:
        kind = type_of(words[1])
        return Operation(_comparison(words[0], words[1][0] == "f"), np.bool_, [kind] * 2)
    if verb in ("mul", "mad") and words[0] == "wide" and words[1] in ("u16", "s16", "u32", "s32"):
        kind = type_of(words[1])
        wide = type_of(f"{words[1][0]}{2 * int(words[1][1:])}")
        if verb == "mul":
            return Operation(lambda a, b: a.astype(wide) * b.astype(wide), wide, [kind] * 2)
        return Operation(
            lambda a, b, c: a.astype(wide) * b.astype(wide) + c, wide, [kind, kind, wide]
        )
    if verb == "mul" and words[0] == "lo" and words[1][0] in "us":
        return Operation(np.multiply, kind := type_of(words[1]), [kind] * 2)
    if verb == "mad" and words[0] == "lo" and words[1][0] in "us":
        return Operation(lambda a, b, c: a * b + c, kind := type_of(words[1]), [kind] * 3)
    if words[:1] == ["rn"] and verb in ("add", "sub", "mul") and words[1][0] == "f":
        words = words[1:]
    if len(words) != 1:
        raise PtxError(f"unknown instruction {name}")
    return _plain(name, verb, words[0])


def _plain(name: str, verb: str, word: str) -> Operation:
    """Return an instruction that has only a type."""
    kind, letter = type_of(word), word[0]
    real, whole = letter == "f", letter in "us"
    if verb == "selp":
        return Operation(lambda a, b, p: np.where(p, a, b), kind, [kind, kind, np.bool_])
    if verb == "bfe" and letter == "u":
        return Operation(_field, kind, [kind, np.uint32, np.uint32])
    if verb in ("shl", "shr"):
        left = verb == "shl"
        if left and letter != "b":
            raise PtxError(f"unknown instruction {name}")
        return Operation(lambda a, n: _shift(a, n, left), kind, [kind, np.uint32])
    functions: dict[str, tuple[Any, int, bool]] = {
        "mov": (lambda a: a, 1, True),
        "add": (np.add, 2, real or whole),
        "sub": (np.subtract, 2, real or whole),
        "mul": (np.multiply, 2, real),
        "neg": (np.negative, 1, real or letter == "s"),
        "abs": (np.abs, 1, real or letter == "s"),
        "and": (np.bitwise_and, 2, letter in "bp"),
        "or": (np.bitwise_or, 2, letter in "bp"),
        "xor": (np.bitwise_xor, 2, letter in "bp"),
        "not": (np.invert, 1, letter in "bp"),
        "div": (_quotient, 2, whole),
        "rem": (lambda a, b: a - _quotient(a, b) * b, 2, whole),
        "max": (lambda a, b: _extreme(a, b, True) if real else np.maximum(a, b), 2, letter != "b"),
        "min": (lambda a, b: _extreme(a, b, False) if real else np.minimum(a, b), 2, letter != "b"),
    }
    function, count, fits = functions.get(verb, (None, 0, False))
    if function is None or not fits:
        raise PtxError(f"unknown instruction {name}")
    return Operation(function, kind, [kind] * count)


def _comparison(name: str, real: bool) -> Any:
    if real and name in _UNORDERED:  # true of a NaN, too
        opposite = _UNORDERED[name]
        return lambda a, b: ~opposite(a, b)
    if real and name == "neu":
        return np.not_equal
    if name not in _COMPARE or (real and name == "ne"):  # which is false of a NaN
        raise PtxError(f"unknown comparison {name}")
    return _COMPARE[name]


def _conversion(name: str, words: list[str]) -> Operation:
    """Return a conversion between integers, of integers to floats, or of float32 to 16 bits."""
    *mode, target, source = words
    if name == "cvt.rn.bf16.f32":
        return Operation(bfloat16, np.uint16, [np.float32])
    if name in ("cvt.rn.bf16x2.f32", "cvt.rn.f16x2.f32"):
        half = bfloat16 if "bf" in name else lambda a: a.astype(np.float16).view(np.uint16)
        return Operation(  # the first operand goes into the upper half
            lambda a, b: half(a).astype(np.uint32) << np.uint32(16) | half(b),
            np.uint32,
            [np.float32] * 2,
        )
    to, given = type_of(target), type_of(source)
    integers = target[0] in "us" and source[0] in "us" and not mode
    rounded = mode == ["rn"] and target in ("f32", "f64") and source[0] in "us"
    widened = not mode and (target, source) == ("f64", "f32")
    narrowed = name in ("cvt.rn.f16.f32", "cvt.rn.f32.f64")
    if not (integers or rounded or widened or narrowed):
        raise PtxError(f"unknown conversion {name}")
    return Operation(lambda a: a.astype(to), to, [given])
