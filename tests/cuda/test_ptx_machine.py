"""The machine that runs PTX: its arithmetic against Python's, and the faults that it reports."""

import doctest
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from . import ptx_instructions, ptx_machine, ptx_memory
from .ptx_instructions import PtxError, operation
from .ptx_machine import EXAMPLE, launch
from .ptx_program import Kernel

GENERATOR = np.random.default_rng(7)
WORDS = GENERATOR.integers(0, 2**32, 300, np.uint32)
OTHERS = np.concatenate([[0, 1, 31, 32, 2**31, 2**32 - 1], WORDS[::-1][6:]]).astype(np.uint32)
LONG = GENERATOR.integers(0, 2**64, 300, np.uint64)
M32, M64 = 2**32 - 1, 2**64 - 1


def signed(value, bits):
    return value - (value >> bits - 1 << bits)


def truncated(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a, b):
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


INTEGERS = {
    "add.s32": lambda a, b: a + b & M32,
    "sub.s64": lambda a, b: a - b & M64,
    "mul.lo.s32": lambda a, b: a * b & M32,
    "mul.wide.u32": lambda a, b: a * b,
    "mul.wide.s32": lambda a, b: signed(a, 32) * signed(b, 32) & M64,
    "mul.hi.u32": lambda a, b: a * b >> 32,
    "mul.hi.u64": lambda a, b: a * b >> 64,
    "mad.lo.s64": lambda a, b, c: a * b + c & M64,
    "mul.hi.s32": lambda a, b: signed(a, 32) * signed(b, 32) >> 32 & M32,
    "mul.hi.s64": lambda a, b: signed(a, 64) * signed(b, 64) >> 64 & M64,
    "div.u32": lambda a, b: a // b,
    "div.u64": lambda a, b: a // b,
    "div.s32": lambda a, b: truncated(signed(a, 32), signed(b, 32)) & M32,
    "div.s64": lambda a, b: truncated(signed(a, 64), signed(b, 64)) & M64,
    "rem.u32": lambda a, b: a % b,
    "rem.u64": lambda a, b: a % b,
    "rem.s32": lambda a, b: remainder(signed(a, 32), signed(b, 32)) & M32,
    "rem.s64": lambda a, b: remainder(signed(a, 64), signed(b, 64)) & M64,
    "neg.s64": lambda a: -a & M64,
    "abs.s32": lambda a: abs(signed(a, 32)) & M32,
    "and.b32": lambda a, b: a & b,
    "or.b64": lambda a, b: a | b,
    "xor.b32": lambda a, b: a ^ b,
    "not.b32": lambda a: ~a & M32,
    "shl.b32": lambda a, n: a << min(n, 32) & M32,
    "shr.u32": lambda a, n: a >> min(n, 32),
    "shr.s32": lambda a, n: signed(a, 32) >> min(n, 31) & M32,
    "shf.l.wrap.b32": lambda low, high, n: ((high << 32 | low) << n % 32) >> 32 & M32,
    "shf.r.wrap.b32": lambda low, high, n: (high << 32 | low) >> n % 32 & M32,
    "min.u32": min,
    "max.s64": lambda a, b: max(signed(a, 64), signed(b, 64)) & M64,
    "popc.b32": lambda a: a.bit_count(),
    "brev.b32": lambda a: int(f"{a:032b}"[::-1], 2),
    "clz.b32": lambda a: 32 - a.bit_length(),
    "bfind.shiftamt.u32": lambda a: 32 - a.bit_length() if a else M32,
    "cvt.u64.u32": lambda a: a,
    "cvt.s64.s32": lambda a: signed(a, 32) & M64,
    "cvt.u32.u64": lambda a: a & M32,
    "bfe.u32": lambda a, start, length: (a >> start % 256) & (1 << length % 256) - 1,
    "prmt.b32": lambda a, b, s: sum(
        (-(byte >> 7) & 255 if s >> 4 * i & 8 else byte) << 8 * i
        for i in range(4)
        for byte in [(b << 32 | a) >> 8 * (s >> 4 * i & 7) & 255]
    ),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name):
    function, result, kinds = operation(name)
    wide = [LONG, LONG[::-1], np.roll(LONG, 5)]
    narrow = [WORDS, OTHERS, np.roll(WORDS, 5)]
    given = [(wide if np.dtype(kind).itemsize == 8 else narrow)[i] for i, kind in enumerate(kinds)]
    if name.startswith(("div", "rem")):
        small = given[1] >> given[1].dtype.type(given[1].dtype.itemsize * 4 + 9)
        given = [np.concatenate([given[0]] * 2), np.concatenate([given[1], small])]
        given[1][given[1] == 0] = 3
        given[0][-3:], given[1][-3:] = [-9 % 2**32, 9, -8 % 2**32], [4, 2**32 - 4, 4]
    found = function(*[each.view(kind) for each, kind in zip(given, kinds, strict=True)])
    expected = [INTEGERS[name](*map(int, numbers)) for numbers in zip(*given, strict=True)]
    bits = np.uint64 if np.dtype(result).itemsize == 8 else np.uint32
    assert np.asarray(found).astype(result).view(bits).tolist() == expected


