"""Random calls: the oracle's values, or an error of our own family that tells what is wrong.

Hypothesis chooses the calls, the same in each run. `SEEDBED_FUZZ=1000000` asks for so many of each
kind, other ones in each run.
"""

import math
import os
import warnings

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="needs pip install 'seedbed[test]'")

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from seedbed import cli, initializers
from seedbed.errors import ArgumentError, SeedbedError
from seedbed.seeds import SeedGenerator
from tests import oracle

COUNT = int(os.environ.get("SEEDBED_FUZZ", "0"))
EXAMPLES = COUNT or 300
PROFILE = settings(
    max_examples=EXAMPLES,
    derandomize=not COUNT,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
DTYPES = ("float16", "bfloat16", "float32", "float64")
MOST = 40  # elements that the oracle draws for a case

seeds = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 2**32 - 1, 2**32, 2**64 - 1]))
numbers = st.floats(-100, 100, width=16)


@st.composite
def recipes(draw):
    """Return an initializer, and its kind and parameters as the oracle takes them."""
    seed = draw(seeds)
    kind = draw(st.sampled_from(["uniform", "normal", "truncated", "rare"]))
    mean, stddev = draw(numbers), draw(st.floats(0.125, 8, width=16))
    if kind == "uniform":
        low, high = mean, mean + stddev
        return initializers.RandomUniform(low, high, seed=seed), kind, (low, high), seed
    if kind == "normal":
        return initializers.RandomNormal(mean, stddev, seed=seed), kind, (mean, stddev), seed
    if kind == "truncated":
        return initializers.TruncatedNormal(mean, stddev, seed=seed), kind, (mean, stddev), seed
    lower = draw(st.sampled_from([1.75, 2.0, 2.5, 3.0, 6.5]))
    bounds = (lower, draw(st.sampled_from([lower + 0.5, lower + 4.0, math.inf])))
    if draw(st.booleans()):
        bounds = (-bounds[1], -bounds[0])
    init = initializers.TruncatedNormal(mean, stddev, lower=bounds[0], upper=bounds[1], seed=seed)
    return init, kind, (mean, stddev, *bounds), seed


