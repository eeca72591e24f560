"""Kernels against the stream contract: the oracle, published answers, golden hashes.

Equality is of bits throughout, so no test here can fail by chance.
"""

import hashlib
import json
import math
import re
from fractions import Fraction
from pathlib import Path

import numba
import numpy as np
import pytest

from seedbed.values import host as door
from seedbed.values.fill import fill, sample
from seedbed.values.recipes import Normal, TruncatedNormal, Uniform
from seedbed.values.request import KeyedRequest
from seedbed.values.seeds import Stream
from seedbed_kernels import floats, gaussian, philox
from tests import oracle, processes

KINDS = {
    "uniform": Uniform,
    "normal": Normal,
    "truncated": TruncatedNormal,
    "narrow": TruncatedNormal,
    "tail": TruncatedNormal,
}
DTYPES = ("float32", "float64", "float16", "bfloat16")
PARAMETERS = {
    "uniform": (-0.05, 0.05),
    "normal": (0.1, 0.02),
    "truncated": (0.0, 0.02),
    "narrow": (0.1, 0.5, 0.9, 1.0),
    "tail": (0.0, 0.02, -math.inf, -2.5),
}
ORACLE = {"narrow": "rare", "tail": "rare"}
CASES = [(kind, dtype) for kind in KINDS for dtype in DTYPES]
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())

ANSWERS = json.loads((oracle.CONTRACT / "known_answers.json").read_text())
PUBLISHED = [tuple(case.values()) for case in ANSWERS["philox4x32_10"]]  # of Random123


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


SEVEN = Stream(7)


def draw(kind, dtype, shape, stream=SEVEN, window=None, parameters=None):
    source = KINDS[kind](*(parameters or PARAMETERS[kind]))
    return sample(source, shape, dtype, stream=stream, window=window)


@pytest.mark.parametrize(
    "case", ANSWERS["elements"], ids=lambda c: f"{c['distribution']}-{c['dtype']}"
)
def test_known_answers_of_elements(case):
    kind, parameters, dtype = case["distribution"], case["parameters"], case["dtype"]
    shape, stream = (2**60,), Stream(case["seed"], case["draw"])
    found = [
        draw(kind, dtype, shape, stream, (slice(element, element + 1),), parameters)
        for element in case["elements"]
    ]
    assert [in_hex(value[0]) for value in found] == case["bits"]
    expected = oracle.values(kind, parameters, dtype, case["elements"], case["seed"], case["draw"])
    assert [in_hex(value) for value in expected] == case["bits"]


@pytest.mark.parametrize(
    "case", ANSWERS["keyed"], ids=lambda c: f"{c['distribution']}-{c['dtype']}"
)
def test_known_answers_of_rows_of_keys(case):
    kind, parameters, dtype = case["distribution"], case["parameters"], case["dtype"]
    table = keyed(kind, dtype, case["keys"], 300, parameters)
    found = [table[row, column] for row, column in enumerate(case["columns"])]
    assert [in_hex(value) for value in found] == case["bits"]
    elements = list(zip(case["keys"], case["columns"], strict=True))
    expected = oracle.values(kind, parameters, dtype, elements, case["seed"])
    assert [in_hex(value) for value in expected] == case["bits"]


def in_hex(value):
    return f"0x{value.tobytes()[::-1].hex()}"


