"""The ways code is compiled here, said once.

Numba compiles the kernels as it does by default, whatever it is set to do with the user's own
functions: they are not meant to be debugged, and none of them runs as plain Python. What it makes
is kept by `machine_code` and, for kernels that take arrays, by `KernelCache`.
"""

import contextlib
import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numba.extending
import numpy.ma  # noqa: F401  or else the first call of a kernel does so, while a fork may happen
from llvmlite import binding
from numba.core import caching, config, serialize
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from . import (
    arithmetic,
    disk_cache,
    forking,  # noqa: F401  from now on forks wait for Numba's compiler
    machine_code,
)

settings: Any = config
# What only kernels call needs no entry for Python, nor one for C. Each is a copy of all that is
# inlined into it, which LLVM optimises at every level of the calls: a third of the time to compile.
INSIDE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
DEFAULTS = {
    "DISABLE_JIT": 0,
    "BOUNDSCHECK": 0,
    "DEBUGINFO_DEFAULT": 0,
    "EXTEND_VARIABLE_LIFETIMES": 0,
    "OPT": type(settings.OPT)(3),
    "LOOP_VECTORIZE": 1,
    "SLP_VECTORIZE": 0,
    "LLVM_REFPRUNE_PASS": 1,
    "LLVM_REFPRUNE_FLAGS": "all",
}


def njit(**options: Any) -> Any:
    """Return a decorator that compiles a function, also where Numba is told not to."""

    def compiled(function: Callable[..., Any]) -> Any:
        with _set(DISABLE_JIT=0):
            return numba.njit(**options)(function)

    return compiled