@st.composite
def windows(draw):
    """Return a shape, small or beyond all memory, and a small window of it."""
    rank = draw(st.integers(1, 4))
    shape, window, made, total = [], [], 1, 1
    for _ in range(rank):
        most = min(2**40, 2**58 // total)
        size = draw(st.one_of(st.integers(1, min(9, most)), st.integers(1, most)))
        start = draw(st.integers(0, size - 1))
        length = draw(st.integers(1, max(1, min(size - start, MOST // made))))
        shape.append(size)
        window.append(slice(start, start + length))
        made, total = made * length, total * size
    return tuple(shape), tuple(window)


def made(init, shape, dtype, **part):
    """Return what an initializer makes; bounds between which a dtype has no number are refused."""
    try:
        return init(shape, dtype, **part)
    except ArgumentError as error:
        if f"no {dtype} number lies" not in str(error):
            raise
        reject()


def elements(shape, window):
    """Return the numbers of a window's elements, as Python's integers, in C order."""
    found = [0]
    for size, axis in zip(shape, window, strict=True):
        found = [number * size + i for number in found for i in range(axis.start, axis.stop)]
    return found


@PROFILE
@given(recipes(), windows(), st.sampled_from(DTYPES))
def test_windows_have_the_oracles_values(recipe, where, dtype):
    init, kind, parameters, seed = recipe
    shape, window = where
    found = made(init, shape, dtype, window=window)
    expected = oracle.values(kind, parameters, dtype, elements(shape, window), seed)
    assert found.shape == tuple(axis.stop - axis.start for axis in window)
    assert found.tobytes() == expected.tobytes()


@PROFILE
@given(
    recipes(),
    st.integers(1, 2**40),
    st.integers(1, 8),
    st.lists(st.integers(0, 2**64), min_size=1, max_size=5),
    st.sampled_from(DTYPES),
    st.integers(0, 3),
)
def test_rows_have_the_oracles_values(recipe, height, width, ids, dtype, margin):
    """Also where they go into rows of a wider array, beside which nothing changes."""
    init, kind, parameters, seed = recipe
    ids = [number % height for number in ids]
    numbers = [row * width + column for row in ids for column in range(width)]
    found = made(init, (height, width), dtype, rows=ids)
    expected = oracle.values(kind, parameters, dtype, numbers, seed).reshape(len(ids), width)
    assert found.tobytes() == expected.tobytes()
    wide = np.zeros((len(ids), width + margin), expected.dtype)
    init((height, width), rows=ids, out=wide[:, :width])
    assert wide[:, :width].tobytes() == expected.tobytes()
    assert not wide[:, width:].any()


@PROFILE
@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**64 - 1), st.data())
def test_rows_of_keys_have_the_oracles_words(seed, key, data):
    """A uniform value is its word: of a counter that Python's integers make."""
    width = data.draw(st.integers(1, 2**20))
    start = data.draw(st.integers(0, width - 1))
    columns = slice(start, min(width, start + 9))
    init = initializers.RandomUniform(0.0, 1.0, seed=seed)
    found = init.keyed([key], width, columns=columns)
    bits = key % 2**64
    expected = []
    for column in range(columns.start, columns.stop):
        counter = (bits % 2**32, bits >> 32, 0, 2**31 + column // 4)
        word = oracle.philox(counter, (seed % 2**32, seed >> 32))[column % 4]
        expected.append((word >> 8) * 2.0**-24)
    assert found.tolist() == [expected]


# --- what is odd ---------------------------------------------------------------------------------

odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.binary(max_size=3), st.lists(st.integers(-9, 9), max_size=3),
    st.builds(slice, st.none() | st.integers(-5, 99), st.none() | st.integers(-5, 99)),
    st.sampled_from([object(), np.float32(1), np.int64(3), np.bool_(True), 1j, "float32", "int8",
                     np.zeros(3), np.zeros((2, 3), np.float32), {}, ..., int, SeedGenerator(3)]),
)  # fmt: skip
few = st.integers(0, 5)
odd_shapes = st.one_of(st.lists(few, max_size=4).map(tuple), st.lists(odd, max_size=3), odd)
odd_windows = st.one_of(
    st.none(),
    st.lists(st.builds(slice, st.none() | few, st.none() | few), max_size=4).map(tuple),
    odd,
)
CLASSES = [
    initializers.RandomUniform, initializers.RandomNormal, initializers.TruncatedNormal,
    initializers.GlorotUniform, initializers.VarianceScaling, initializers.Orthogonal,
    initializers.Identity, initializers.Constant, initializers.DeltaOrthogonal, initializers.STFT,
]  # fmt: skip


def refused_or_made(name, call):
    """Return what a call makes; it may fail only by an error of our family, in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except SeedbedError as error:
            message = str(error)
            assert name in message.split(":")[0] or message.startswith("Invalid `"), message
            assert "\n" not in message
            assert len(message) < 1000
        except MemoryError:
            pass  # what fits into no memory
    return None


@PROFILE
@given(
    st.sampled_from(CLASSES),
    odd_shapes,
    st.sampled_from([None, *DTYPES, "int32", "complex64"]) | odd,
    odd_windows,
    st.none() | odd,
    st.none() | odd,
    st.none() | st.sampled_from(["cpu", "cuda:x", "tpu"]) | odd,
)
def test_odd_calls_are_refused_in_a_line(kind, shape, dtype, window, rows, out, device):
    name = kind.__name__
    init = kind(seed=7) if "seed" in kind.__init__.__code__.co_varnames else kind()
    size = math.prod(n for n in shape if isinstance(n, int)) if isinstance(shape, tuple) else 0
    if size > 10**6 or (isinstance(shape, list) and window is None and len(str(shape)) > 40):
        return  # may be made, and takes long
    options = {"window": window, "rows": rows, "out": out, "device": device}
    given = {key: value for key, value in options.items() if value is not None}
    made = refused_or_made(name, lambda: init(shape, dtype, **given))
    if made is not None and window is not None and rows is None and out is None:
        whole = refused_or_made(name, lambda: init(shape, dtype))
        assert whole is None or (whole[window].tobytes() == made.tobytes())


@PROFILE
@given(
    st.sampled_from(CLASSES),
    st.dictionaries(
        st.sampled_from(["seed", "mean", "stddev", "minval", "maxval", "gain", "scale", "mode",
                         "distribution", "lower", "upper", "value", "in_axis"]),
        odd, max_size=2,
    ),
)  # fmt: skip
def test_odd_parameters_are_refused_in_a_line(kind, parameters):
    known = kind.__init__.__code__.co_varnames
    given = {name: value for name, value in parameters.items() if name in known}
    init = refused_or_made(kind.__name__, lambda: kind(**given))
    if init is not None:
        refused_or_made(kind.__name__, lambda: init((3, 4)))


WORDS = ["table", "verify", "show", "info", "--shape", "3x4", "0x0", "9", "--initializer", "zeros",
         "glorot_uniform", "--seed", "7", "--dtype", "float32", "--out", "t.npy", "--set",
         "stddev=1", "mean=x", "--shards", "2", "--part", "1/2", "--resume", "--force", "--plan",
         "plan.json", "--finish", "--window", "--chunk-mib", "-1", "--device", "cpu"]  # fmt: skip


@settings(PROFILE, max_examples=max(EXAMPLES // 3, 1))
@given(
    st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=9),
    st.booleans(),
)
def test_odd_commands_are_refused_in_a_line(tmp_path_factory, words, complete):
    folder = tmp_path_factory.mktemp("command")
    base = ["table", "--shape", "3x4", "--initializer", "zeros", "--out", "t.npy"]
    here = os.getcwd()
    os.chdir(folder)
    try:
        code = cli.main([*(base if complete else []), *words])
    except SystemExit as end:
        code = end.code
    finally:
        os.chdir(here)
    assert code in (0, 1, 2)