def keyed(kind, dtype, keys, width, parameters=None):
    request = KeyedRequest(keys, width, dtype)
    return fill(KINDS[kind](*(parameters or PARAMETERS[kind])), request, SEVEN)


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_rows_of_keys_are_equal_to_the_oracle(kind, dtype):
    keys, width = [0, 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 12345678901234567890], 67
    elements = [(key, column) for key in keys for column in range(width)]
    expected = oracle.values(ORACLE.get(kind, kind), PARAMETERS[kind], dtype, elements, 7)
    assert same_bits(keyed(kind, dtype, keys, width), expected.reshape(len(keys), width))


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_the_kernels_have_the_contract_s_coefficients(real):
    """Bit for bit; that the code computes with them, the values show."""
    source = Path(gaussian.__file__).read_text()
    names = {"P": "log_ratio", "S": "sin_ratio", "C": "cos_pi"}
    for letter, name in names.items():
        body = re.search(rf"^{name}_{real} = polynomial\((.*?)^\)", source, re.S | re.M)
        assert body
        constants = re.findall(r"F(?:32|64)\(([^)]*)\)", body[1])
        wanted = oracle.POLYNOMIALS[real][letter]
        assert [in_hex(np.dtype(real).type(c)) for c in constants] == [c["bits"] for c in wanted]
        assert [c["decimal"] for c in wanted] == constants
    scale = oracle.POLYNOMIALS[real]["minus_2_ln_2"]
    assert in_hex(np.dtype(real).type(float(scale["decimal"]))) == scale["bits"]
    assert float(gaussian.MINUS_2_LN_2_F64) == oracle.MINUS_2_LN_2


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), PUBLISHED)
def test_published_philox_answers(counter, key, answer):
    compiled = numba.njit(lambda c, k: philox.philox4x32(c[0], c[1], c[2], c[3], k[0], k[1]))
    given = np.array(words(counter), np.uint64), np.array(words(key), np.uint64)
    assert [int(word) & 0xFFFFFFFF for word in compiled(*given)] == words(answer)
    assert oracle.philox(words(counter), words(key)) == words(answer)


def test_philox_ignores_the_upper_halves_of_its_counter():
    compiled = numba.njit(lambda c: philox.philox4x32(c[0], c[1], c[2], c[3], c[4], c[5]))
    plain = np.array([1, 2, 3, 4, 5, 6], np.uint64)
    dirty = plain | np.array([0xABC << 32] * 4 + [0, 0], np.uint64)
    assert [int(w) % 2**32 for w in compiled(plain)] == [int(w) % 2**32 for w in compiled(dirty)]


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_fma_of_the_oracle_and_of_the_kernels_is_rounded_once(real):
    generator = np.random.default_rng(5)
    a, b, c = (generator.normal(size=3000).astype(real) for _ in range(3))
    c[::3] = -(a * b)[::3]  # cancellation: a second rounding would show
    c[1::3] *= real(2.0**-30)
    compiled = numba.vectorize([f"{t}({t},{t},{t})" for t in ("f4", "f8")])(
        lambda x, y, z: floats.fma(x, y, z)
    )
    expected = [
        _nearest(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), real)
        for x, y, z in zip(a, b, c, strict=True)
    ]
    assert same_bits(oracle.fma(a, b, c), np.array(expected, real))
    assert same_bits(compiled(a, b, c), np.array(expected, real))


def _nearest(exact, real):
    """Round a fraction once, ties to even."""
    guess = real(float(exact))
    around = [guess, np.nextafter(guess, real(-np.inf)), np.nextafter(guess, real(np.inf))]
    even = np.int32 if real is np.float32 else np.int64
    return min(around, key=lambda x: (abs(Fraction(float(x)) - exact), x.view(even) & 1))


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_equal_to_the_oracle(kind, dtype):
    for seed, draws, size in ((7, 0, 3000), (2**64 - 1, 3, 700), (2**32, 2**31 - 1, 300)):
        expected = oracle.values(
            ORACLE.get(kind, kind), PARAMETERS[kind], dtype, range(size), seed, draws
        )
        assert same_bits(draw(kind, dtype, (size,), Stream(seed, draws)), expected)


