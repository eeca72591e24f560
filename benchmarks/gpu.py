"""Everything that needs an NVIDIA GPU, in one command: tests, equal bits, times.

    PYTHONPATH=src:kernels python3 benchmarks/gpu.py

Runs the tests marked `cuda`; compares 10⁹ values of every sampler and dtype with the CPU's, bit for
bit, and arrays of awkward lengths and launches; times the fills against cudaMemset, PyTorch, CuPy
(cuRAND) and JAX on the same card. Prints one table and writes it under ``benchmarks/results``.
Libraries that are not installed are left out, and the table says so. Exit code: 0 if all is well, 1
if a test fails or a bit differs, 2 if there is no GPU.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from benchmarks import gpu_clock
from seedbed import initializers
from seedbed.errors import DeviceError
from seedbed.gpu import memory
from seedbed.gpu.array import DeviceArray, kernel_dtype
from seedbed.gpu.driver import ready
from seedbed.values import recipes
from seedbed.values.fill import sample
from seedbed.values.recipes import Normal, TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed_kernels import driver_cuda

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
STREAM = Stream(7)
STDDEV = 0.05
RECIPES = {
    "uniform": Uniform(-STDDEV, STDDEV),
    "normal": Normal(0.0, STDDEV),
    "truncated normal": TruncatedNormal(0.0, STDDEV),
}
DTYPES = ("float32", "float64", "float16", "bfloat16")
LENGTHS = (1, 127, 129, 2**32 + 3)
LAUNCHES = ((1, 1), (1, 8), (7, 3), (1000, 4), (5000, 8))
CHUNK = 2**26  # values compared at a time
REPEATS, WARM_UP = 15, 3
CALLS = 20  # timed together: the host, which takes as long as the GPU for some, is ahead of it then
SANITIZERS = ("memcheck", "racecheck", "synccheck")
LIBRARIES = ("memset", "seedbed", "torch", "cupy", "jax")
ORTHOGONAL = (8192, 8192)

Call = Callable[[], Any]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


# Bits


def compare(source: Any, count: int, dtype: str) -> str:
    """Return the SHA-256 of values from the GPU, all compared with the CPU's."""
    seen = hashlib.sha256()
    for start in range(0, count, CHUNK):
        window = (slice(start, min(start + CHUNK, count)),)
        on_cpu = sample(source, (count,), dtype, stream=STREAM, window=window).view(np.uint8)
        on_gpu = sample(source, (count,), dtype, stream=STREAM, window=window, device="cuda")
        host = on_gpu.copy_to_host().view(np.uint8)
        if not np.array_equal(host, on_cpu):
            where = start + int(np.flatnonzero(host != on_cpu)[0]) // on_gpu.itemsize
            raise AssertionError(f"{source} {dtype} differs from the CPU at element {where}")
        seen.update(host)
    return seen.hexdigest()


def compare_whole(source: Any, count: int, dtype: str) -> None:
    """Compare one launch, of any length, with the CPU; a piece at a time comes to the host."""
    on_gpu = sample(source, (count,), dtype, stream=STREAM, device="cuda")
    for start in range(0, count, CHUNK):
        window = (slice(start, min(start + CHUNK, count)),)
        on_cpu = sample(source, (count,), dtype, stream=STREAM, window=window)
        host = on_gpu[window[0]].copy_to_host()
        assert np.array_equal(host.view(np.uint8), on_cpu.view(np.uint8)), (source, count, dtype)


def compare_launches(source: Any, dtype: str, count: int = 3_000_001) -> None:
    from seedbed_kernels import fills_cuda

    on_cpu = sample(source, (count,), dtype, stream=STREAM)
    sampler = recipes.kernel_sampler(source, on_cpu.dtype)
    out = DeviceArray.empty((count,), on_cpu.dtype, 0)
    flat = out.data.view(kernel_dtype(on_cpu.dtype))
    filler, key = fills_cuda.Filler(sampler, flat.dtype), recipes.kernel_key(STREAM)
    for launch in LAUNCHES:
        with driver_cuda.gpus[0]:
            filler(flat, 0, count, filler.WHOLE, key, out.stream, launch)
        host = out.copy_to_host().view(np.uint8)
        assert np.array_equal(host, on_cpu.view(np.uint8)), (source, dtype, launch)
        out.constant(0)


def check_bits(count: int) -> Iterator[str]:
    """Yield lines that say what is equal."""
    for name, source in RECIPES.items():
        for dtype in DTYPES:
            start = time.perf_counter()
            digest = compare(source, count, dtype)
            compare_launches(source, dtype)
            for length in LENGTHS[:-1]:
                compare_whole(source, length, dtype)
            seconds = time.perf_counter() - start
            told = f"{count:,} values equal ({seconds:.0f} s); SHA-256 {digest}"
            yield f"{name:<17} {dtype:<9} {told}"
        if (cupy := memory.cupy()) is not None:
            cupy.get_default_memory_pool().free_all_blocks()
        free, _ = gpu_clock.memory()
        for dtype in DTYPES:
            if LENGTHS[-1] * dtype_of(dtype).itemsize > 0.9 * free:
                yield f"{name:<17} {dtype:<9} {LENGTHS[-1]:,} values do not fit: not compared"
                continue
            compare_whole(source, LENGTHS[-1], dtype)
            yield f"{name:<17} {dtype:<9} {LENGTHS[-1]:,} values in one launch equal"


