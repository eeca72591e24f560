"""Compiling all kernels ahead: ``seedbed warm``, for a container image that starts at once."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from seedbed_kernels import disk_cache

from .. import initializers
from ..errors import ArgumentError, OutputError
from ..values.dtypes import FLOATING, FLOATING_DTYPES, as_dtype

# One initializer for each sampler that kernels are compiled for.
SAMPLERS = (
    initializers.RandomUniform(seed=7),
    initializers.RandomNormal(seed=7),
    initializers.TruncatedNormal(seed=7),
    initializers.TruncatedNormal(seed=7, lower=1.0, upper=1.1),  # narrow
    initializers.TruncatedNormal(seed=7, lower=3.0, upper=float("inf")),  # a tail
)
# Shapes of matrices, tall and wide, that take all ways through the code of `Orthogonal`.
MATRICES = ((20, 20), (600, 300), (300, 600), (5000, 40))


def warm(dtypes: Sequence[str] | None = None, cuda: Sequence[str] = ()) -> str:
    """Compile the kernels of dtypes, all by default; return in words what was done.

    Those for GPUs, too, whose compute capabilities are named: no GPU is needed.

    Raises
    ------
    ArgumentError, DeviceError
        If a dtype is not a floating one, or kernels cannot be compiled for such a GPU.
    OutputError
        If there is no folder to keep compiled code in.
    """
    chosen = [as_dtype(name, "warm") for name in (FLOATING if dtypes is None else dtypes)]
    for dtype in chosen:
        if dtype not in FLOATING_DTYPES:
            raise ArgumentError(f"--dtype must be one of {', '.join(FLOATING)}; given {dtype.name}")
    capabilities = _capabilities(cuda)
    folder = disk_cache.writable_folder()
    if folder is None:
        raise OutputError("no folder for compiled code is writable; set NUMBA_CACHE_DIR to one")
    start, before = time.perf_counter(), set(_kept(folder))
    for dtype in chosen:
        _fill(dtype)
    for capability in capabilities:
        from ..gpu import ahead

        ahead.warm(chosen, capability)
    added = set(_kept(folder)) - before
    seconds = time.perf_counter() - start
    return f"{folder}: {len(added)} kernels compiled and kept in {seconds:.1f} s"


def _capabilities(texts: Sequence[str]) -> list[tuple[int, int]]:
    if not texts:
        return []
    from ..gpu import ahead

    return [ahead.capability_of(text) for text in texts]


def _fill(dtype: np.dtype) -> None:
    """Make a little of everything that has a kernel of its own."""
    for init in SAMPLERS:
        init((3, 5), dtype)
        init((3, 5), dtype, rows=[2, 0])
        init.keyed([2, 0], 5, dtype)
    init = initializers.Orthogonal(seed=7)
    for shape in MATRICES:
        init(shape, dtype)
        init(shape, dtype, window=(slice(3, 9), slice(2, 7)))


def _kept(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.iterdir() if path.suffix in (".o", ".nbc", ".cubin"))
