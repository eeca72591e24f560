"""All CUDA kernels: what they are called, how they are defined, and with how many registers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import cubins_cuda, samplers
from .cubins_cuda import Capability, Described
from .samplers import REJECTING, TailNormal, TruncatedNormal

SAMPLERS = (
    samplers.Uniform,
    samplers.Normal,
    samplers.TruncatedNormal,
    samplers.NarrowNormal,
    samplers.TailNormal,
)
WORDS = ("uint8", "uint16", "uint32", "uint64")  # of what is not drawn
AXES = 6  # over the runs of a row, that a launch can take


def keep(dtypes: Iterable[str], capability: Capability) -> None:
    """Compile and keep all kernels that are not kept yet, for a GPU that need not be here.

    Parameters
    ----------
    dtypes : iterable of str
        Of what is drawn, as kernels name them.
    capability : (int, int)
        Of the GPU.
    """
    for kernel in every(dtypes, capability):
        cubins_cuda.load(kernel, capability)


def every(dtypes: Iterable[str], capability: Capability) -> Iterator[Described]:
    """Yield the kernels that draw, for each dtype, and those that only store."""
    for dtype in dtypes:
        for sampler in SAMPLERS:
            for keyed in (False, True):
                yield drawing(sampler, dtype, keyed, capability)
    for word in WORDS:
        for storing in (constant, set_rows, copy_rows):
            yield storing(word, capability)


def drawing(sampler: type, dtype: str, keyed: bool, capability: Capability) -> Described:
    """Return the kernel that draws elements by their numbers, or rows by key."""

    def define() -> tuple[Callable[..., None], Any]:
        from . import keyed_cuda, tiles_cuda

        make = keyed_cuda.make_kernel if keyed else tiles_cuda.make_kernel
        native = capability >= (8, 0)  # it rounds to bfloat16 itself
        return make(sampler, dtype, native), signature(sampler, dtype, keyed)

    name = f"{sampler.__name__}-{dtype}{'-keyed' if keyed else ''}"
    return Described(name, define, registers(sampler, dtype, capability, keyed))


def registers(sampler: type, dtype: str, capability: Capability, keyed: bool = False) -> int | None:
    """Return the most registers a thread of a kernel may have, or None for as many as it takes.

    A multiprocessor has 65,536. Left alone the assembler takes up to 122 for a kernel that draws
    again, of which two blocks fit. With these limits most have three or four, and nothing spills.
    """
    if sampler not in REJECTING:
        return 64 if keyed else None
    double, tail = dtype == "float64", sampler is TailNormal
    if keyed and not tail:
        return 72 if double else 64
    if keyed or capability < (9, 0):
        return 96 if double and sampler is not TruncatedNormal else 80
    if capability >= (12, 0) and sampler is TruncatedNormal:
        return 72 if double else 56
    return None


def signature(sampler: Any, dtype: str, keyed: bool = False) -> Any:
    """Return the Numba signature of a kernel that draws."""
    from numba import types

    real = types.float64 if dtype == "float64" else types.float32
    key = types.UniTuple(types.uint64, 3)
    parameters = types.NamedUniTuple(real, len(sampler._fields), sampler)
    arrays = types.Array(getattr(types, dtype), 1, "C"), types.Array(types.uint64, 1, "C")
    long, word = types.int64, types.uint32
    if keyed:
        return types.void(*arrays, *[long] * 5, word, long, long, key, parameters)
    place = types.UniTuple(long, 9)
    axes = [types.UniTuple(kind, AXES) for kind in (word, long, long)]
    return types.void(*arrays, long, long, place, *axes, word, word, key, parameters, word)


def constant(word: str, _: Capability) -> Described:
    """Return the kernel that stores one value, or two by turns."""
    return _storing("constant", word, lambda out, ids, value, number: (out, value, value))


def set_rows(word: str, _: Capability) -> Described:
    """Return the kernel that sets rows to one value, or to two by turns."""
    arguments = lambda out, ids, value, number: (out, ids, *[number] * 4, value, value)  # noqa: E731
    return _storing("set_rows", word, arguments)


def copy_rows(word: str, _: Capability) -> Described:
    """Return the kernel that copies rows."""
    return _storing("copy_rows", word, lambda out, ids, value, number: (out, out, *[number] * 3))


def _storing(name: str, word: str, arguments: Callable[..., tuple[Any, ...]]) -> Described:
    def define() -> tuple[Callable[..., None], Any]:
        from numba import types

        from . import stores_cuda

        value, number = getattr(types, word), types.uint64
        out, ids = (types.Array(each, 1, "C") for each in (value, number))
        return getattr(stores_cuda, name), types.void(*arguments(out, ids, value, number))

    return Described(f"{name.replace('_', '-')}-{word}", define)