# Times


def timed(call: Call, synchronous: bool = False, calls: int = CALLS) -> float:
    """Return the median of the seconds that a call takes on the GPU.

    CUDA events on the default stream, which PyTorch and CuPy use, too; a call that is `synchronous`
    works on a stream of its own and returns when it is done: the clock of the host.
    """
    for _ in range(WARM_UP):
        call()
    gpu_clock.synchronize()
    seconds = []
    for _ in range(REPEATS):
        if synchronous:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
            continue
        seconds.append(gpu_clock.milliseconds(call, calls) / 1000 / calls)
    return statistics.median(seconds)


def _memset(distribution: str, dtype: str, size: int) -> float:
    array = DeviceArray.empty((size,), dtype_of(dtype), 0)
    arguments = array.pointer, 0, array.nbytes, array.handle
    return timed(lambda: driver_cuda.call("cuMemsetD8Async", *arguments))


def _seedbed(distribution: str, dtype: str, size: int) -> float:
    init = {
        "uniform": initializers.RandomUniform(-STDDEV, STDDEV, seed=7),
        "normal": initializers.RandomNormal(0.0, STDDEV, seed=7),
        "truncated normal": initializers.TruncatedNormal(0.0, STDDEV, seed=7),
    }[distribution]
    array = DeviceArray.empty((size,), dtype_of(dtype), 0)
    return timed(lambda: init((size,), out=array))


def _torch(distribution: str, dtype: str, size: int) -> float:
    import torch

    array = torch.empty(size, dtype=getattr(torch, dtype), device="cuda")
    bound = 2 * STDDEV
    return timed(
        {
            "uniform": lambda: array.uniform_(-STDDEV, STDDEV),
            "normal": lambda: array.normal_(0.0, STDDEV),
            "truncated normal": lambda: torch.nn.init.trunc_normal_(
                array, 0.0, STDDEV, -bound, bound
            ),
        }[distribution]
    )


def _cupy(distribution: str, dtype: str, size: int) -> float | None:
    """Time the best of cuRAND's generators; without scaling, which would take another pass."""
    import cupy
    from cupy.cuda import curand

    if distribution == "truncated normal" or dtype not in ("float32", "float64"):
        return None
    methods = (curand.CURAND_RNG_PSEUDO_PHILOX4_32_10, curand.CURAND_RNG_PSEUDO_XORWOW)
    best = []
    for method in methods:
        state = cupy.random.RandomState(7, method=method)
        draw = {"uniform": state.random_sample, "normal": state.standard_normal}[distribution]
        best.append(timed(lambda draw=draw: draw(size, dtype=dtype)))
        del state, draw
        cupy.get_default_memory_pool().free_all_blocks()
    return min(best)


def _jax(distribution: str, dtype: str, size: int) -> float | None:
    """Time the best of JAX's generators."""
    import jax

    if jax.default_backend() != "gpu":
        return None
    jax.config.update("jax_enable_x64", True)
    kind = jax.numpy.dtype(dtype)
    draw = {
        "uniform": lambda key: jax.random.uniform(key, (size,), kind, -STDDEV, STDDEV),
        "normal": lambda key: kind.type(STDDEV) * jax.random.normal(key, (size,), kind),
        "truncated normal": lambda key: (
            kind.type(STDDEV) * jax.random.truncated_normal(key, -2.0, 2.0, (size,), kind)
        ),
    }[distribution]
    best = []
    for generator in ("threefry2x32", "rbg"):
        compiled, key = jax.jit(draw), jax.random.key(7, impl=generator)
        best.append(timed(lambda c=compiled, k=key: c(k).block_until_ready(), synchronous=True))
    return min(best)


def measure(library: str, distribution: str, dtype: str, size: int) -> float | str | None:
    """Return seconds; None where a library cannot do it, or in words why not."""
    try:
        return globals()[f"_{library}"](distribution, dtype, size)
    except ImportError:
        return "not installed"
    except Exception as error:  # a library that fails must not end the comparison
        return f"{type(error).__name__}: {error}".partition("\n")[0].replace("|", "/")[:120]


def time_fills(size: int) -> Iterator[str]:
    """Yield the lines of a table of GB/s."""
    yield (
        f"| {size:,} values | "
        + " | ".join(f"{name}, GB/s" for name in LIBRARIES)
        + (" | seedbed / memset | seedbed / best other |")
    )
    yield "|---|" + "---|" * (len(LIBRARIES) + 2)
    for distribution in RECIPES:
        for dtype in DTYPES:
            nbytes = size * dtype_of(dtype).itemsize
            cells, rates = [], {}
            for library in LIBRARIES:
                seconds = measure(library, distribution, dtype, size)
                if isinstance(seconds, float):
                    rates[library] = nbytes / seconds / 1e9
                    cells.append(f"{rates[library]:,.0f}")
                else:
                    cells.append(seconds or "—")
            others = [rates[name] for name in LIBRARIES[2:] if name in rates]
            own = rates.get("seedbed", 0.0)
            cells.append(f"{own / rates['memset']:.2f}" if "memset" in rates else "—")
            cells.append(f"{own / max(others):.2f}" if others else "—")
            yield f"| {distribution} {dtype} | " + " | ".join(cells) + " |"


