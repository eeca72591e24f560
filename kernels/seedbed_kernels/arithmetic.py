"""Arithmetic as IEEE 754 and every processor begin with: to nearest, with subnormal numbers.

How numbers are rounded, and whether subnormal ones count as zero, is in a register of each thread
that any library may change: ``torch.set_flush_denormal(True)`` does, for the thread that calls it.
No value may depend on that. The kernels of fills set the register and restore it themselves, by the
intrinsics of `compiling`; for all other work there is `usual`.
"""

import contextlib
import ctypes
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from . import forking


class Register(NamedTuple):
    """How a kind of processor keeps it: assembly for its way to memory and back, and its usual value."""

    store: str
    load: str
    clobbered: str
    usual: int


X86 = Register("stmxcsr ($0)", "ldmxcsr ($0)", "r,~{memory}", 0x1F80)  # no exception interrupts
ARM = Register("mrs x9, fpcr\nstr x9, [$0]", "ldr x9, [$0]\nmsr fpcr, x9", "r,~{x9},~{memory}", 0)
REGISTERS = {"x86_64": X86, "aarch64": ARM, "arm64": ARM}  # by the first part of LLVM's triple

SWAP = """
define i64 @swap_arithmetic(i64 %new) {{
  %before = alloca i64
  %after = alloca i64
  store i64 0, ptr %before
  store i64 %new, ptr %after
  call void asm sideeffect "{store}", "{clobbered}"(ptr %before)
  call void asm sideeffect "{load}", "{clobbered}"(ptr %after)
  %old = load i64, ptr %before
  ret i64 %old
}}
"""
# In names, because Python computes with constants before the code runs.
ONE, TINY, HALF, TWO, SMALLEST_NORMAL = 1.0, 2.0**-60, 0.5, 2.0, 2.0**-1022

Run = Callable[[Callable[[int, int], object], int, int], None]


def register(triple: str) -> Register | None:
    """Return what is known of the register on a kind of processor, or None."""
    return REGISTERS.get(triple.partition("-")[0])


def is_usual() -> bool:
    """Return whether this thread rounds to nearest and keeps subnormal numbers.

    Examples
    --------
    >>> is_usual()
    True
    """
    nearest = ONE + TINY == ONE == ONE - TINY
    return nearest and SMALLEST_NORMAL * HALF * TWO == SMALLEST_NORMAL


class usual(contextlib.ContextDecorator):  # noqa: N801  reads as a function
    """Compute in usual arithmetic, on this thread, in a ``with`` block or a function.

    Examples
    --------
    >>> with usual():
    ...     SMALLEST_NORMAL * HALF > 0.0
    True
    """

    def _recreate_cm(self) -> "usual":
        return usual()  # for each call of a decorated function

    def __enter__(self) -> None:
        self._restore = None if is_usual() else _begin()

    def __exit__(self, *_: object) -> None:
        if self._restore is not None:
            self._restore()


def on_threads(run: Run) -> Run:
    """Return what runs tasks as `run` does, each in usual arithmetic."""

    def run_as_usual(task: Callable[[int, int], object], n: int, grain: int) -> None:
        def chunk(begin: int, end: int) -> None:
            with usual():
                task(begin, end)

        run(chunk, n, grain)

    return run_as_usual


def _begin() -> Callable[[], object] | None:
    """Begin usual arithmetic; return what ends it, or None where nothing is known of it."""
    with forking.loading:
        swap, value = _swap()
    if swap is None:
        return None
    return functools.partial(swap, swap(value))


@functools.cache
def _swap() -> tuple[Any, int]:
    """Return a function that sets the register and returns what was in it, and the usual value."""
    from llvmlite import binding

    from . import machine_code

    found = register(binding.get_process_triple())
    if found is None:
        return None, 0
    lines = (text.replace("\n", "\\0A") for text in found[:3])
    text = SWAP.format(**dict(zip(Register._fields, lines, strict=False)))
    address = machine_code.assembled("swap_arithmetic", text)
    return ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address), found.usual
