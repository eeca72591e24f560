"""Random calls of initializers: the oracle's values, or a refusal; many calls at once."""

import math
import random
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from seedbed import initializers
from seedbed.errors import ArgumentError, SeedbedError
from seedbed.seeds import SeedGenerator, Stream
from seedbed.values.dtypes import as_dtype
from tests import oracle

DTYPES = ("float16", "bfloat16", "float32", "float64")
TOGETHER = 50  # calls of one initializer, whose elements the oracle makes at once
MOST = 40  # elements of a call
SEEDS = (0, 1, 7, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
KEYS = (0, -1, -(2**63), 2**63, 2**64 - 1, 2**32)


class Call(NamedTuple):
    """What was made, and which elements, as the oracle takes them."""

    told: str
    made: np.ndarray
    elements: list[Any]


def values(chance: random.Random, count: int) -> Counter[str]:
    """Make so many calls and compare each with the oracle; return how many of each kind."""
    outcomes: Counter[str] = Counter()
    while sum(outcomes.values()) < count:
        init, kind, parameters, seed, draw = recipe(chance)
        dtype = chance.choice(DTYPES)
        calls = []
        for _ in range(min(TOGETHER, count - sum(outcomes.values()))):
            mode = chance.choice(MODES if draw == 0 else MODES[:-1])
            try:
                calls.append(mode(chance, init, dtype))
            except ArgumentError as error:
                if f"no {dtype} number lies" not in str(error):
                    raise
                outcomes["no number between the bounds"] += 1
                continue
            outcomes[mode.__name__] += 1
        elements = [element for call in calls for element in call.elements]
        expected = oracle.values(kind, parameters, dtype, elements, seed, draw).tobytes()
        size = as_dtype(dtype).itemsize
        begin = 0
        for call in calls:
            end = begin + len(call.elements) * size
            assert call.made.tobytes() == expected[begin:end], (call.told, init, dtype)
            begin = end
    return outcomes


def recipe(chance: random.Random) -> tuple[Any, str, tuple[float, ...], int, int]:
    """Return an initializer; its kind, parameters, seed and draw as the oracle takes them."""
    seed = chance.choice([*SEEDS, chance.getrandbits(64), chance.getrandbits(64)])
    draw = chance.choice([0, 0, 0, 1, 2**31 - 1, chance.randrange(2**31)])
    given = {"seed": seed if not draw else Stream(seed, draw)}
    mean = chance.choice([0.0, -1.0, 0.5, chance.uniform(-100, 100), chance.gauss(0, 1e-3)])
    stddev = chance.choice([1.0, 0.02, 2.0 ** chance.randint(-30, 12), chance.uniform(0.1, 8)])
    kind = chance.choice(["uniform", "normal", "truncated", "rare"])
    init: Any
    if kind == "uniform":
        parameters = mean, mean + stddev
        init = initializers.RandomUniform(*parameters, **given)
    elif kind == "normal":
        parameters = mean, stddev
        init = initializers.RandomNormal(*parameters, **given)
    elif kind == "truncated":
        parameters = mean, stddev
        init = initializers.TruncatedNormal(*parameters, **given)
    else:
        lower = chance.choice([1.75, 2.0, 2.5, 3.0, 6.5])
        bounds = lower, chance.choice([lower + 0.5, lower + 4.0, math.inf])
        if chance.random() < 0.5:
            bounds = -bounds[1], -bounds[0]
        parameters = mean, stddev, *bounds
        init = initializers.TruncatedNormal(mean, stddev, lower=bounds[0], upper=bounds[1], **given)
    if chance.random() < 0.1:
        init = initializers.deserialize(initializers.serialize(init))
    return init, kind, parameters, seed, draw


def _out(chance: random.Random, size: tuple[int, ...], dtype: str, rows: int) -> Any:
    """Return an array to fill, or None; the first axes, of `rows`, may lie apart."""
    kind = as_dtype(dtype)
    how = chance.randrange(5)
    if how < 2 or 0 in size:
        return None
    if how == 2 or not rows or len(size) != rows + 1:
        return np.full(size, 77, kind)
    wide = np.full((*size[:-1], size[-1] + chance.randrange(4)), 77, kind)
    if how == 4 and rows == 1:
        wide = wide[::-1]
    begin = chance.randint(0, wide.shape[-1] - size[-1])
    return wide[..., begin : begin + size[-1]]


def _made(call: Any, out: Any) -> np.ndarray:
    """Return what a call makes; nothing beside `out` may change."""
    if out is None:
        return call(None)
    whole = out if out.base is None else out.base
    beside = np.ones(whole.shape, bool)
    start = out.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    strides = [step // out.itemsize for step in out.strides]
    from_there = beside.reshape(-1)[start // out.itemsize :]
    np.lib.stride_tricks.as_strided(from_there, out.shape, strides)[...] = False
    assert call(out) is out
    assert (whole[beside].astype(np.float64) == 77).all(), "something beside out has changed"
    return out


def _sizes(chance: random.Random, rank: int) -> tuple[int, ...]:
    sizes: list[int] = []
    for _ in range(rank):
        most = min(2**40, 2**62 // math.prod(sizes))
        sizes.append(chance.choice([1, chance.randint(1, min(9, most)), chance.randint(1, most)]))
    return tuple(sizes)


def _window(chance: random.Random, shape: tuple[int, ...], most: int) -> tuple[slice, ...]:
    window = []
    for size in shape:
        length = chance.randint(0 if chance.random() < 0.02 else 1, max(1, min(size, most)))
        start = chance.choice([0, size - length, chance.randint(0, size - length)])
        window.append(slice(start, start + length))
        most //= max(length, 1)
    return tuple(window)


def _numbers(shape: tuple[int, ...], window: tuple[slice, ...], base: int = 0) -> list[int]:
    """Return the numbers of a window's elements, as Python's integers, in C order."""
    found = [base]
    for size, axis in zip(shape, window, strict=True):
        found = [number * size + i for number in found for i in range(axis.start, axis.stop)]
    return found


def a_window(chance: random.Random, init: Any, dtype: str) -> Call:
    """Make a window of a table, small or beyond all memory."""
    shape = _sizes(chance, chance.randint(1, 4))
    window = _window(chance, shape, MOST)
    out = _out(chance, tuple(axis.stop - axis.start for axis in window), dtype, 0)
    made = _made(lambda out: init(shape, dtype, window=window, out=out), out)
    return Call(f"{shape} {window}", made, _numbers(shape, window))


def a_whole(chance: random.Random, init: Any, dtype: str) -> Call:
    """Make a whole small table."""
    shape = tuple(chance.randint(0 if chance.random() < 0.05 else 1, 4) for _ in range(3))
    out = _out(chance, shape, dtype, 0)
    made = _made(lambda out: init(shape, dtype, out=out), out)
    return Call(f"{shape}", made, list(range(math.prod(shape))))


def some_rows(chance: random.Random, init: Any, dtype: str) -> Call:
    """Make rows by their numbers, or a window in each of them."""
    height, *inner = _sizes(chance, chance.randint(1, 3))
    count = chance.randint(0, 6)
    ids: Any = [chance.choice([0, height - 1, chance.randrange(height)]) for _ in range(count)]
    rank = 1
    if chance.random() < 0.3:
        ids, rank = np.array(ids, chance.choice(["int64", "uint64"])), 1
    elif chance.random() < 0.2 and count % 2 == 0:
        ids, rank = np.array(ids, np.int64).reshape(2, -1), 2
    elif chance.random() < 0.3:
        start, step = chance.randrange(height), chance.choice([1, 2, 7, -1, -3, height])
        stop = start + step * count
        ids = slice(start, None if stop < 0 else stop, step)
    numbers = range(*ids.indices(height)) if isinstance(ids, slice) else np.ravel(ids).tolist()
    window = _window(chance, tuple(inner), MOST // max(len(numbers), 1) or 1)
    lengths = tuple(axis.stop - axis.start for axis in window)
    size = (np.shape(ids) if not isinstance(ids, slice) else (len(numbers),)) + lengths
    given = {} if chance.random() < 0.1 and math.prod(inner) < 10 else {"window": (None, *window)}
    if not given:
        window = tuple(slice(0, n) for n in inner)
        size = size[: len(size) - len(inner)] + tuple(inner)
    out = _out(chance, size, dtype, rank)
    made = _made(lambda out: init((height, *inner), dtype, rows=ids, out=out, **given), out)
    elements = [e for number in numbers for e in _numbers(tuple(inner), window, int(number))]
    return Call(f"{(height, *inner)} rows {ids} {window}", made, elements)


def some_keys(chance: random.Random, init: Any, dtype: str) -> Call:
    """Make rows of keys, or columns of them."""
    most = 2**32 if dtype == "float64" else 2**33
    width = chance.choice([chance.randint(1, 9), chance.randint(1, 300), chance.randint(1, most)])
    keys = [chance.choice([*KEYS, chance.getrandbits(64), chance.randrange(9)])
            for _ in range(chance.randint(0, 5))]  # fmt: skip
    (columns,) = _window(chance, (width,), MOST // max(len(keys), 1))
    given: Any = keys
    if keys and chance.random() < 0.3:
        given = np.array([key % 2**64 for key in keys], np.uint64)
    out = _out(chance, (len(keys), columns.stop - columns.start), dtype, 1)
    made = _made(lambda out: init.keyed(given, width, dtype, columns=columns, out=out), out)
    elements = [(key % 2**64, c) for key in keys for c in range(columns.start, columns.stop)]
    return Call(f"keys {keys} {width} {columns}", made, elements)


MODES = (a_window, a_whole, some_rows, some_keys)


# --- what is odd ---------------------------------------------------------------------------------

CLASSES = (
    "RandomUniform", "RandomNormal", "TruncatedNormal", "GlorotUniform", "GlorotNormal", "HeNormal",
    "HeUniform", "LecunNormal", "LecunUniform", "VarianceScaling", "Orthogonal", "DeltaOrthogonal",
    "Identity", "Constant", "Zeros", "Ones", "STFT",
)  # fmt: skip
PARAMETERS = ("seed", "mean", "stddev", "minval", "maxval", "gain", "scale", "mode", "distribution",
              "lower", "upper", "value", "in_axis", "out_axis", "batch_axis", "input_axes",
              "output_axes", "side", "window", "scaling", "periodic")  # fmt: skip
METHODS = ("call", "call", "keyed", "get", "deserialize", "seeds")


TEXTS = ("", "x", "float32", "fan_in", "normal", "cuda:9", "cpu", "\ud800", "a\nb", "é" * 300)
NUMBERS = (0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e308, 5e-324, 2**31, 2**63, -(2**70))
SCALARS = (np.float32(2), np.int64(-3), np.bool_(True), np.uint8(7), np.datetime64("2020-01-01"))
OBJECTS = (None, True, False, 0, 1, -1, b"", b"\xff", 1j, ..., int, object(), np.float32)
KINDS = ("f4", "f8", "i8", "u1", "?", "c8", "O", "U3", "M8[s]", ">f4")
CUTS = ((None, 0, -1, 2, 2**65), (None, 3, -2, "x"), (None, 1, 2, -1, 0))
MATRIX = np.zeros((3, 4), "f4")
LAYOUTS = (MATRIX, MATRIX.T, MATRIX[:, :2], MATRIX[::-1], np.broadcast_to(MATRIX[0], (3, 4)))


def odd(chance: random.Random, depth: int = 0) -> Any:
    """Return anything."""
    if depth > 3 or chance.random() < 0.7:
        group: Any = chance.choice([TEXTS, NUMBERS, SCALARS, OBJECTS])
        return chance.choice(group)
    some = [odd(chance, depth + 1) for _ in range(chance.randrange(4))]
    few = tuple(chance.randrange(4) for _ in range(chance.randrange(4)))
    return chance.choice([
        some,
        tuple(some),
        {chance.choice(["class_name", "config", "seed", 1]): one for one in some},
        slice(*(chance.choice(cut) for cut in CUTS)),
        range(chance.randint(-3, 3), chance.randint(-3, 9), chance.choice([1, 2, -1])),
        few,
        _sizes(chance, len(few)),
        np.zeros(few, chance.choice(KINDS)),
        chance.choice(LAYOUTS),
        SeedGenerator(3),
        np.ma.masked_array([1.0, 2.0], [True, False]),
    ])  # fmt: skip


def refused_or_made(call: Any, name: str) -> Any:
    """Return what a call makes; it may fail only by an error of our family, in one line."""
    try:
        return call()
    except SeedbedError as error:
        message = str(error)
        assert name in message, message  # behind the words of Keras, if there are such
        assert "\n" not in message, message
        assert len(message) < 1000, message
    except MemoryError:  # what fits into no memory
        pass
    return None


def odd_calls(chance: random.Random, count: int) -> Counter[str]:
    """Make so many calls with odd arguments; return how many were refused, and how many not."""
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        method = chance.choice(METHODS)
        made = _odd_call(chance, method)
        outcomes[f"{method} {'refused' if made is None else 'made'}"] += 1
    return outcomes


def _odd_call(chance: random.Random, method: str) -> Any:
    name = chance.choice(CLASSES)
    kind: Any = getattr(initializers, name)
    if method == "get":
        return refused_or_made(lambda: initializers.get(odd(chance)), "get")
    if method == "deserialize":
        config = {"class_name": name, "config": {chance.choice(PARAMETERS): odd(chance)}}
        given = config if chance.random() < 0.7 else odd(chance)
        return refused_or_made(lambda: initializers.deserialize(given), "")
    if method == "seeds":
        return refused_or_made(lambda: SeedGenerator(odd(chance)), "SeedGenerator")
    known = kind.__init__.__code__.co_varnames
    given = {p: odd(chance) for p in PARAMETERS if p in known and chance.random() < 0.08}
    if "seed" in known and "seed" not in given:
        given["seed"] = 7
    init = refused_or_made(lambda: kind(**given), name)
    if init is None:
        return None
    options = {n: odd(chance) for n in ("window", "rows", "out", "device") if chance.random() < 0.2}
    dtype = chance.choice([None, *DTYPES, "int32", "complex64", odd(chance)])
    if method == "keyed":
        options = {name: value for name, value in options.items() if name in ("out", "device")}
        if chance.random() < 0.3:
            options["fans"] = odd(chance)
        keys = chance.choice([[1, -1], odd(chance)])
        width = chance.choice([5, odd(chance)])
        if isinstance(width, int) and width > 10**6:
            return None  # may be made, and takes long
        return refused_or_made(lambda: init.keyed(keys, width, dtype, **options), name)
    shape = chance.choice([(3, 4), (2, 3, 4), odd(chance)])
    try:
        if math.prod(int(n) for n in shape) > 10**6:
            return None
    except Exception:  # no shape
        pass
    return refused_or_made(lambda: init(shape, dtype, **options), name)
