"""Arithmetic as IEEE 754 and every processor begin with: to nearest, with subnormal numbers.

How numbers are rounded, and whether subnormal ones count as zero, is in a register of each thread
that any library may change: ``torch.set_flush_denormal(True)`` does, for the thread that calls it.
No value may depend on that. The kernels of fills set the register and restore it themselves, by
`entry`; for all other work there is `usual`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar


class Register(NamedTuple):
    """How a kind of processor keeps it.

    Parameters
    ----------
    save, load : str
        Assembly that takes it to memory and back.
    clobbered : str
        What this takes and changes, in LLVM's words.
    usual : int
        What is in it at first.
    """

    save: str
    load: str
    clobbered: str
    usual: int


X86 = Register("stmxcsr ($0)", "ldmxcsr ($0)", "r,~{memory}", 0x1F80)  # no exception interrupts
ARM = Register(
    r"mrs x9, fpcr\0Astr x9, [$0]", r"ldr x9, [$0]\0Amsr fpcr, x9", "r,~{x9},~{memory}", 0
)
REGISTERS = {"x86_64": X86, "aarch64": ARM, "arm64": ARM}  # by the first word of LLVM's triple

ENTRY = """
declare {result} @"{body}"({kinds})
define void @"{name}"({arguments}) {{
  %before = alloca i64
  %usual = alloca i64
  store i64 {usual}, ptr %usual
  call void asm sideeffect "{save}", "{clobbered}"(ptr %before)
  call void asm sideeffect "{load}", "{clobbered}"(ptr %usual)
  call {result} @"{body}"({arguments})
  call void asm sideeffect "{load}", "{clobbered}"(ptr %before)
  ret void
}}
"""
SWAP = """
define i64 @swap_arithmetic(i64 %new) {{
  %before = alloca i64
  %after = alloca i64
  store i64 0, ptr %before
  store i64 %new, ptr %after
  call void asm sideeffect "{save}", "{clobbered}"(ptr %before)
  call void asm sideeffect "{load}", "{clobbered}"(ptr %after)
  %old = load i64, ptr %before
  ret i64 %old
}}
"""
# In names, because Python computes with constants before the code runs.
ONE, TINY, HALF, TWO, SMALLEST_NORMAL = 1.0, 2.0**-60, 0.5, 2.0, 2.0**-1022

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Run = Callable[[Callable[[int, int], object], int, int], None]


def entry(triple: str, name: str, body: str, result: str, kinds: Sequence[str]) -> str | None:
    """Return a function, in LLVM's language, that calls another one in usual arithmetic.

    Parameters
    ----------
    triple : str
        LLVM's, of the machine.
    name, body : str
        Of this function and the other, which must not be inlined: no computation moves out of it.
    result, kinds : str, sequence of str
        The types of what `body` returns, which is dropped, and of their arguments.

    Returns
    -------
    str or None
        None where the machine is one of which nothing is known.
    """
    register = _register(triple)
    if register is None:
        return None
    arguments = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    return ENTRY.format(
        name=name,
        body=body,
        result=result,
        kinds=", ".join(kinds),
        arguments=arguments,
        **register._asdict(),
    )


def is_usual() -> bool:
    """Return whether this thread rounds to nearest and keeps subnormal numbers.

    Examples
    --------
    >>> is_usual()
    True
    """
    nearest = ONE + TINY == ONE == ONE - TINY
    return nearest and SMALLEST_NORMAL * HALF * TWO == SMALLEST_NORMAL


class usual:  # noqa: N801  reads as a function
    """Compute in usual arithmetic, on this thread, in a ``with`` block or a function.

    Examples
    --------
    >>> with usual():
    ...     SMALLEST_NORMAL * HALF > 0.0
    True
    """

    def __call__(self, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that computes so."""

        @functools.wraps(function)
        def computed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            if is_usual():  # nearly always, and this is the quickest
                return function(*args, **kwargs)
            with usual():
                return function(*args, **kwargs)

        return computed

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
    from . import forking

    with forking.loading:
        swap, value = _swap()
    if swap is None:
        return None
    return functools.partial(swap, swap(value))


@functools.cache
def _swap() -> tuple[Any, int]:
    """Return a function that sets the register and returns what was in it, and the usual value."""
    import ctypes

    from llvmlite import binding

    from . import machine_code

    register = _register(binding.get_process_triple())
    if register is None:
        return None, 0
    address = machine_code.assembled("swap_arithmetic", SWAP.format(**register._asdict()))
    return ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address), register.usual


def _register(triple: str) -> Register | None:
    return REGISTERS.get(triple.partition("-")[0])
