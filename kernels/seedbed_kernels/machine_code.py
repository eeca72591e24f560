"""Compiled kernels kept on the disk and run without Numba.

Importing Numba, and what its own cache needs of it, takes most of a second; many tables take less.
So a kernel with a C interface is compiled by Numba once and kept as an object file, which LLVM
alone loads in later processes. Its name tells all that it depends on: the sources of the kernels,
Numba, LLVM, the processor, and the settings of all of them.

The folder is ``NUMBA_CACHE_DIR`` where that is set, else `__pycache__` here, else one of the user's
own. Where none can be written, every process compiles for itself.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llvmlite import binding

DIGEST = hashlib.sha256().digest_size
# These change where and on how many threads code runs, but not the code.
UNRELATED = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_WARNINGS")

Define = Callable[[], tuple[Callable[..., None], Any]]


def load(name: str, define: Define, arguments: Sequence[Any]) -> Callable[..., None]:
    """Return a compiled kernel as a function that releases the GIL.

    Parameters
    ----------
    name : str
        Of the kernel: no other has it, and its code depends on nothing else but the sources here.
    define : callable
        Returns the Python function of the kernel and its Numba signature, of numbers and pointers;
        only called if the kernel is to be compiled. The kernel must need nothing of Numba as it
        runs: no memory from an allocator, no exception.
    arguments : sequence of ctypes types
        Of the kernel.
    """
    file = f"{name}-{_surroundings()}.o"
    code = next(filter(None, (_read(folder / file) for folder in folders())), None)
    if code is None:
        code = compiled(name, *define())
        _keep(file, code)
    engine = _engine()
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return ctypes.CFUNCTYPE(None, *arguments)(engine.get_function_address(name))


def compiled(name: str, function: Callable[..., None], signature: Any) -> bytes:
    """Return the object code of a kernel, which exports one symbol, its name."""
    import numba
    from numba.core.registry import cpu_target

    kernel = numba.cfunc(signature, error_model="numpy")(function)
    module = binding.parse_assembly(kernel.inspect_llvm())
    for definition in module.functions:
        if definition.name == kernel.native_name:
            definition.name = name
        elif not definition.is_declaration:
            definition.linkage = binding.Linkage.internal
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = binding.Linkage.internal
    context: Any = cpu_target.target_context
    triple, cpu, features = context.codegen().magic_tuple()
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
    return machine.emit_object(module)


def folders() -> list[Path]:
    """Return where kernels may be kept, the best place first."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    here = Path(__file__).with_name("__pycache__")
    if sys.platform == "win32":
        own = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        own = "~/Library/Caches"
    else:
        own = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with contextlib.suppress(RuntimeError):  # no home
        return [here, Path(own).expanduser() / "seedbed"]
    return [here]


def writable_folder() -> Path | None:
    """Return where kernels are kept, or None."""
    for folder in folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return None


def _keep(file: str, code: bytes) -> None:
    """Write a file at once, with a digest first; processes may write the same one together."""
    folder = writable_folder()
    if folder is None:
        return
    partial = folder / f"{file}.{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        try:
            partial.write_bytes(hashlib.sha256(code).digest() + code)
            partial.replace(folder / file)
        finally:
            partial.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """Return the code in a file, or None if there is no such file or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:DIGEST], data[DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


@functools.cache
def _surroundings() -> str:
    """Return a digest of all that compiled kernels depend on besides their names."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    numba = importlib.util.find_spec("numba")  # which does not import it
    if numba is not None and numba.origin is not None:
        digest.update(Path(numba.origin).with_name("_version.py").read_bytes())
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("NUMBA_") and name not in UNRELATED
    }
    features = binding.get_host_cpu_features().flatten()
    words = (binding.llvm_version_info, binding.get_host_cpu_name(), features, settings)
    digest.update(repr((*words[:3], sorted(settings.items()))).encode())
    return digest.hexdigest()[:20]


@functools.cache
def _engine() -> Any:
    """Return what loads object files; the kernels live as long as it does."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
