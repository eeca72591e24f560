"""The compiled kernels, run without a GPU by `ptx_machine`, give the CPU's bits.

Every kernel is run as each capability's compiler wrote it; texts that differ in names only are run
once, the first of a kernel on all cases, the others on some. Faults that are put into the text on
purpose must be seen.
"""

import re
import types as python_types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")


from seedbed.values import recipes, window
from seedbed.values.dtypes import as_dtype
from seedbed.values.fill import sample
from seedbed.values.host import HostArray
from seedbed.values.recipes import TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed.values.selection import Keys
from seedbed_kernels import driver_cuda, fills_cuda, launch_cuda, rows_cuda, samplers

from . import ptx_machine, ptx_program
from .kept import kept
from .ptx_faults import FAULTS
from .ptx_instructions import PtxError, rsqrt
from .test_ptx import (
    CAPABILITIES,
    CONSTANTS,
    chosen,
    compiled,
    each_kernel,
    kernel_ptx,
    neutral,
    stored,
)

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
SOME_RUNS = RUNS[3:5]
SHAPE = (2**20, 3, 5, 7, 34)
LONG_ROWS = (2**20, 3, 700)
SHORT_RUNS = SHAPE, (slice(0, 4), slice(None), slice(1, 4), slice(2, 4), slice(None))
MANY_AXES = (3, 4, 3, 4, 3, 4, 3, 4, 3)  # of windows that one launch cannot take
WINDOWS = [
    (SHAPE, (slice(5, 7), slice(None), slice(None), slice(None), slice(None))),
    SHORT_RUNS,
    (SHAPE, (slice(3, 5), slice(0, 2), slice(1, 4), slice(2, 4), slice(9, 30))),
    (SHAPE, (slice(2**20 - 1, 2**20), slice(2, 3), slice(4, 5), slice(6, 7), slice(33, 34))),
    (LONG_ROWS, (slice(7, 30), slice(0, 2), slice(100, 600))),
    (MANY_AXES, (slice(1, 3),) * len(MANY_AXES)),
]
SOME_WINDOWS = WINDOWS[2:3]
# Instructions that decide a value. Some of the others are for indices that never occur.
VALUE = re.compile(r"\.f\d|^(st|bar|vote|div\.(?!s64)|popc|brev)|\.shared\.|mul\.wide")


def texts(sampler, dtype, keyed=False):
    """Return the different texts of a kernel, by the first capability that has each."""
    found = {}
    for capability in CAPABILITIES:
        text = neutral(kernel_ptx(sampler, dtype, capability, keyed=keyed))
        found.setdefault(text, capability)
    return {capability: text for text, capability in found.items()}


@pytest.fixture
def each_text(request):
    """A function that yields a kernel's texts: the first with all cases, the others with some.

    With `--exhaustive` all have all cases.
    """

    def each(found, every, some):
        for number, (capability, text) in enumerate(found.items()):
            whole = not number or request.config.getoption("--exhaustive")
            yield capability, text, every if whole else some

    return each


class OnTheMachine:
    """Stands for a kernel on a GPU."""

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
    monkeypatch.setattr(driver_cuda, "get_current_device", lambda: device)
    monkeypatch.setattr(launch_cuda, "address", lambda array: array.ctypes.data)

    def use(text, **options):
        kernel = OnTheMachine(text, **options)
        monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: kernel)
        monkeypatch.setattr(fills_cuda, "_keyed_kernel", lambda sampler, dtype: kernel)
        return kernel

    return use


def written(dtype, count, function):
    """Return what a function writes into the middle of an array."""
    whole = np.full(count + 2 * GUARD, 77, dtype)
    function(whole[GUARD : GUARD + count])
    assert (whole[:GUARD] == 77).all()
    assert (whole[GUARD + count :] == 77).all()
    return whole[GUARD : GUARD + count].tobytes()


def filler(recipe, dtype, kind=fills_cuda.Filler):
    """Return what fills by a recipe, and the key."""
    sampler = recipes.kernel_sampler(recipe, as_dtype(NAMES[dtype]))
    return kind(sampler, np.dtype(dtype)), recipes.kernel_key(STREAM)