@pytest.mark.parametrize("name", ["div.u32", "rem.u64", "div.s32", "rem.s64"])
def test_quotients_that_there_are_not(name):
    function, kind, _ = operation(name)
    with pytest.raises(PtxError, match="division by zero"):
        function(np.array([5], kind), np.array([0], kind))
    if name[4] == "s":
        with pytest.raises(PtxError, match="does not fit"):
            function(np.array([np.iinfo(kind).min], kind), np.array([-1], kind))


def test_three_inputs_of_logic():
    function, _, _ = operation("lop3.b32")
    a, b, c = WORDS, OTHERS, np.roll(WORDS, 5)
    for table, expected in {0x80: a & b & c, 0x96: a ^ b ^ c, 0xCA: a & b | ~a & c}.items():
        np.testing.assert_array_equal(function(a, b, c, np.array([table], np.uint32)), expected)


def floats(real, count=2000):
    """Return floats of all sizes, with zeros and subnormal ones."""
    bits = np.uint32 if real is np.float32 else np.uint64
    values = GENERATOR.integers(0, np.iinfo(bits).max, count, bits).view(real)
    values = values[np.isfinite(values)]
    near = GENERATOR.normal(size=count).astype(real)
    special = np.array([0.0, -0.0, np.finfo(real).tiny, np.finfo(real).smallest_subnormal], real)
    return np.concatenate([near, values, special])


def rounded(exact, real):
    """Return a fraction rounded once, ties to even."""
    if real is np.float64:
        try:
            return np.float64(exact.numerator / exact.denominator)
        except OverflowError:
            return np.float64(np.inf if exact > 0 else -np.inf)
    with np.errstate(over="ignore"):
        guess = np.float32(float(exact))
    if not np.isfinite(guess):
        return guess
    with np.errstate(under="ignore"):
        beside = [np.nextafter(guess, np.float32(end)) for end in (-1e38, 1e38)]
    around = [guess, *beside]
    return min(around, key=lambda x: (abs(Fraction(float(x)) - exact), x.view(np.int32) & 1))


