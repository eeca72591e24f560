"""Numba's settings are for the user's functions: our kernels are compiled as by default."""

import gc
import hashlib
import weakref

import numpy as np
import pytest

from seedbed import initializers
from seedbed_kernels import compiling
from tests import processes

# All that changes what Numba makes of a function, or whether it makes anything.
DEBUGGING = {
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_BOUNDSCHECK": "1",
    "NUMBA_DEBUGINFO": "1",
    "NUMBA_EXTEND_VARIABLE_LIFETIMES": "1",
    "NUMBA_OPT": "0",
    "NUMBA_ENABLE_PROFILING": "1",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "1",
    "NUMBA_LLVM_REFPRUNE_PASS": "0",
    "NUMBA_DISABLE_INTEL_SVML": "1",
    "NUMBA_FULL_TRACEBACKS": "1",
    "NUMBA_DEVELOPER_MODE": "1",
    "NUMBA_CAPTURED_ERRORS": "old_style",
    "NUMBA_DISABLE_TYPEINFER_FAIL_CACHE": "1",
    "NUMBA_JIT_COVERAGE": "1",
    "NUMBA_ENABLE_SYS_MONITORING": "1",
    "NUMBA_FORCE_CUDA_CC": "9.0",
}
DRAW = """
import numba
from tests.kernels import test_settings
print(test_settings.drawn({step}))
print(hasattr(numba.njit(lambda x: x), "py_func"), numba.config.BOUNDSCHECK, int(numba.config.OPT))
"""


def drawn(step=1):
    """Return a hash of values of every sampler, or of each `step`-th only."""
    i = initializers
    made = (
        i.RandomUniform(seed=7),
        i.RandomNormal(seed=7),
        i.TruncatedNormal(seed=7),
        i.TruncatedNormal(0, 1, lower=0.9, upper=1.0, seed=7),
        i.TruncatedNormal(0, 1, lower=2.5, upper=9.0, seed=7),
        i.Orthogonal(seed=7),
    )
    values = b"".join(init((40, 30)).tobytes() for init in made[::step])
    return hashlib.sha256(values).hexdigest()


def drawn_by_a_process(step=1, **environment):
    """Return that hash, and what a process says of a user's function and of settings."""
    return processes.output(DRAW.format(step=step), **environment).splitlines()[-2:]


@pytest.mark.parametrize(
    "settings",
    [
        {"NUMBA_DISABLE_JIT": "1"},
        {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0"},
        {"NUMBA_DEBUGINFO": "1", "NUMBA_CAPTURED_ERRORS": "new_style"},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_every_sampler_draws_the_same(settings):
    expected = drawn()
    assert drawn_by_a_process(**settings)[0] == expected


def test_kernels_are_compiled_the_same_and_the_users_functions_are_not(tmp_path):
    found = drawn_by_a_process(5, NUMBA_CACHE_DIR=str(tmp_path), **DEBUGGING)
    assert found == [drawn(5), "False 1 0"]


def test_without_the_newest_vectors(tmp_path):
    found = drawn_by_a_process(6, NUMBA_ENABLE_AVX="0", NUMBA_CACHE_DIR=str(tmp_path))
    assert found[0] == drawn(6)


def test_settings_are_as_before_after_a_compilation(monkeypatch):
    config = compiling.settings
    monkeypatch.setattr(config, "BOUNDSCHECK", 1)
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    with compiling.by_default():
        assert (config.BOUNDSCHECK, config.DISABLE_JIT) == (0, 0)
    before = vars(config).copy()
    assert (config.BOUNDSCHECK, config.DISABLE_JIT) == (1, 1)
    with pytest.raises(TypeError, match="float"), compiling.by_default():
        float([])  # pyright: ignore[reportArgumentType]
    assert np.isfinite(initializers.RandomUniform(-1e-7, 3e-5, seed=1)((30,), "bfloat16")).all()
    assert vars(config) == before


def test_what_the_caller_of_a_compilation_made_is_not_held_after_it():
    def fail():
        try:
            raise ValueError
        except ValueError as error:
            itself = error  # in whose traceback is this frame, which knows its callers
            assert itself

    def call():
        made = np.empty(9)
        with compiling.by_default():
            fail()
        return weakref.ref(made)

    before = gc.get_threshold()
    gc.set_threshold(1 << 30)
    try:
        made = call()
    finally:
        gc.set_threshold(*before)
    assert made() is None