def run_is_the_cpus(recipe, dtype, first, count, launch=None):
    """Return whether a run of elements has the CPU's bits."""
    fill, key = filler(recipe, dtype)
    bounds = (slice(first, first + count),)
    expected = sample(recipe, LONG, NAMES[dtype], stream=STREAM, window=bounds).tobytes()
    place = fill.window(first, (), (), count)
    return expected == written(
        dtype, count, lambda out: fill(out, 0, count, place, key, launch=launch)
    )


@each_kernel
def test_runs_and_windows(machine, each_text, sampler, dtype):
    """And windows: anywhere, of any length, by any launch, till all that makes values has run."""
    some = SOME_RUNS, SOME_WINDOWS
    for capability, text, case in each_text(texts(sampler, dtype), (RUNS, WINDOWS), some):
        kernel, (runs, windows) = machine(text), case
        for first, count, launch in runs:
            assert run_is_the_cpus(RECIPES[sampler], dtype, first, count, launch), (
                capability, first, count, launch,
            )  # fmt: skip
        assert kernel.launches == len(runs)
        for bounds in windows:
            assert window_is_the_cpus(RECIPES[sampler], dtype, *bounds), (capability, bounds)
        if case is some:
            continue
        assert window_is_the_cpus(RECIPES[sampler], dtype, *SHORT_RUNS, launch=(1, 1)), capability
        # A copy is for `across` = 0, which is never.
        copied = sampler is samplers.Uniform and capability == (12, 0)
        assert copied or not idle(kernel), (capability, idle(kernel))


def idle(kernel):
    """Return the instructions that decide a value and that did not run."""
    code = zip(kernel.kernel.code, kernel.executed, strict=True)
    return [str(line) for line, runs in code if not runs and VALUE.search(line.name)]


def window_is_the_cpus(recipe, dtype, shape, bounds, cut=None, launch=None):
    """Return whether a window, or a part of it, has the CPU's bits."""
    fill, key = filler(recipe, dtype)
    values = sample(recipe, shape, NAMES[dtype], stream=STREAM, window=bounds).reshape(-1)
    begin, end = cut or (0, values.size)
    place = fill.window(*window.runs(shape, window.check_window(bounds, shape)))
    untouched = np.full(values.size, 77, dtype)
    untouched[begin:end] = values[begin:end].view(dtype)
    return untouched.tobytes() == written(
        dtype, values.size, lambda out: fill(out, begin, end, place, key, launch=launch)
    )


ROWS = [  # shape, ids, a window in each row, and elements between the rows that are made
    ((2**64, 4), np.array([2**64 - 9, 0, 2**32, 7, 2**58 + 1, 7, 2**31], np.uint64), (), 0),
    ((97, 300), range(90, 3, -29), (slice(17, 288),), 3),
    ((2**40, 3, 50), np.arange(9, dtype=np.uint64)[::-1] * 2**36, (slice(1, 3), slice(8, 40)), 5),
    ((2**30, 96), np.arange(70, dtype=np.uint64) * 12345, (), 0),
]


# Kernels of rows draw as those of runs do: one of each sampler, and one of each dtype.
each_kernel_of_rows = chosen(
    lambda sampler, dtype: dtype != "float32" and sampler is not samplers.Uniform
)