@pytest.mark.parametrize(("kind", "dtype"), CASES)
@pytest.mark.parametrize("power", [31, 32, 40, 58])
def test_windows_far_inside_virtual_tables(kind, dtype, power):
    columns, middle = 96, 2**power
    rows = middle // columns + 100
    row = middle // columns
    window = (slice(row - 1, row + 2), slice(5, 93))
    elements = [r * columns + c for r in range(row - 1, row + 2) for c in range(5, 93)]
    assert min(elements) < middle < max(elements)
    expected = oracle.values(ORACLE.get(kind, kind), PARAMETERS[kind], dtype, elements, 7)
    assert same_bits(draw(kind, dtype, (rows, columns), window=window).ravel(), expected)


@pytest.mark.parametrize(
    ("kind", "dtype", "parameters"),
    [
        ("uniform", "float32", (1.0, 1.0 + 2.0**-20)),
        ("uniform", "float32", (-1e38, 2e38)),
        ("uniform", "float64", (-3.0, -2.9999999)),
        ("uniform", "bfloat16", (0.0, 0.1)),
        ("uniform", "bfloat16", (-0.3, 257.0)),
        ("uniform", "float16", (0.0, 6.2e-5)),
        ("uniform", "float16", (0.1, 65504.0)),
        ("uniform", "float16", (-65504.0, 65504.0)),
        ("normal", "float16", (0.0, 1e-6)),
        ("normal", "float16", (0.0, 30000.0)),
        ("normal", "float16", (-60000.0, 5000.0)),
        ("normal", "bfloat16", (3e38, 3e37)),
        ("normal", "float32", (0.0, -1.5e38)),
        ("normal", "bfloat16", (1.0, 1e-3)),
        ("truncated", "float16", (0.0, 1.0)),
        ("truncated", "bfloat16", (0.3, 0.017)),
        ("rare", "float32", (0.0, 1.0, -0.01, 0.05)),
        ("rare", "float64", (-1.0, 0.1, -0.05, 0.06)),
        ("rare", "float32", (0.0, 1.0, 1.0, 1.2)),
        ("rare", "float64", (5.0, 2.0, -1.3, -1.25)),
        ("rare", "float32", (2.0, 0.5, 30.0, math.inf)),
        ("rare", "float64", (0.0, 1e-3, 2.0, 9.0)),
        ("rare", "float16", (0.0, 0.02, -math.inf, -4.0)),
        ("rare", "bfloat16", (1.0, 1e-9, 2.0**60, math.inf)),
    ],
)
def test_odd_parameters(kind, dtype, parameters):
    expected = oracle.values(kind, parameters, dtype, range(4000), 9)
    found = draw(kind.replace("rare", "truncated"), dtype, (4000,), Stream(9), None, parameters)
    assert same_bits(found, expected)
    assert np.isfinite(found.astype(np.float64)).all()
    low, high, *bounds = parameters
    if kind in ("truncated", "rare"):
        below, above = bounds or (-2, 2)
        low, high = low + below * high, low + above * high
        assert (found.astype(np.float64) <= high).all()
    if kind == "uniform":
        assert (found.astype(np.float64) < high).all()
    if kind != "normal":
        assert (found.astype(np.float64) >= low).all()


def test_a_float64_normal_ends_at_the_largest_number():
    """Whose sum the oracle's arithmetic cannot hold."""
    stddev, most = 1.7e308, np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        expected = draw("normal", "float64", (1000,), parameters=(0.0, 1.0)) * stddev
    assert not np.isfinite(expected).all()
    found = draw("normal", "float64", (1000,), parameters=(0.0, stddev))
    assert same_bits(found, np.clip(expected, -most, most))


def test_end_points_of_unit_floats():
    first, last = np.uint64(0), np.uint64(2**32 - 1)
    u = numba.njit(lambda w: floats.unit_float32_closed_open(w))
    assert (u(first), u(last)) == (0.0, np.float32(1 - 2.0**-24))
    u = numba.njit(lambda w: floats.unit_float32_open_closed(w))
    assert (u(first), u(last)) == (np.float32(2.0**-33), 1.0)
    t = numba.njit(lambda w: floats.half_turn_float32_closed_closed(w))
    assert (t(np.uint64(2**30)), t(np.uint64(2**30 - 1)), t(first)) == (-0.5, 0.5, 0.0)
    u = numba.njit(lambda a, b: floats.unit_float64_closed_open(a, b))
    assert (u(first, first), u(last, last)) == (0.0, 1 - 2.0**-53)
    u = numba.njit(lambda a, b: floats.unit_float64_open_closed(a, b))
    assert (u(first, first), u(last, last)) == (2.0**-65, 1.0)
    t = numba.njit(lambda a, b: floats.half_turn_float64_closed_closed(a, b))
    assert (t(first, first), t(last, last)) == (-0.5, 0.5)