def scalar(function: Callable[..., Any]) -> Any:
    """Compile a scalar function: inlined into its caller, on the CPU and in CUDA kernels."""
    return inlined(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function of a kernel, inlined where it is called; Python cannot call it."""
    return njit(forceinline=True, **INSIDE)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a CPU kernel: runs without the GIL and is kept on the disk where it can be."""
    made = njit(nogil=True)(function)
    compile_now, cache = made.compile, KernelCache(function)

    def compiled(signature: Any) -> Any:
        with by_default(), cache.waiting:
            return compile_now(signature)

    made.compile, made._cache = compiled, cache
    return made


class KernelCache(caching.NullCache):
    """What Numba looks into before it compiles a kernel: files that are trusted, or nothing.

    Numba's own cache reads any file, and does not see changes in the files of what a kernel calls.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if function.__closure__:
            raise TypeError(f"{function.__qualname__}: a kernel must not depend on a closure")
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self.waiting = contextlib.ExitStack()  # other processes are, if this one compiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled kernel, or None if it is to be compiled."""
        file = self._file(sig)
        if file is None:
            return None
        data = disk_cache.read(file)
        if data is None:
            self.waiting.enter_context(disk_cache.alone(file))
            data = disk_cache.read(file)
        if data is None:
            return None
        target_context.refresh()
        return CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, data: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep a compiled kernel."""
        machine_code.keep(self._file(sig), serialize.dumps(data._reduce()))

    def _file(self, sig: Any) -> str | None:
        context: Any = cpu_target.target_context
        target = context.codegen().magic_tuple()
        return machine_code.file_name(self.name, "nbc", str(sig), target)


@contextlib.contextmanager
def by_default() -> Iterator[None]:
    """Have Numba compile as it does by default, and nothing else meanwhile."""
    context: Any = cpu_target.target_context
    with global_compiler_lock:
        context.codegen()  # made once, for the user's functions too
        settings.reload_config()  # now, and not while it compiles
        with _set(**DEFAULTS), uncollected():
            yield


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let garbage lie meanwhile: to look for it among Numba's objects takes a tenth of the time.

    Then it is collected: exceptions that Numba caught hold its callers' variables, such as arrays.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
            gc.collect(0)


@contextlib.contextmanager
def _set(**values: Any) -> Iterator[None]:
    before = {name: getattr(settings, name) for name in values}
    vars(settings).update(values)
    try:
        yield
    finally:
        vars(settings).update(before)


def object_code(name: str, function: Callable[..., None], signature: Any) -> bytes:
    """Return the object code of a kernel, which exports one symbol, its name."""
    context: Any = cpu_target.target_context
    with by_default(), _without_machine_code(context):
        made = numba.cfunc(signature, error_model="numpy")(function)
        triple, cpu, features = context.codegen().magic_tuple()
    module = binding.parse_assembly(made.inspect_llvm())
    for definition in module.functions:
        if not definition.is_declaration and definition.name != made.native_name:
            definition.linkage = binding.Linkage.internal
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = binding.Linkage.internal
    _add_entry(module, name, module.get_function(made.native_name))
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="static" if triple.startswith(("x86", "i686")) else "default",  # as Numba does
        codemodel="jitdefault",
        jit=True,
    )
    # Numba's wrapper raises what a kernel may raise: nothing, as LLVM finds out and removes it.
    options = binding.create_pipeline_tuning_options(speed_level=1)
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    needed = [f.name for f in module.functions if f.is_declaration]
    needed = [other for other in needed if not other.startswith("llvm.")]
    if needed:
        raise RuntimeError(f"kernel {name} needs {', '.join(needed)} as it runs")
    binding.initialize_native_asmparser()
    return machine.emit_object(module)


class _Library(JITCodeLibrary):
    """LLVM code that is not made into machine code, and so is nowhere in memory."""

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def _finalize_specific(self) -> None:
        pass


class _Codegen(JITCPUCodegen):
    _library_class = _Library

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        pass


@contextlib.contextmanager
def _without_machine_code(context: Any) -> Iterator[None]:
    """Have Numba stop at LLVM code, which is made into machine code once, as a whole kernel."""
    before = context._internal_codegen
    context._internal_codegen = _Codegen("seedbed")
    try:
        yield
    finally:
        context._internal_codegen = before


def _add_entry(module: Any, name: str, body: Any) -> None:
    """Add a function to a module that runs its kernel in usual arithmetic."""
    result, _, _ = str(body.global_value_type).partition(" (")
    kinds = [str(argument.type) for argument in body.arguments]
    text = arithmetic.entry(module.triple, name, body.name, result, kinds)
    if text is None:
        body.name = name
        return
    layout = f'target datalayout = "{module.data_layout}"\ntarget triple = "{module.triple}"\n'
    module.link_in(binding.parse_assembly(layout + text))
    body = module.get_function(body.name)
    body.linkage = binding.Linkage.internal
    body.add_function_attribute("noinline")


def intrinsic(function: Callable[..., Any]) -> Any:
    """Define a function by the LLVM code that it stands for, on the CPU and in CUDA kernels."""
    return numba.extending.intrinsic(function)


@intrinsic
def align_stack(typingctx: Any) -> Any:
    """Have the kernel that calls this begin its stack at a cache line.

    LLVM does not, and vectors of 64 bytes that it saves there lie across two lines in three calls
    of four, as the caller's stack happens to lie: a fifth of the speed.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        attributes = builder.function.attributes
        attributes.alignstack = 64
        attributes.add("nounwind")  # llvmlite prints none if all it has is an alignment
        return context.get_dummy_value()

    return numba.types.void(), codegen


def cpu_has(context: Any, feature: str, *names: str) -> bool:
    """Return whether the CPU compiled for has a feature: as LLVM is told, or as its name says."""
    _, name, features = context.codegen().magic_tuple()
    told = features.split(",")
    return f"+{feature}" in told or (name in names and f"-{feature}" not in told)


def on_arm64(context: Any) -> bool:
    """Return whether the CPU compiled for is a 64-bit Arm."""
    return context.codegen().magic_tuple()[0].startswith(("aarch64", "arm64"))


def on_cuda(builder: Any) -> bool:
    """Return whether an intrinsic is being written out for a CUDA GPU."""
    return builder.module.triple.startswith("nvptx")