@each_kernel_of_rows
def test_rows_by_number(machine, each_text, sampler, dtype):
    recipe = RECIPES[sampler]
    fill, key = filler(recipe, dtype, fills_cuda.RowFiller)
    for _, text, rows in each_text(texts(sampler, dtype), ROWS, ROWS[2:3]):
        machine(text)
        for shape, ids, cut, gap in rows:
            if dtype == "float64":  # half as many elements can be numbered
                shape = (shape[0], shape[1] // 2, *shape[2:]) if shape[0] > 2**63 else shape
            bounds = (None, *cut) if cut else None
            values = sample(recipe, shape, NAMES[dtype], stream=STREAM, rows=ids, window=bounds)
            values = values.reshape(len(ids), -1)
            around = np.full((len(ids), values.shape[1] + gap), 77, dtype)
            around[:, : values.shape[1]] = values.view(dtype)
            inner = window.check_window(cut or (slice(None),) * (len(shape) - 1), shape[1:])
            given = np.ascontiguousarray(ids) if isinstance(ids, np.ndarray) else ids
            row = int(np.prod(shape[1:]))
            place = fill.rows(given, row, around.shape[1], *window.runs(shape[1:], inner))
            assert around.tobytes() == written(
                dtype, around.size,
                lambda out, place=place, size=values.size: fill(out, 0, size, place, key),
            ), shape  # fmt: skip


KEYS = np.array([2**64 - 1, 0, 2**63, 2**63 - 1, 2**32, 5, 77, 12345678901234567], np.uint64)
COLUMNS = [  # first, how many, elements between the rows, the part, and the launch
    (0, 64, 0, (0, 512), (1, 1)),
    (3, 10, 2, (4, 75), (2, 2)),
    (2**32 - 8, 8, 0, (0, 64), None),
    (5, 300, 4, (0, 2400), (1, 8)),
]


@each_kernel_of_rows
def test_rows_by_key(machine, each_text, sampler, dtype):
    recipe = RECIPES[sampler]
    fill, key = filler(recipe, dtype, fills_cuda.KeyedFiller)
    found, some = texts(sampler, dtype, keyed=True), COLUMNS[2:]
    for capability, text, columns in each_text(found, COLUMNS, some):
        kernel = machine(text)
        for column, width, gap, cut, launch in columns:
            host = HostArray.empty((len(KEYS), width), as_dtype(NAMES[dtype]), 1)
            host.random(recipe, Keys(KEYS, column, width), STREAM)
            flat = np.full(host.array.size, 77, dtype)
            flat[slice(*cut)] = host.array.reshape(-1)[slice(*cut)].view(dtype)
            around = np.full((len(KEYS), width + gap), 77, dtype)
            around[:, :width] = flat.reshape(len(KEYS), width)
            place = fill.rows(KEYS, column, width, width + gap)
            for shift in (0, 3):  # with the guard before it, 3 more elements are aligned
                found = written(
                    dtype, around.size + shift,
                    lambda out, place=place, cut=cut, launch=launch, shift=shift: fill(
                        out[shift:], *cut, place, key, launch=launch
                    ),
                )  # fmt: skip
                assert found[shift * around.itemsize :] == around.tobytes(), (capability, column)
        assert columns is some or not idle(kernel), (capability, idle(kernel))


@pytest.mark.parametrize("runs", [fills_cuda.RUNS, 3])
def test_parts_of_a_window(machine, monkeypatch, runs):
    """Also where a launch cannot take so many runs."""
    monkeypatch.setattr(fills_cuda, "RUNS", runs)
    shape, bounds = (9, 8, 50), (slice(2, 6), slice(3, 6), slice(11, 21))
    for text in texts(samplers.Normal, "float32").values():
        kernel = machine(text)
        for cut in ((0, 120), (7, 57), (29, 30), (60, 120)):
            recipe = RECIPES[samplers.Normal]
            assert window_is_the_cpus(recipe, "float32", shape, bounds, cut), cut
        assert (kernel.launches > 4) == (runs == 3)


@each_kernel
def test_threads_run_in_any_order(machine, each_text, sampler, dtype):
    for capability, text, runs in each_text(texts(sampler, dtype), [(100, 400, (1, 2))], []):
        machine(text, order=np.random.default_rng(capability))
        for run in runs:
            assert run_is_the_cpus(RECIPES[sampler], dtype, *run), capability


@pytest.mark.parametrize(
    ("dtype", "lower", "upper"),
    [
        ("float32", 0.5, 1.0),
        ("float64", -1.0, 0.0),
        pytest.param("uint16", 1.0, 9.0, marks=pytest.mark.exhaustive),
        pytest.param("int16", -0.5, 0.5, marks=pytest.mark.exhaustive),
    ],
)
def test_many_rejections(machine, each_text, dtype, lower, upper):
    """More lanes wait than a warp has threads, and some for many attempts."""
    recipe = TruncatedNormal(0.0, 1.0, lower, upper)
    found = texts(samplers.TruncatedNormal, dtype)
    for _, text, runs in each_text(found, [(50, 3000, (1, 1))], []):
        machine(text)
        for run in runs:
            assert run_is_the_cpus(recipe, dtype, *run)


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
def stored_ptx(name, dtype, capability):
    return compiled(*stored(name, dtype), capability)


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_constants(monkeypatch, dtype):
    odd, even = np.array([2**63 + 12345, 2**62 + 54321], np.uint64).astype(dtype)
    for text in {neutral(stored_ptx("constant", dtype, capability)) for capability in CAPABILITIES}:
        kernel = OnTheMachine(text)
        monkeypatch.setattr(fills_cuda, "_constant_kernel", lambda word, kernel=kernel: kernel)
        for count, launch in ((1, (1, 1)), (1001, (2, 3)), (64, (3, 1))):
            expected = np.resize(np.array([even, odd], dtype), count)
            assert expected.tobytes() == written(
                dtype, count,
                lambda out, launch=launch: fills_cuda.constant(out, even, odd, launch=launch),
            )  # fmt: skip


SETS = [  # the limit, from which on numbers are outside; width; and the launch
    (None, 70, (1, 8)), (97, 5, (1, 1)), (2**63, 33, (2, 3)), (98, 70, (1, 8)),
]  # fmt: skip


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("dtype", CONSTANTS)
def test_rows_are_set(monkeypatch, dtype, gap):
    """All of them, or those of numbers from a limit on; nothing before, between and after."""
    ids = np.array([2**64 - 1, 0, 2**63, 96, 97, 5, 98, 2**32], np.uint64)
    even, odd = np.array([2**63 + 12345, 2**62 + 54321], np.uint64).astype(dtype)
    for text in {neutral(stored_ptx("set-rows", dtype, capability)) for capability in CAPABILITIES}:
        kernel = OnTheMachine(text)
        monkeypatch.setattr(rows_cuda, "_set_kernel", lambda word, kernel=kernel: kernel)
        for limit, width, launch in SETS:
            expected = np.full((len(ids), width + gap), 77, dtype)
            for row, number in enumerate(ids.tolist()):
                if limit is None or number >= limit:
                    expected[row, :width:2], expected[row, 1:width:2] = even, odd
            given = (
                len(ids), width, width + gap, (even, odd), None if limit is None else (ids, limit)
            )  # fmt: skip
            assert expected.tobytes() == written(
                dtype, expected.size,
                lambda out, given=given, launch=launch, gap=gap: rows_cuda.set_rows(
                    out[: out.size - gap], *given, launch=launch
                ),
            )  # fmt: skip


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_rows_are_copied(monkeypatch, dtype):
    for text in {
        neutral(stored_ptx("copy-rows", dtype, capability)) for capability in CAPABILITIES
    }:
        kernel = OnTheMachine(text)
        monkeypatch.setattr(rows_cuda, "_copy_kernel", lambda word, kernel=kernel: kernel)
        for rows, width, gap, launch in ((9, 70, 3, (1, 8)), (5, 1, 1, (2, 3)), (1, 33, 0, (1, 1))):
            values = np.arange(1, rows * width + 1).astype(dtype)
            expected = np.full((rows, width + gap), 77, dtype)
            expected[:, :width] = values.reshape(rows, width)
            given = values, rows, width, width + gap
            assert expected.tobytes() == written(
                dtype, expected.size,
                lambda out, given=given, launch=launch, gap=gap: rows_cuda.copy_rows(
                    out[: out.size - gap], *given, launch=launch
                ),
            )  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_seen(machine, fault):
    """As a wrong value, or a `PtxError` of the machine, in the runs above."""
    sampler, dtype, change = FAULTS[fault]
    text = next(iter(texts(sampler, dtype).values()))
    broken = change(text)
    assert broken != text
    recipe = Uniform(1.001, 1.015) if fault.endswith("value") else RECIPES[sampler]
    if fault.startswith("barrier"):  # as lanes wait in each place where values are drawn again
        recipe = TruncatedNormal(0.0, 1.0, 0.5, 1.0)
    for order in (None, np.random.default_rng(1), np.random.default_rng(2)):
        machine(broken, order=order)
        try:
            if not run_is_the_cpus(recipe, dtype, 1000, 3000, (1, 2)):
                return
        except PtxError:
            return
    pytest.fail("not seen")