def time_orthogonal() -> Iterator[str]:
    """Yield lines on Orthogonal against PyTorch's."""
    try:
        import torch
    except ImportError:
        yield "orthogonal: PyTorch is not installed"
        return
    if not torch.cuda.is_available():
        yield "orthogonal: this PyTorch has no GPU"
        return
    if importlib.util.find_spec("cupy") is None:
        yield "orthogonal: CuPy is not installed; Seedbed computes on the CPU and copies"
    init = initializers.Orthogonal(seed=7)
    matrix = torch.empty(ORTHOGONAL, device="cuda")

    def deviation(q: Any) -> float:
        identity = torch.eye(q.shape[1], device="cuda", dtype=torch.float64)
        return float((q.double().T @ q.double() - identity).abs().max())

    results = {}
    for name, call in (
        ("seedbed", lambda: init(ORTHOGONAL, out=matrix)),
        ("torch", lambda: torch.nn.init.orthogonal_(matrix)),
    ):
        seconds = timed(call, calls=1)
        results[name] = seconds
        yield (
            f"orthogonal {ORTHOGONAL[0]}×{ORTHOGONAL[1]} float32, {name}: {seconds:.3f} s, "
            f"max |QᵀQ - I| {deviation(matrix):.1e}"
        )
    yield f"orthogonal, torch / seedbed: {results['torch'] / results['seedbed']:.2f}"


# Tests


def run_tests(sanitize: bool) -> Iterator[str]:
    """Run the tests marked `cuda`, and, if asked, some of them under compute-sanitizer."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*pytest, "-m", "cuda", "tests/cuda"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = result.stdout.strip() or result.stderr.strip()
    yield f"tests: {told.splitlines()[-1] if told else 'no word'}"
    if result.returncode:
        raise AssertionError((result.stdout + result.stderr)[-6000:])
    for check in SANITIZERS if sanitize else ():
        # Without errors of calls: `cuda.bindings` asks the driver for functions that it may lack.
        options = ["--tool", check, "--report-api-errors", "no", "--error-exitcode", "9"]
        chosen = ["tests/cuda/test_fills.py", "-k", "any_launch or rejections or windows"]
        result = subprocess.run(
            [sanitizer(), *options, *pytest, *chosen],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            told = (result.stdout + result.stderr)[-6000:]
            raise AssertionError(f"compute-sanitizer {check}: {result.returncode}\n{told}")
        yield f"compute-sanitizer {check}: clean"


def sanitizer() -> str:
    """Return the path of compute-sanitizer: on PATH, of the wheel, or of a toolkit."""
    wheels = [str(Path(folder, "nvidia/cu13/bin")) for folder in sys.path]
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    folders = [os.environ.get("PATH", ""), *wheels, *[f"{home}/bin" for home in homes if home]]
    tool = shutil.which("compute-sanitizer", path=os.pathsep.join(folders))
    if tool is None:
        raise FileNotFoundError("compute-sanitizer: pip install nvidia-cuda-sanitizer-api")
    return tool


def describe() -> Iterator[str]:
    major, minor = driver_cuda.gpus[0].compute_capability
    _, total = gpu_clock.memory()
    yield f"# {gpu_clock.name()}"
    yield f"compute capability {major}.{minor}, {total / 2**30:.0f} GiB"
    versions = []
    for package in ("numba", "numba-cuda", "torch", "cupy-cuda13x", "cupy-cuda12x", "jax"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    yield ", ".join([time.strftime("%Y-%m-%d"), f"Python {sys.version.split()[0]}", *versions])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("tests", "bits", "times", "orthogonal"), action="append")
    parser.add_argument("--sanitize", action="store_true", help="also under compute-sanitizer")
    parser.add_argument("--values", type=int, default=10**9, help="compared with the CPU's")
    parser.add_argument("--size", type=int, default=2**29, help="values in a timed array")
    options = parser.parse_args()
    try:
        ready()
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 2
    parts = {
        "tests": lambda: run_tests(options.sanitize),
        "bits": lambda: check_bits(options.values),
        "times": lambda: time_fills(options.size),
        "orthogonal": time_orthogonal,
    }
    lines, code = [], 0
    for part in ("", *(options.only or parts)):
        try:
            for line in parts[part]() if part else describe():
                print(line, flush=True)
                lines.append(line)
        except Exception as error:
            code = 1
            lines.append(f"{part}: {type(error).__name__}: {error}")
            print(lines[-1], flush=True)
        lines.append("")
    name = re.sub(r"\W+", "-", lines[0].strip("# ").lower())
    suffix = "-".join(["", *options.only]) if options.only else ""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"gpu-{name}{suffix}.md"
    file.write_text("\n".join(lines))
    print(f"written to {file.relative_to(ROOT)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
