"""Rounding modes and flush-to-zero of a thread change no value, and are left as they were."""

import contextlib
import re
import threading

import numba
import numpy as np
import pytest
from llvmlite import binding

from seedbed import initializers
from seedbed.values import host, pool, recipes
from seedbed_kernels import arithmetic, compiling, householder_cpu, samplers, tiles_cpu
from tests import oracle

MACHINE = binding.get_process_triple().partition("-")[0]
MODES = {
    "x86_64": {
        "flush to zero": 0x1F80 | 0x8000,
        "subnormals are zero": 0x1F80 | 0x40,
        "both": 0x1F80 | 0x8040,
        "down": 0x1F80 | 0x2000,
        "up": 0x1F80 | 0x4000,
        "toward zero": 0x1F80 | 0x6000,
    },
    "aarch64": {"both": 1 << 24, "up": 1 << 22, "down": 2 << 22, "toward zero": 3 << 22},
}
MODES["arm64"] = MODES["aarch64"]
LARGE = 600_000  # elements: several chunks, for several threads


@contextlib.contextmanager
def altered(mode):
    """Have this thread compute in another mode, and nothing remembered of what it computed."""
    before = arithmetic._swap()[0](MODES[MACHINE][mode])
    try:
        yield
    finally:
        arithmetic._swap()[0](before)


def forget():
    for cached in (recipes.kernel_sampler, host._filler):
        cached.cache_clear()


@np.errstate(under="ignore")
def computed():
    """Return the bytes of numbers that every mode changes some of."""
    one, ten, small = np.float64(1), np.float64(10), np.array([2.0**-1074, 2.0**-1022])
    return np.array([one / ten, -one / ten, *(small * 1.0), *(small * 0.5)]).tobytes()


@pytest.mark.parametrize("mode", MODES[MACHINE])
def test_a_mode_is_seen_and_usual_arithmetic_ends_with_its_block(mode):
    expected = computed()
    with altered(mode):
        assert not arithmetic.is_usual()
        changed = computed()
        with pytest.raises(KeyError), arithmetic.usual():  # noqa: PT012
            assert arithmetic.is_usual()
            assert computed() == expected
            with arithmetic.usual():
                raise KeyError
        assert computed() == changed != expected
    assert arithmetic.is_usual()


def test_another_thread_keeps_its_own_mode():
    with altered("up"), arithmetic.usual():
        found = []
        thread = threading.Thread(target=lambda: found.append(arithmetic.is_usual()))
        thread.start()
        thread.join()
    assert found == [True]


MATRIX = np.arange(60.0).reshape(10, 6) ** 0.5 + np.eye(10, 6)
SUBNORMAL = np.array([1e-39, -3.3e-41, 1.4e-45, 2.0**-149, 1 / 3, 2e-310, 6e-8, 3e-8])


def draws():
    """Yield values that rounding and flushing would change."""
    i = initializers
    yield i.RandomNormal(0, 1e-39, seed=1)((LARGE,))
    yield i.RandomNormal(0, 1e-310, seed=1)((3000,), "float64")
    yield i.RandomUniform(-1e-40, 3e-39, seed=1)((LARGE,))
    yield i.RandomUniform(0.1, 0.3, seed=1)((3000,), "float64")
    yield i.TruncatedNormal(0, 1e-39, seed=1)((3000,))
    yield i.TruncatedNormal(0, 1.1, lower=0.9, upper=1.0, seed=1)((3000,), "bfloat16")
    yield i.TruncatedNormal(0, 1.1, lower=2.5, upper=9.0, seed=1)((3000,), "float16")
    yield i.RandomNormal(0, 1e-39, seed=1)((70, 13), rows=[69, 0, 3])
    yield i.RandomNormal(0, 1e-39, seed=1).keyed([69, 0, 3], 13)
    yield i.GlorotUniform(seed=1)((70, 13))
    yield i.LecunNormal(seed=1)((70, 13), "float64")
    yield i.RandomNormal(0, 1e-6, seed=1)((3000,), "float16")
    yield i.Orthogonal(1.1, seed=1)((300, 40))
    yield i.Orthogonal(1e-39, seed=1)((40, 50))
    yield i.Constant(1e-39)((LARGE * 5,))
    yield i.Constant(SUBNORMAL)((9, 8))
    yield i.Constant(SUBNORMAL)((LARGE // 8, 8))
    yield i.Constant(SUBNORMAL)((9, 8), "float16")
    yield i.Constant(SUBNORMAL[:5])((9, 5), "bfloat16")
    yield i.Identity(3e-40)((5, 5))
    yield i.Identity(0.1)((5, 5), "float16")
    yield i.STFT("real")((16, 1, 9))
    yield i.STFT("imag", scaling="spectrum")((16, 1, 9), "float64")
    yield from householder_cpu.householder_qr(MATRIX)


@pytest.fixture(scope="module")
def usual():
    return [array.tobytes() for array in draws()]


def test_the_values_that_are_compared_are_right(usual):
    expected = oracle.values("normal", (0.0, 1e-39), "float32", range(2000), 1)
    assert 0 < np.abs(expected).min() < np.abs(expected).max() < 2.0**-126
    assert usual[0].startswith(expected.tobytes())
    with np.errstate(under="ignore"):
        subnormal = SUBNORMAL.astype(np.float32)
    assert usual[15] == np.tile(subnormal, 9).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("mode", MODES[MACHINE])
def test_no_value_depends_on_the_mode(usual, mode, threads):
    numba.set_num_threads(threads)
    try:
        with altered(mode):
            forget()
            found = [array.tobytes() for array in draws()]
            assert not arithmetic.is_usual()
    finally:
        numba.set_num_threads(pool.most())
        forget()
    assert [i for i, (a, b) in enumerate(zip(usual, found, strict=True)) if a != b] == []


def test_a_kernel_computes_inside_of_what_sets_the_mode(monkeypatch):
    """No arithmetic stands in the function that sets and restores it, nor is it inlined there."""
    modules, add_entry = [], compiling._add_entry

    def add_and_show(module, name, body):
        add_entry(module, name, body)
        modules.append(str(module))

    monkeypatch.setattr(compiling, "_add_entry", add_and_show)
    made = tiles_cpu.make_kernel(samplers.Uniform, np.dtype(np.float32), by_halves=False)
    compiling.object_code("kernel", *made)
    (text,) = modules
    (entry,) = re.findall(r"^define void @kernel\(.*?^}", text, re.M | re.S)
    lines = [line.split("= ")[-1].split()[0] for line in entry.splitlines()[1:-1] if line]
    assert lines == ["alloca", "alloca", "store", *["call"] * 4, "ret"]
    assert entry.count("asm sideeffect") == 3
    (body,) = re.findall(r"call [^@]*@(\S+?)\(", entry)
    (definition,) = re.findall(rf"^define internal .*@{re.escape(body)}\(.*", text, re.M)
    (attributes,) = re.findall(r"#(\d+)", definition)
    (group,) = re.findall(rf"^attributes #{attributes} = .*", text, re.M)
    assert "noinline" in definition.split() or "noinline" in group.split()
