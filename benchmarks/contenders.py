"""The libraries that are timed, each filling or making an array of one distribution.

`contender(library, distribution, dtype, size)` returns a call without arguments that does the work
once and waits for it, or None where a library is not installed or cannot do it. A library that can
fill an existing array does; the others allocate in each call, as their users must.

`pip install mkl randomgen` brings two more: Intel's generators, called through ctypes, each with a
stream a thread, and further bit generators for NumPy, of which the fastest is taken.
"""

import ctypes
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from seedbed import initializers
from seedbed.cli.bench import NumPyBaseline, fastest_bit_generator, medians
from seedbed.values import threads
from seedbed.values.dtypes import as_dtype

# Generators of MKL: those of mkl_vsl_defines.h, counted in steps of 2**20.
MKL = {"mkl ars5": 15, "mkl sfmt": 13, "mkl philox": 16, "mkl mcg59": 4}
PIECE = 1 << 16  # values a call of MKL: a piece stays in the cache
LIBRARIES = (
    *("fill", "numpy", "seedbed", "scipy", "torch", "jax", "tensorflow", "keras"),
    *("randomgen", *MKL),
)
DISTRIBUTIONS = ("uniform", "normal", "truncated normal")
DTYPES = ("float32", "float64", "float16", "bfloat16")
BOUND, STDDEV = 0.05, 0.05

Call = Callable[[], Any]


def contender(library: str, distribution: str, dtype: str, size: int) -> Call | None:
    """Return one timed call, or None."""
    try:
        if library in MKL:
            return _mkl(library, distribution, dtype, size)
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
    return _generators(fastest_bit_generator(count), distribution, dtype, size)


def _randomgen(distribution: str, dtype: str, size: int) -> Call | None:
    import randomgen

    if dtype not in ("float32", "float64"):
        return None
    # What keeps its state in registers and has no lock around it: the others are slower than these.
    names = ("SFC64", "JSF", "EFIIX64", "Xoshiro256", "Romu", "LXM")
    calls = {}
    for name in names:
        kind = getattr(randomgen, name)
        calls[name] = _generators(lambda seed, kind=kind: kind(seed), distribution, dtype, 1 << 22)
    seconds = medians(calls, 3)
    fastest = getattr(randomgen, min(seconds, key=lambda name: seconds[name]))
    return _generators(lambda seed: fastest(seed), distribution, dtype, size)


def _generators(bit_generator: Any, distribution: str, dtype: str, size: int) -> Call:
    """Return a call that fills an array by NumPy's Generator, one a thread."""
    baseline = NumPyBaseline(bit_generator, threads.count())
    out = np.zeros(size, dtype)
    return lambda: baseline.fill(distribution, out)


def _mkl(library: str, distribution: str, dtype: str, size: int) -> Call | None:
    """Return a call that fills an array by MKL: on each thread a stream of its own.

    MKL has three methods for the normal; the one that is fastest here is taken.
    """
    if distribution == "truncated normal" or dtype not in ("float32", "float64"):
        return None
    methods = range(3) if distribution == "normal" else range(1)
    calls = {
        method: _mkl_method(library, distribution, dtype, 1 << 18, method) for method in methods
    }
    seconds = medians(calls, 3)
    fastest = min(seconds, key=lambda method: seconds[method])
    return _mkl_method(library, distribution, dtype, size, fastest)


def _mkl_method(library: str, distribution: str, dtype: str, size: int, method: int) -> Call:
    """Return a call of one method of MKL; for the normal two of Box and Muller, and the inverse."""
    mkl = _mkl_runtime()
    real = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    prefix = {"float32": "vs", "float64": "vd"}[dtype]
    normal = distribution == "normal"
    draw = getattr(mkl, f"{prefix}Rng{'Gaussian' if normal else 'Uniform'}")
    draw.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, real, real]
    parameters = (0.0, STDDEV) if normal else (-BOUND, BOUND)
    count = threads.count()
    streams = []
    for number in range(count):
        stream = ctypes.c_void_p()
        status = mkl.vslNewStream(ctypes.byref(stream), MKL[library] << 20, 7 + number)
        if status:
            raise ImportError(f"MKL has no {library} here: status {status}")
        streams.append(stream)
    out = np.zeros(size, dtype)
    parts = np.array_split(out, count)

    def fill(begin: int, end: int) -> None:
        for stream, part in zip(streams[begin:end], parts[begin:end], strict=True):
            for start in range(0, part.size, PIECE):
                piece = part[start : start + PIECE]
                status = draw(method, stream, piece.size, piece.ctypes.data, *parameters)
                if status:
                    raise RuntimeError(f"{library}: status {status}")

    def call() -> np.ndarray:
        threads.run_chunks(fill, count, 1)
        return out

    return call


def _mkl_runtime() -> ctypes.CDLL:
    """Return MKL's library, from the package `mkl`, set to call from one thread."""
    files = metadata.files("mkl") or ()
    found = [file.locate() for file in files if "mkl_rt" in file.name and ".lib" not in file.name]
    if not found:
        raise ImportError("the package mkl has no mkl_rt")
    mkl = ctypes.CDLL(str(found[0]))
    mkl.MKL_Set_Interface_Layer(0)  # 32-bit integers
    mkl.MKL_Set_Threading_Layer(1)  # sequential: the threads are ours
    mkl.vslNewStream.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
    return mkl


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