def test_normal_at_its_extreme_words():
    ends = [np.uint64(w) for w in (0, 1, 2**30, 2**31 - 1, 2**31, 2**32 - 1)]
    narrow = numba.njit(lambda a, b: gaussian.box_muller_float32(a, b))
    wide = numba.njit(lambda a, b, c, d: gaussian.box_muller_float64(a, b, c, d))
    for r in ends:
        for a in ends:
            r_, a_ = np.array([int(r)]), np.array([int(a)])
            expected = [v[0] for v in oracle.normals(r_, a_)]
            assert same_bits(np.array(narrow(r, a), "f4"), np.array(expected, "f4"))
            expected = [v[0] for v in oracle.normals_float64(r_, r_, a_, a_)]
            assert same_bits(np.array(wide(r, r, a, a)), np.array(expected))
    assert abs(narrow(np.uint64(0), np.uint64(0))[0]) == pytest.approx(6.7637, abs=1e-3)
    assert abs(wide(*[np.uint64(0)] * 4)[1]) == pytest.approx(9.4927, abs=1e-3)


def test_sixteen_bit_rounding_at_every_midpoint():
    import ml_dtypes

    for dtype, carrier, scalar in (
        (np.float16, np.int16, floats.float16_bits),
        (ml_dtypes.bfloat16, np.uint16, floats.bfloat16_bits),
    ):
        numbers = np.arange(2**16, dtype=np.uint16).view(dtype).astype(np.float32)
        numbers = np.unique(numbers[np.isfinite(numbers)])
        middles = (numbers[:-1].astype(np.float64) + numbers[1:]) / 2
        middles = middles.astype(np.float32)
        near = [numbers, middles]
        with np.errstate(under="ignore"):
            near += [np.nextafter(middles, np.float32(s)) for s in (-np.inf, np.inf)]
        cases = np.concatenate(near)

        @numba.njit
        def convert(values, out, scalar=scalar):
            for i in range(values.size):
                out[i] = scalar(values[i])

        out = np.empty(cases.size, carrier)
        convert(cases, out)
        with np.errstate(all="ignore"):
            expected = cases.astype(dtype)
        np.testing.assert_array_equal(out.view(dtype), expected)


def test_worked_example_of_the_contract():
    page = (Path(__file__).parents[2] / "kernels" / "README.md").read_text()
    number, hexadecimal = r"\| (\S+) ", r"\| ([0-9a-f ]{35}) "
    rows = re.findall(rf"^{number * 4}{hexadecimal}\| .* {number}\|$", page, re.M)
    assert [row[0] for row in rows] == ["0", "33", "2³²"]
    for (_, tile, lane, word, output, value), element in zip(rows, (0, 33, 2**32), strict=True):
        assert (int(tile), int(word)) == (element // 128, element // 32 % 4)
        assert int(lane) == 32 * int(tile) + element % 32
        assert oracle.philox((int(lane), 0, 0, 0), (7, 0)) == words(output)
        window = (slice(element, element + 1),)
        assert draw("uniform", "float32", (2**33,), window=window)[0] == np.float32(value)


# --- one hash, however it is made ---------------------------------------------------------------


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8)).hexdigest()


GOLDEN_SHAPE = (1009, 331)


