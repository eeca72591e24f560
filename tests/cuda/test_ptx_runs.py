"""The compiled kernels, run without a GPU by `ptx_machine`, give the CPU's bits.

Every kernel is run as each capability's compiler wrote it; texts that differ in names only are run
once. Faults that are put into the text on purpose must be seen.
"""

import re
import types as python_types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from numba import types

from seedbed.values import recipes, window
from seedbed.values.dtypes import as_dtype
from seedbed.values.fill import sample
from seedbed.values.recipes import TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed_kernels import fills_cuda, samplers

from . import ptx_machine, ptx_program
from .kept import kept
from .ptx_instructions import PtxError, rsqrt
from .test_ptx import CAPABILITIES, CONSTANTS, compiled, each_kernel, kernel_ptx

RECIPES = {
    samplers.Uniform: Uniform(-0.3, 0.2),
    samplers.Normal: recipes.Normal(0.5, 2.0),
    samplers.TruncatedNormal: TruncatedNormal(0.1, 0.02),
    samplers.NarrowNormal: TruncatedNormal(0.1, 0.02, 2.0, 2.4),
    samplers.TailNormal: TruncatedNormal(0.1, 0.02, -9.0, -3.0),
}
NAMES = {"float32": "float32", "float64": "float64", "int16": "float16", "uint16": "bfloat16"}
STREAM = Stream(2**63 + 7, 3)
LONG = (2**58,)  # a virtual table
GUARD = 5  # elements before and after, which must stay as they are

RUNS = [  # the first element, how many, and the launch
    (0, 1, (1, 1)),
    (3, 127, (1, 3)),
    (2**31 - 64, 128, (1, 1)),
    (2**32 - 1, 129, (2, 2)),
    (2**40 + 31, 6000, (4, 8)),
    (2**57 - 7, 64, (5, 1)),
    (1000, 3000, (1, 1)),
]
SHAPE = (2**20, 3, 5, 7, 34)
LONG_ROWS = (2**20, 3, 700)
MANY_AXES = (3, 4, 3, 4, 3, 4, 3, 4, 3)  # of windows that one launch cannot take
WINDOWS = [
    (SHAPE, (slice(5, 7), slice(None), slice(None), slice(None), slice(None))),
    (SHAPE, (slice(0, 2), slice(None), slice(1, 4), slice(2, 4), slice(None))),
    (SHAPE, (slice(3, 5), slice(0, 2), slice(1, 4), slice(2, 4), slice(9, 30))),
    (SHAPE, (slice(2**20 - 1, 2**20), slice(2, 3), slice(4, 5), slice(6, 7), slice(33, 34))),
    (LONG_ROWS, (slice(7, 30), slice(0, 2), slice(100, 600))),
    (MANY_AXES, (slice(1, 3),) * len(MANY_AXES)),
]
# Instructions that decide a value. Some of the others are for indices that never occur.
VALUE = re.compile(r"\.f\d|^(st|bar|vote|div|popc|brev)|\.shared\.|mul\.wide")


def neutral(ptx):
    """Return a kernel's text without the target and the compiler's names."""
    text = re.sub(r"//[^\n]*|\.(target|version)[^\n]*|\.common[^\n]*", "", ptx)
    for pattern in (r"_ZN\w+?(?=_param_\d|\b)", r"_cudapy_smem_\d+"):
        for number, name in enumerate(dict.fromkeys(re.findall(pattern, text))):
            text = text.replace(name, f"name{number}")
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(filter(None, lines))


def texts(sampler, dtype):
    """Return the different texts of a kernel, by the first capability that has each."""
    found = {}
    for capability in CAPABILITIES:
        found.setdefault(neutral(kernel_ptx(sampler, dtype, capability)), capability)
    return {capability: text for text, capability in found.items()}


class OnTheMachine:
    """Stands for what `cuda.jit` returns."""

    def __init__(self, text, order=None, root=rsqrt):
        self.kernel = ptx_program.Kernel(text)
        self.order, self.root = order, root
        self.executed = np.zeros(len(self.kernel.code), np.int64)
        self.launches = 0

    def __getitem__(self, configuration):
        def launch(*arguments):
            run = ptx_machine.launch(
                self.kernel, configuration[:2], arguments, self.order, self.root
            )
            self.executed += run.executed
            self.launches += 1

        return launch


@pytest.fixture
def machine(monkeypatch):
    """A function that puts a kernel's text in the place of the compiled kernel."""
    device = python_types.SimpleNamespace(MULTIPROCESSOR_COUNT=1)
    monkeypatch.setattr(fills_cuda.cuda, "get_current_device", lambda: device)

    def use(text, **options):
        kernel = OnTheMachine(text, **options)
        monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: kernel)
        return kernel

    return use


def written(dtype, count, function):
    """Return what a function writes into the middle of an array."""
    whole = np.full(count + 2 * GUARD, 77, dtype)
    function(whole[GUARD : GUARD + count])
    assert (whole[:GUARD] == 77).all()
    assert (whole[GUARD + count :] == 77).all()
    return whole[GUARD : GUARD + count].tobytes()