@pytest.mark.parametrize(("name", "real"), [("f32", np.float32), ("f64", np.float64)])
def test_fused_multiply_add_is_rounded_once(name, real):
    function, _, _ = operation(f"fma.rn.{name}")
    a, b, c = (GENERATOR.permutation(floats(real)) for _ in range(3))
    size = min(map(len, (a, b, c)))
    a, b, c = a[:size], b[:size], c[:size]
    with np.errstate(all="ignore"):
        c[::3] = -(a * b)[::3]  # cancellation
    c[~np.isfinite(c)] = real(1)
    found = function(a, b, c)
    for x, y, z, value in zip(a, b, c, found, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        expected = rounded(exact, real)
        assert value == expected or exact == 0 == value, (x, y, z)


def test_rounding_to_bfloat16():
    """Each of two neighbours that is nearer, of equally near ones the even; subnormals, too."""
    below = np.arange(0x7F80, dtype=np.uint32)[:, None]  # bits of all finite ones
    values = below << 16 | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    exact = values.view(np.float32).astype(np.float64)
    low = (below << 16).view(np.float32).astype(np.float64)
    high = np.append(low[1:], [[2.0**128]], axis=0)  # float64 has all their differences
    up = (high - exact < exact - low) | ((high - exact == exact - low) & (below & 1 == 1))
    for sign in (0, 1):
        given = (values | np.uint32(sign << 31)).view(np.float32)
        found = operation("cvt.rn.bf16.f32").function(given)
        np.testing.assert_array_equal(found, below + up | sign << 15)


def test_rounding_to_16_bits():
    values = np.concatenate([floats(np.float32), [np.float32(65519), np.float32(65520)]])
    with np.errstate(all="ignore"):
        half = values.astype(np.float16).view(np.uint16)
        brain = values.astype(ml_dtypes.bfloat16).view(np.uint16)
        found = operation("cvt.rn.f16.f32").function(values).view(np.uint16)
        pairs = operation("cvt.rn.bf16x2.f32").function(values, values[::-1])
        halves = operation("cvt.rn.f16x2.f32").function(values, values[::-1])
    np.testing.assert_array_equal(found, half)
    np.testing.assert_array_equal(operation("cvt.rn.bf16.f32").function(values), brain)
    np.testing.assert_array_equal(pairs, brain.astype(np.uint32) << 16 | brain[::-1])
    np.testing.assert_array_equal(halves, half.astype(np.uint32) << 16 | half[::-1])


@pytest.mark.parametrize(("name", "nan"), [("setp.lt.f32", False), ("setp.ltu.f32", True)])
def test_comparisons_of_nan(name, nan):
    compare = operation(name).function
    one, none = np.array([1], np.float32), np.array([np.nan], np.float32)
    assert compare(one, none)[0] == compare(none, one)[0] == nan
    assert compare(one, one + one)[0]
    assert not compare(one, one)[0]


def test_extremes():
    zero, nan = np.array([0.0, -0.0], np.float32), np.array([np.nan] * 2, np.float32)
    assert np.signbit(operation("min.f32").function(zero, zero[::-1])).all()
    assert not np.signbit(operation("max.f32").function(zero, zero[::-1])).any()
    np.testing.assert_array_equal(operation("max.f32").function(nan, zero), zero)


@pytest.mark.parametrize(
    "name", ["sin.approx.f32", "fma.rz.f32", "add.ftz.f32", "cvt.rzi.s32.f32", "setp.ne.f32"]
)
def test_unknown_instructions_are_refused(name):
    with pytest.raises(PtxError, match="unknown"):
        operation(name)


# --- whole kernels ------------------------------------------------------------------------------


CONSTANTS = ".weak .const .align 8 .b8 held[20] = {1, 0, 0, 0, 2, 0, 254, 255, 3};\n"


def kernel(body, shared=0):
    """Return a kernel of an array of 32-bit elements, whose thread and address are known."""
    memory = f".shared .align 8 .b8 queue[{shared}];\n" if shared else ""
    start = EXAMPLE.index("mov.u32 %r2")
    registers = "<4>", "<9>"
    text = (
        EXAMPLE[:start].replace(*registers)
        + f"""
    .reg .pred %p<4>;
    mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    {body}
    ret;
}}"""
    )
    return Kernel(CONSTANTS + memory + text)


def run(body, threads=64, shared=0, order=None, size=None):
    out = np.full(threads if size is None else size, 7, np.uint32)
    launch(kernel(body, shared), (1, threads), (out, np.uint32(3)), order)
    return out


def test_guards_and_vectors():
    found = run("setp.lt.u32 %p1, %r2, 3; @%p1 st.global.u32 [%rd3], %r2;")
    assert found[:5].tolist() == [0, 1, 2, 7, 7]
    found = run(
        "mul.wide.u32 %rd2, %r2, 16; add.s64 %rd3, %rd1, %rd2; mov.b64 %rd2, {%r2, %r1};"
        "mov.b64 {%r3, %r4}, %rd2; st.global.v4.u32 [%rd3], {%r2, %r3, %r4, %r1};"
        "ld.global.v2.u32 {%r5, %r6}, [%rd3]; add.s32 %r5, %r5, %r6; st.global.u32 [%rd3], %r5;",
        32, size=128,
    )  # fmt: skip
    assert found[:8].tolist() == [0, 0, 3, 3, 2, 1, 3, 3]


def test_a_load_moves_bits_whatever_type_its_register_has():
    """Compilers declare floats as ``.f32`` or ``.b32``; narrow integers go to wider registers."""
    for register in (".b32", ".f32", ".u32"):
        text = EXAMPLE.replace(".param .u32 factor", ".param .f32 factor")
        text = text.replace(".reg .f32 %f<2>", f".reg {register} %f<2>")
        text = text.replace("ld.param.u32 %r1", "ld.param.f32 %f1")
        text = text[: text.index("mul.lo")] + text[text.index("mul.wide") :]
        out = np.zeros(32, np.float32)
        launch(Kernel(text), (1, 32), (out, np.float32(0.7)))
        assert set(out.tolist()) == {float(np.float32(0.7))}
    for load, upper in {"s16": 0xFFFF, "u16": 0, "b16": 0}.items():
        found = np.full(32, 0x8003, np.uint16)
        body = "shr.u64 %rd2, %rd2, 1; add.s64 %rd3, %rd1, %rd2; ld.global.{} %r4, [%rd3];"
        body += "shr.u32 %r5, %r4, 16; st.global.u16 [%rd3], %r5;"
        launch(kernel(body.format(load)), (1, 32), (found, np.uint32(3)))
        assert set(found.tolist()) == {upper}
    with pytest.raises(PtxError, match="wider"):
        run("ld.global.f32 %rd2, [%rd3];")


@pytest.mark.parametrize(
    ("loads", "total"),
    [
        ("ld.const.u32 %r4, [held]; ld.const.b32 %r5, [held+4];", 2**32 - 2**17 + 3),
        ("ld.const.v2.u32 {%r4, %r5}, [held+8];", 3),  # what is not named is zero
        ("ld.const.s16 %r4, [held+6]; ld.const.u16 %r5, [held];", 2**32 - 1),
    ],
)
def test_constants_are_read(loads, total):
    found = run(f"{loads} add.s32 %r3, %r4, %r5; st.global.u32 [%rd3], %r3;", 32)
    assert set(found.tolist()) == {total}


FAULTS = {
    "constants are not written": "st.const.u32 [held], %r2;",
    "outside the constants": "ld.const.v2.u32 {%r4, %r5}, [held+16];",
    "no multiple of 8": "ld.const.v2.u32 {%r4, %r5}, [held+4];",
    "no multiple of 16": "ld.const.v4.u32 {%r4, %r5, %r6, %r7}, [held];",
    "'unheld'": "ld.const.u32 %r4, [unheld];",
    "outside": "st.global.u32 [%rd3+4], %r2;",
    "outside the block": "st.shared.u32 [%rd2], %r2;",
    "no multiple": "st.global.u32 [%rd3+2], %r2;",
    "two threads write": "st.global.u32 [%rd1], %r2;",
    "races": "st.global.u32 [%rd3], %r2; xor.b32 %r3, %r2, 1; mul.wide.u32 %rd2, %r3, 4;"
    "add.s64 %rd3, %rd1, %rd2; ld.global.u32 %r4, [%rd3];",
    "never written": "ld.shared.u32 %r3, [queue];",
    "wait at": "setp.lt.u32 %p1, %r2, 3; @%p1 bra $L; bar.warp.sync -1; $L: bar.warp.sync -1;",
    "not all lanes": "bar.warp.sync 1;",
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_reported(message):
    for order in (None, np.random.default_rng(3)):
        with pytest.raises(PtxError, match=message):
            run(FAULTS[message], shared=128, order=order)


EXCHANGE = """mov.u64 %rd3, queue; add.s64 %rd3, %rd3, %rd2; st.shared.u32 [%rd3], %r2;
bar.warp.sync -1; ld.shared.u32 %r3, [queue+{0}]; {1} st.shared.u32 [%rd3], %r3;"""


@pytest.mark.parametrize("read", [0, 124])
def test_readers_before_a_write_need_a_barrier(read):
    """Whichever thread's element all of them read."""
    run(EXCHANGE.format(read, "bar.warp.sync -1;"), 32, 128)
    with pytest.raises(PtxError, match="races"):
        run(EXCHANGE.format(read, ""), 32, 128)


def test_a_barrier_orders_a_warp_and_not_a_block():
    with pytest.raises(PtxError, match="races"):
        run(EXCHANGE.format(0, "bar.warp.sync -1;"), 64, 256)


def test_votes_do_not_order_memory():
    body = EXCHANGE.replace("bar.warp.sync -1", "setp.lt.u32 %p1, %r2, 3;"
                            "vote.sync.ballot.b32 %r4, %p1, -1")  # fmt: skip
    with pytest.raises(PtxError, match="races"):
        run(body.format(0, "bar.warp.sync -1;"), 32, 128)


def test_votes():
    body = "setp.gt.u32 %p1, %r2, 29; vote.sync.ballot.b32 %r4, %p1, -1; st.global.u32 [%rd3], %r4;"
    for order in (None, np.random.default_rng(3)):
        assert set(run(body, 32, order=order).tolist()) == {3 << 30}


def test_kernels_that_cannot_be_read():
    for text, message in {
        "": "one kernel",
        EXAMPLE + EXAMPLE: "one kernel",
        EXAMPLE.replace("ret;", ""): "end",
        EXAMPLE.replace("ret;", ".local .b8 x[4]; ret;"): "directive",
    }.items():
        with pytest.raises(PtxError, match=message):
            Kernel(text)
    with pytest.raises(PtxError, match="unknown instruction"):
        launch(Kernel(EXAMPLE.replace("mul.lo", "mul.up")), (1, 32), (np.zeros(32, "f4"), 3))


def test_examples():
    for module in (ptx_machine, ptx_instructions):
        assert doctest.testmod(module) == (0, 2 if module is ptx_instructions else 3)


def test_arguments_are_passed_as_numba_passes_them():
    array = np.zeros(40, np.uint32)[3:]
    flat, [(memory, _)] = ptx_memory.address_space((array, (np.int64(5), np.uint32(6)), 2.5))
    address = ptx_memory.REGION + 12
    assert flat == [0, 0, 37, 4, address, 37, 4, 5, 6, 2.5]
    assert memory.address == address