def golden_hash(kind, dtype):
    return digest(draw(kind, dtype, GOLDEN_SHAPE, Stream(20260101, 1)))


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_golden_hash(kind, dtype):
    assert GOLDEN[f"{kind} {dtype}"] == golden_hash(kind, dtype)


def test_every_sampler_and_dtype_has_a_golden_hash():
    assert set(GOLDEN) == {f"{kind} {dtype}" for kind, dtype in CASES}


LARGE = (30_000_000,)


@pytest.fixture(scope="module")
def large():
    return draw("truncated", "float32", LARGE)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_do_not_matter(large, threads):
    numba.set_num_threads(threads)
    try:
        assert digest(draw("truncated", "float32", LARGE)) == digest(large)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize("grain", [999_983, 1 << 16, 4097 * 128, 10**9])
def test_chunks_do_not_matter(large, grain, monkeypatch):
    monkeypatch.setattr(door, "GRAIN", grain)
    assert digest(draw("truncated", "float32", LARGE)) == digest(large)


@pytest.mark.parametrize("shape", [LARGE, (6000, 5000), (300, 250, 400), (50, 60, 100, 100)])
def test_random_windows_assemble_to_the_whole(large, shape):
    """Fifty windows at odd edges for each rank, then the holes between them."""
    generator = np.random.default_rng(len(shape))
    whole = large.reshape(shape)
    for _ in range(50):
        window = []
        for size in shape:
            start, stop = sorted(generator.integers(0, size + 1, 2))
            stop = min(stop, start + max(1, int(size * 0.4)))
            window.append(slice(int(start), int(stop)))
        part = draw("truncated", "float32", shape, window=tuple(window))
        assert same_bits(part, np.ascontiguousarray(whole[tuple(window)]))
    edges = [sorted({0, size, *map(int, generator.integers(1, size, 3))}) for size in shape[:2]]
    assembled = np.empty(shape, np.float32)
    for start, stop in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[-1], edges[-1][1:], strict=False):
            cut = [slice(start, stop), slice(left, right)][: len(shape)]
            window = (*cut, *[slice(0, size) for size in shape[2:]])
            assembled[window] = draw("truncated", "float32", shape, window=window)
    assert digest(assembled) == digest(large)


ELSEWHERE = """
from tests.kernels import test_contract as contract
from numba.core import config
assert config.CPU_NAME == {cpu!r}
for kind, dtype in contract.CASES:
    golden = contract.GOLDEN[f"{{kind}} {{dtype}}"]
    assert golden == contract.golden_hash(kind, dtype), (kind, dtype)
print(contract.digest(contract.draw("truncated", "float32", ({size},))))
"""


@pytest.mark.parametrize("cpu", processes.OTHER_CPUS)
def test_instruction_sets_do_not_matter(large, cpu, tmp_path):
    """On x86-64: AVX2 with fma, and SSE4.2 without, where each is a call of the C library."""
    done = processes.run(
        processes.python(ELSEWHERE.format(cpu=cpu, size=LARGE[0])),
        {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == digest(large)


def test_machine_code_of_the_uniform_kernel():
    """Vectors of 64-bit lanes, and nothing in double precision."""
    from llvmlite import binding

    from seedbed_kernels import samplers, tiles_cpu

    function, signature = tiles_cpu.make_kernel(
        samplers.Uniform, np.dtype(np.float32), by_halves=False
    )
    code = numba.cfunc(signature, error_model="numpy")(function)._library.get_asm_str()
    if binding.get_host_cpu_features().get("avx2"):
        assert "vpmuludq" in code
        assert "%ymm" in code or "%zmm" in code
    assert "cvtps2pd" not in code
    assert "mulsd" not in code


if __name__ == "__main__":  # python -m tests.kernels.test_contract: write the golden hashes anew
    path = Path(__file__).parent / "golden.json"
    hashes = {f"{kind} {dtype}": golden_hash(kind, dtype) for kind, dtype in CASES}
    path.write_text(json.dumps(hashes, indent=2) + "\n")