def run_is_the_cpus(recipe, dtype, first, count, launch=None):
    """Return whether a run of elements has the CPU's bits."""
    name = NAMES[dtype]
    key, sampler = recipes.kernel_key(STREAM), recipes.kernel_sampler(recipe, as_dtype(name))
    bounds = (slice(first, first + count),)
    expected = sample(recipe, LONG, name, stream=STREAM, window=bounds).tobytes()
    return expected == written(
        dtype, count, lambda out: fills_cuda.fill(out, first, key, sampler, launch=launch)
    )


@each_kernel
def test_runs_and_windows(machine, sampler, dtype):
    """And windows: anywhere, of any length, by any launch, till all that makes values has run."""
    for capability, text in texts(sampler, dtype).items():
        kernel = machine(text)
        for first, count, launch in RUNS:
            assert run_is_the_cpus(RECIPES[sampler], dtype, first, count, launch), (
                capability, first, count, launch,
            )  # fmt: skip
        assert kernel.launches == len(RUNS)
        for case in WINDOWS:
            assert window_is_the_cpus(RECIPES[sampler], dtype, *case), (capability, case)
        code = zip(kernel.kernel.code, kernel.executed, strict=True)
        idle = [str(line) for line, runs in code if not runs and VALUE.search(line.name)]
        copied = sampler is samplers.Uniform and capability == (12, 0)
        assert not idle or copied, (
            capability,
            idle,
        )  # the copy is for `across` = 0, which is never


def window_is_the_cpus(recipe, dtype, shape, bounds, cut=None):
    """Return whether a window, or a part of it, has the CPU's bits."""
    name = NAMES[dtype]
    key, sampler = recipes.kernel_key(STREAM), recipes.kernel_sampler(recipe, as_dtype(name))
    values = sample(recipe, shape, name, stream=STREAM, window=bounds).reshape(-1)
    begin, count = cut or (0, values.size)
    plain = window.check_window(bounds, shape)
    where = window.runs(shape, plain)
    return values[begin : begin + count].tobytes() == written(
        dtype, count, lambda out: fills_cuda.fill_window(out, begin, *where, key, sampler)
    )


@pytest.mark.parametrize("rows", [fills_cuda.ROWS, 3])
def test_parts_of_a_window(machine, monkeypatch, rows):
    """Also where a launch cannot take so many rows."""
    monkeypatch.setattr(fills_cuda, "ROWS", rows)
    shape, bounds = (9, 8, 50), (slice(2, 6), slice(3, 6), slice(11, 21))
    for text in texts(samplers.Normal, "float32").values():
        kernel = machine(text)
        for cut in ((0, 120), (7, 50), (29, 1), (60, 60)):
            recipe = RECIPES[samplers.Normal]
            assert window_is_the_cpus(recipe, "float32", shape, bounds, cut), cut
        assert (kernel.launches > 4) == (rows == 3)


@each_kernel
def test_threads_run_in_any_order(machine, sampler, dtype):
    for capability, text in texts(sampler, dtype).items():
        machine(text, order=np.random.default_rng(capability))
        assert run_is_the_cpus(RECIPES[sampler], dtype, 100, 400, (1, 2)), capability


@pytest.mark.parametrize(
    ("dtype", "lower", "upper"),
    [("float32", 0.5, 1.0), ("float64", -1.0, 0.0), ("uint16", 1.0, 9.0), ("int16", -0.5, 0.5)],
)
def test_many_rejections(machine, dtype, lower, upper):
    """More lanes wait than a warp has threads, and some for many attempts."""
    recipe = TruncatedNormal(0.0, 1.0, lower, upper)
    for text in texts(samplers.TruncatedNormal, dtype).values():
        machine(text)
        assert run_is_the_cpus(recipe, dtype, 50, 3000, (1, 1))


@pytest.mark.parametrize("sampler", [samplers.Normal, samplers.TailNormal])
def test_roots_do_not_depend_on_the_reciprocal(machine, sampler):
    """PTX allows a GPU an error of 2**-22.9 in ``rsqrt.approx``: the last bit, up or down."""
    generator = np.random.default_rng(7)

    def off(x):
        nearest = rsqrt(x)
        step = generator.integers(-1, 2, nearest.shape, np.int32)
        step[~np.isfinite(nearest)] = 0
        return (nearest.view(np.int32) + step).view(np.float32)

    for text in texts(sampler, "float32").values():
        machine(text, root=off)
        assert run_is_the_cpus(RECIPES[sampler], "float32", 0, 40_000, (4, 8))


