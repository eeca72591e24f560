"""All CUDA kernels with the types of their arguments, to be compiled before there is a GPU."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numba import types

from . import cubins_cuda, fills_cuda, rows_cuda, samplers

SAMPLERS = (
    samplers.Uniform,
    samplers.Normal,
    samplers.TruncatedNormal,
    samplers.NarrowNormal,
    samplers.TailNormal,
)
WORDS = ("uint8", "uint16", "uint32", "uint64")  # of what is not drawn

Kernel = tuple[str, Callable[..., None], int | None, Any]


def keep(dtypes: Iterable[str], capability: tuple[int, int]) -> None:
    """Compile and keep all kernels that are not kept yet for a GPU.

    Parameters
    ----------
    dtypes : iterable of str
        Of what is drawn, as kernels name them.
    capability : (int, int)
        Of the GPU.
    """
    for kernel in (*drawing(dtypes, capability), *storing()):
        cubins_cuda.keep_ahead(*kernel, capability)


def drawing(dtypes: Iterable[str], capability: tuple[int, int]) -> Iterator[Kernel]:
    """Yield the kernels that draw, for each dtype."""
    for dtype in dtypes:
        for sampler in SAMPLERS:
            for keyed in (False, True):
                described = fills_cuda.kernel_of(sampler, dtype, capability, keyed)
                yield *described, signature(sampler, dtype, keyed)


def storing() -> Iterator[Kernel]:
    """Yield the kernels that only store."""
    wide = types.uint64
    for word in (getattr(types, name) for name in WORDS):
        out, ids = (types.Array(each, 1, "C") for each in (word, wide))
        for name, function, arguments in (
            ("constant", fills_cuda.make_constant_kernel(), (out, word, word)),
            ("set-rows", rows_cuda.make_set_kernel(), (out, ids, *[wide] * 4, word, word)),
            ("copy-rows", rows_cuda.make_copy_kernel(), (out, out, wide, wide, wide)),
        ):
            yield name, function, None, types.void(*arguments)


def signature(sampler: Any, dtype: str, keyed: bool = False) -> Any:
    """Return the Numba signature of a kernel that draws."""
    real = types.float64 if dtype == "float64" else types.float32
    key = types.UniTuple(types.uint64, 3)
    parameters = types.NamedUniTuple(real, len(sampler._fields), sampler)
    arrays = types.Array(getattr(types, dtype), 1, "C"), types.Array(types.uint64, 1, "C")
    long, word = types.int64, types.uint32
    if keyed:
        return types.void(*arrays, *[long] * 5, word, long, long, key, parameters)
    place = types.UniTuple(long, 9)
    axes = [types.UniTuple(kind, fills_cuda.AXES) for kind in (word, long, long)]
    return types.void(*arrays, long, long, place, *axes, word, word, key, parameters, word)
