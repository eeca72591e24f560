"""Whether the launches and the limits on registers are the best for the GPU at hand.

    PYTHONPATH=src:kernels:. python3 -m benchmarks.gpu_launches

`launch_cuda` launches up to `BLOCKS` blocks a multiprocessor; `kernels_cuda.registers` limits the
registers of a thread. Both were chosen by counts of machine code (results/gpu-static.md), which do
not know how long a warp waits. This times each kernel with others, all of them in turn and several
times, and prints a table: GB/s as it is now, and how fast others are in units of that. Exit code:
0, or 2 if there is no GPU.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import gpu_clock
from seedbed.errors import DeviceError
from seedbed.gpu.array import kernel_dtype
from seedbed.gpu.driver import ready
from seedbed.values.dtypes import as_dtype
from seedbed.values.recipes import Normal, TruncatedNormal, Uniform, kernel_sampler
from seedbed_kernels import driver_cuda

BLOCKS = (2, 4, 6, 8, 12, 24, 48)  # a multiprocessor
LIMITS = (None, 96, 80, 72, 64, 56, 48, 40, 32)
DTYPES = ("float32", "bfloat16", "float16", "float64")
RECIPES = (
    Uniform(-0.05, 0.05),
    Normal(0.0, 0.05),
    TruncatedNormal(0.0, 0.05),
    TruncatedNormal(0.0, 0.05, 2.0, 2.4),
    TruncatedNormal(0.0, 0.05, 3.0, 9.0),
)
SIZE, ROUNDS = 2**28, 7


def compiled(sampler: Any, dtype: str, limit: int | None) -> Any:
    """Return a kernel with a limit on registers."""
    from seedbed_kernels import kernels_cuda, launch_cuda

    def limited(capability: tuple[int, int]) -> Any:
        used = kernels_cuda.drawing(type(sampler), dtype, False, capability)
        return used._replace(name=f"{used.name}-of-{limit}", registers=limit)

    return launch_cuda.kernel(limited)


def filling(sampler: Any, out: Any, kernel: Any, launch: tuple[int, int] | None) -> None:
    """Fill an array with a kernel and a launch."""
    from seedbed_kernels import fills_cuda

    filler, key = fills_cuda.Filler(sampler, out.dtype), fills_cuda.packed_key((7, 0, 0))
    used, fills_cuda._kernel = fills_cuda._kernel, lambda kind, dtype: kernel
    try:
        filler(out, 0, out.size, filler.WHOLE, key, launch=launch)
    finally:
        fills_cuda._kernel = used


def medians(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median time of each call; their rounds alternate, after one to warm up."""
    rounds = [
        {name: gpu_clock.milliseconds(call) for name, call in calls.items()}
        for _ in range(ROUNDS + 1)
    ]
    return {name: statistics.median(each[name] for each in rounds[1:]) for name in calls}


def contenders(sampler: Any, out: Any, processors: int) -> dict[str, Callable[[], None]]:
    """Return the calls that are compared for a kernel: as it is, with other blocks and limits."""
    from seedbed_kernels import fills_cuda

    dtype = out.dtype.name
    own = fills_cuda._kernel(type(sampler), dtype)
    calls = {"now": lambda: filling(sampler, out, own, None)}
    for blocks in BLOCKS:
        launch = blocks * processors, fills_cuda.WARPS
        calls[f"{blocks} blocks"] = lambda launch=launch: filling(sampler, out, own, launch)
    for limit in LIMITS:
        kernel = compiled(sampler, dtype, limit)
        name = f"of {limit} registers" if limit else "no limit"
        calls[name] = lambda kernel=kernel: filling(sampler, out, kernel, None)
    return calls


def table(size: int = SIZE, dtypes: Sequence[str] = DTYPES) -> Iterator[str]:
    """Yield the lines of the table."""
    processors = driver_cuda.get_current_device().MULTIPROCESSOR_COUNT
    for name in dtypes:
        dtype = as_dtype(name)
        out = driver_cuda.device_array(size, kernel_dtype(dtype))
        for recipe in RECIPES:
            sampler = kernel_sampler(recipe, dtype)
            found = medians(contenders(sampler, out, processors))
            now = found.pop("now")
            others = ", ".join(f"{other} {now / each:.3f}" for other, each in found.items())
            rate = size * dtype.itemsize / now / 1e6
            yield f"{type(sampler).__name__:<16} {name:<8} {rate:6,.0f} GB/s: {others}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="by default all")
    options = parser.parse_args()
    try:
        ready()
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 2
    with driver_cuda.gpus[0]:
        for line in table(dtypes=options.dtype or DTYPES):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