@kept
def constant_ptx(dtype, capability):
    element = getattr(types, dtype)
    arguments = types.void(types.Array(element, 1, "C"), element, element)
    return compiled(fills_cuda.make_constant_kernel(), arguments, capability)


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_constants(monkeypatch, dtype):
    odd, even = np.array([2**63 + 12345, 2**62 + 54321], np.uint64).astype(dtype)
    for text in {neutral(constant_ptx(dtype, capability)) for capability in CAPABILITIES}:
        kernel = OnTheMachine(text)
        monkeypatch.setattr(fills_cuda, "_constant_kernel", lambda kernel=kernel: kernel)
        for count, launch in ((1, (1, 1)), (1001, (2, 3)), (64, (3, 1))):
            expected = np.resize(np.array([even, odd], dtype), count)
            assert expected.tobytes() == written(
                dtype, count,
                lambda out, launch=launch: fills_cuda.constant(out, even, odd, launch=launch),
            )  # fmt: skip


# --- faults on purpose --------------------------------------------------------------------------


def dropped(instruction, number):
    """Return a function that takes the n-th such line out of a text."""

    def change(text):
        found = list(re.finditer(rf"^\s*{re.escape(instruction)}[^\n]*\n", text, re.MULTILINE))
        return text[: found[number].start()] + text[found[number].end() :]

    return change


def exchanged(pattern, replacement, number=0):
    """Return a function that replaces the n-th match in a text."""

    def change(text):
        found = list(re.finditer(pattern, text, re.MULTILINE))[number]
        return text[: found.start()] + found.expand(replacement) + text[found.end() :]

    return change


def one_bit(number, bit=0):
    """Return a function that flips a bit of the n-th float constant that an fma adds."""

    def change(text):
        found = list(re.finditer(r"(fma\.rn\.f\d+[^\n]*, 0[fd])([0-9A-F]+);", text))[number]
        flipped = f"{int(found[2], 16) ^ 1 << bit:0{len(found[2])}X}"
        return text[: found.start(2)] + flipped + text[found.end(2) :]

    return change


T, N, U = samplers.TruncatedNormal, samplers.Normal, samplers.Uniform
NARROW, TAIL = samplers.NarrowNormal, samplers.TailNormal
STORE = r"st\.global\.(?:[fbu]32) \[(%rd\d+)(?:\+\d+)?\]"
FAULTS = {
    **{f"barrier {i} dropped": (T, "float32", dropped("bar.warp.sync", i)) for i in range(4)},
    **{f"coefficient {i}, bit {b}": (N, "float32", one_bit(i, b))
       for i, b in {1: 12, 4: 8, 7: 2, 8: 0}.items()},
    **{f"coefficient {i}, bit {b}": (N, "float64", one_bit(i, b))
       for i, b in {2: 36, 10: 18, 19: 0}.items()},
    "store shifted": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+4]")),
    "store far away": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+40000]")),
    "store unaligned": (U, "float32", exchanged(STORE, r"st.global.b32 [\1+2]")),
    "store dropped": (N, "float32", dropped("st.global", 0)),
    "multiplier": (U, "float32", exchanged("-766435501", "-766435502")),
    "key schedule": (U, "float64", exchanged("2654435769", "2654435768")),
    "unfused": (N, "float32", exchanged(
        r"fma\.rn\.f32 (\S+), (\S+), (\S+), (\S+);",
        r"mul.rn.f32 \1, \2, \3; add.rn.f32 \1, \1, \4;", 8)),
    "no least value": (U, "uint16", exchanged(
        r"max\.f32 (\S+), (\S+), \S+;", r"mov.f32 \1, \2;")),
    "no largest value": (U, "uint16", exchanged(
        r"min\.f32 (\S+), (\S+), \S+;", r"mov.f32 \1, \2;")),
    "vote": (T, "float64", exchanged(r"vote\.sync\.ballot\.b32 (%r\d+), (%p\d+)",
                                     r"not.pred \2, \2; vote.sync.ballot.b32 \1, \2")),
    "half a warp": (T, "float32", exchanged(r"bar\.warp\.sync\s+-1", "bar.warp.sync 65535")),
    "bound": (T, "float32", exchanged(r"setp\.lt\.f32", "setp.gt.f32")),
    "rounding": (N, "uint16", exchanged(", 32767;", ", 0;")),
    "narrow slope": (NARROW, "float32", exchanged(r"setp\.(ge|lt|geu|ltu)\.f32", "setp.le.f32")),
    "tail division": (TAIL, "float64", exchanged(
        r"div\.rn\.f64 (\S+), (\S+), (\S+);", r"div.rn.f64 \1, \3, \2;")),
    "lane": (U, "float32", exchanged(r"%laneid", "%tid.x")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_seen(machine, fault):
    """As a wrong value, or a `PtxError` of the machine, in the runs above."""
    sampler, dtype, change = FAULTS[fault]
    text = next(iter(texts(sampler, dtype).values()))
    broken = change(text)
    assert broken != text
    recipe = Uniform(1.001, 1.015) if fault.endswith("value") else RECIPES[sampler]
    for order in (None, np.random.default_rng(1), np.random.default_rng(2)):
        machine(broken, order=order)
        try:
            if not run_is_the_cpus(recipe, dtype, 1000, 3000, (1, 2)):
                return
        except PtxError:
            return
    pytest.fail("not seen")
