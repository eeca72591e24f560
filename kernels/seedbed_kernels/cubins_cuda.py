"""Linked CUDA kernels kept on the disk, under the rules that `machine_code` has for the CPU's.

Compiling and linking a kernel takes up to seconds; the machine code of one GPU (a cubin) is kept
under a name that tells all that it depends on: the kernels' code, the compute capability, the
releases of compiler, linker and `numba-cuda`, Numba's settings and the types of the arguments.
The processor is not in it: a container image may be made on one machine and run on another.
`numba-cuda` still packs the arguments and launches, so a process imports Numba all the same.
"""

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from numba import types

from . import cuda_release, disk_cache, machine_code
from .compiling import SIMULATED
from .cuda_shim import cuda

# Of Numba's settings this one decides where code is kept, and not what it is.
PLACE = "NUMBA_CACHE_DIR"


def compiled(name: str, function: Callable[..., None], registers: int | None = None) -> Any:
    """Return what launches a kernel: what `cuda.jit` returns, with machine code from the disk.

    Parameters
    ----------
    name : str
        Of the kernel: no other has it, and its code depends on nothing else but the sources here.
    function : callable
        The kernel in Python.
    registers : int, optional
        The most that a thread may have.
    """
    if SIMULATED:
        return cuda.jit(function)
    options: dict[str, Any] = {} if registers is None else {"max_registers": registers}
    dispatcher = cuda.jit(**options)(function)
    cubins = Cubins(name, registers)
    compile_now = dispatcher.compile

    def compile_alone(signature: Any) -> Any:
        file = cubins.file(signature)
        if file is None or disk_cache.read(file):
            return compile_now(signature)
        with disk_cache.alone(file):
            return compile_now(signature)

    dispatcher._cache, dispatcher.compile = cubins, compile_alone
    return dispatcher


def keep_ahead(
    name: str,
    function: Callable[..., None],
    registers: int | None,
    signature: Any,
    capability: tuple[int, int],
) -> None:
    """Compile and keep a kernel, unless it is kept already, for a GPU that need not be here.

    Meanwhile no other thread may work on a GPU.

    Parameters
    ----------
    name, function, registers
        As `compiled` takes them.
    signature : Numba signature
        The types of the arguments that it will be launched with.
    capability : (int, int)
        Of the GPU.
    """
    kernel = compiled(name, function, registers)
    with _pretending(capability):
        file = kernel._cache.file(signature)
        if file is None or disk_cache.read(file):
            return
        with disk_cache.alone(file):
            made = cuda.dispatcher._Kernel(function, _types(signature), **kernel.targetoptions)
            kernel._cache.save_overload(signature, made)


@contextlib.contextmanager
def _pretending(capability: tuple[int, int]) -> Iterator[None]:
    """Have Numba compile for a GPU as if it were the current one; there is no other way to say so.

    It asks for it where it types device functions, and where it links.
    """
    device = SimpleNamespace(compute_capability=capability)
    devices = cuda.cudadrv.devices
    replaced = [
        (cuda, "get_current_device", lambda: device),
        (cuda.dispatcher, "get_current_device", lambda: device),
        (devices, "get_context", lambda *_: SimpleNamespace(device=device)),
    ]
    with contextlib.ExitStack() as restored:
        for place, attribute, stand_in in replaced:
            restored.callback(setattr, place, attribute, getattr(place, attribute))
            setattr(place, attribute, stand_in)
        yield


class Cubins:
    """What `numba.cuda` asks before it compiles, and tells afterwards."""

    def __init__(self, name: str, registers: int | None) -> None:
        self.name, self.registers = name, registers

    def file(self, signature: Any) -> str | None:
        """Return what the file for some argument types is called, or None if none may be kept."""
        driver = cuda.cudadrv.driver
        settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_"))
        return machine_code.file_name(
            self.name,
            "cubin",
            tuple(cuda.get_current_device().compute_capability),
            cuda_release.compiler(),
            cuda_release.linker() or driver.get_version(),
            importlib.metadata.version("numba-cuda"),
            [(k, v) for k, v in settings if k != PLACE],
            self.registers,
            str(_types(signature)),
            processor=False,
        )

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the kernel for some argument types, or None if it is to be compiled."""
        file = self.file(signature)
        content = file and disk_cache.read(file)
        if not content:
            return None
        entry, _, code = content.partition(b"\0")
        name, arguments = entry.decode(), types.void(*_types(signature))
        with contextlib.suppress(AttributeError, TypeError):  # of another release of `numba-cuda`
            library = cuda.codegen.CUDACodeLibrary(None, self.name, name, self.registers)
            cubin = cuda.cudadrv.driver.ObjectCode.from_cubin(code)
            library._cubin_cache[library._ensure_cc(None)] = cubin
            library._finalized = True
            kernel = cuda.dispatcher._Kernel
            return kernel._rebuild(False, name, arguments, library, False, False, None, [])
        return None

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep a kernel that has just been compiled."""
        with contextlib.suppress(AttributeError, TypeError):
            content = kernel.entry_name.encode() + b"\0" + kernel._codelibrary.get_cubin().code
            machine_code.keep(self.file(signature), content)


def _types(signature: Any) -> tuple[Any, ...]:
    return tuple(getattr(signature, "args", signature))
