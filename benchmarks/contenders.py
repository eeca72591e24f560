"""The libraries that are timed, each filling or making an array of one distribution.

`contender(library, distribution, dtype, size)` returns a call without arguments that does the work
once and waits for it, or None where a library is not installed or cannot do it. A library that can
fill an existing array does; the others allocate in each call, as their users must.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from seedbed import initializers
from seedbed.cli.bench import NumPyBaseline, fastest_bit_generator
from seedbed.values import threads
from seedbed.values.dtypes import as_dtype

LIBRARIES = ("fill", "numpy", "seedbed", "scipy", "torch", "jax", "tensorflow", "keras")
DISTRIBUTIONS = ("uniform", "normal", "truncated normal")
DTYPES = ("float32", "float64", "float16", "bfloat16")
BOUND, STDDEV = 0.05, 0.05

Call = Callable[[], Any]


def contender(library: str, distribution: str, dtype: str, size: int) -> Call | None:
    """Return one timed call, or None."""
    try:
        return globals()[f"_{library}"](distribution, dtype, size)
    except ImportError:
        return None


def _fill(distribution: str, dtype: str, size: int) -> Call:
    out = np.zeros(size, as_dtype(dtype))
    one = out.dtype.type(1)
    return lambda: threads.run_chunks(lambda begin, end: out[begin:end].fill(one), size, 1 << 20)


def _seedbed(distribution: str, dtype: str, size: int) -> Call:
    init = {
        "uniform": initializers.RandomUniform(-BOUND, BOUND, seed=7),
        "normal": initializers.RandomNormal(0.0, STDDEV, seed=7),
        "truncated normal": initializers.TruncatedNormal(0.0, STDDEV, seed=7),
    }[distribution]
    out = np.zeros(size, as_dtype(dtype))
    return lambda: init((size,), out=out)


def _numpy(distribution: str, dtype: str, size: int) -> Call | None:
    if dtype not in ("float32", "float64"):
        return None
    count = threads.count()
    baseline = NumPyBaseline(fastest_bit_generator(count), count)
    out = np.zeros(size, dtype)
    return lambda: baseline.fill(distribution, out)


def _scipy(distribution: str, dtype: str, size: int) -> Call | None:
    if distribution != "truncated normal" or dtype != "float64" or size > 10**7:
        return None
    from scipy import stats

    generator = np.random.default_rng(7)
    frozen = stats.truncnorm(-2, 2, scale=STDDEV)
    return lambda: frozen.rvs(size, random_state=generator)


def _torch(distribution: str, dtype: str, size: int) -> Call:
    import torch

    torch.set_num_threads(threads.count())
    out = torch.zeros(size, dtype=getattr(torch, dtype))
    return {
        "uniform": lambda: torch.nn.init.uniform_(out, -BOUND, BOUND),
        "normal": lambda: torch.nn.init.normal_(out, 0.0, STDDEV),
        "truncated normal": lambda: torch.nn.init.trunc_normal_(
            out, 0.0, STDDEV, -2 * STDDEV, 2 * STDDEV
        ),
    }[distribution]


def _jax(distribution: str, dtype: str, size: int) -> Call | None:
    import jax

    if dtype == "float64":
        return None
    key = jax.random.key(7)
    init = {
        "uniform": lambda: jax.random.uniform(key, (size,), dtype, -BOUND, BOUND),
        "normal": lambda: jax.random.normal(key, (size,), dtype) * STDDEV,
        "truncated normal": lambda: (
            jax.random.truncated_normal(key, -2, 2, (size,), dtype) * STDDEV
        ),
    }[distribution]
    compiled = jax.jit(init)
    return lambda: compiled().block_until_ready()


def _tensorflow(distribution: str, dtype: str, size: int) -> Call:
    import tensorflow as tf

    seed, kind = (7, 0), getattr(tf, dtype)
    return {
        "uniform": lambda: tf.random.stateless_uniform((size,), seed, -BOUND, BOUND, kind),
        "normal": lambda: tf.random.stateless_normal((size,), seed, 0.0, STDDEV, kind),
        "truncated normal": lambda: tf.random.stateless_truncated_normal(
            (size,), seed, 0.0, STDDEV, kind
        ),
    }[distribution]


def _keras(distribution: str, dtype: str, size: int) -> Call:
    import keras

    init = {
        "uniform": keras.initializers.RandomUniform(-BOUND, BOUND, seed=7),
        "normal": keras.initializers.RandomNormal(0.0, STDDEV, seed=7),
        "truncated normal": keras.initializers.TruncatedNormal(0.0, STDDEV, seed=7),
    }[distribution]
    return lambda: init((size,), dtype)
