"""CUDA kernels compiled, linked and kept on the disk, by the rules `machine_code` has for the CPU.

Compiling and linking a kernel takes up to seconds; the machine code of one GPU (a cubin) is kept
under a name that tells all that it depends on: the kernels' code, the compute capability, the
releases of compiler, linker and `numba-cuda`, and Numba's settings. The processor is not in it: a
container image may be made on one machine and run on another. A process that finds what it needs
never imports Numba.
"""

import contextlib
import importlib.metadata
import os
import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from . import cuda_release, disk_cache, driver_cuda, machine_code

# Of Numba's settings these do not change the code for a GPU.
OTHERS = {
    "NUMBA_CACHE_DIR",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_ENABLE_AVX",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "NUMBA_THREADING_LAYER_PRIORITY",
}

Capability = tuple[int, int]


class Described(NamedTuple):
    """A kernel that may have to be compiled.

    Attributes
    ----------
    name : str
        No other kernel has it, and its code depends on nothing else but the sources here.
    define : callable
        Returns the kernel in Python and its Numba signature; the only one to import Numba.
    registers : int or None
        The most that a thread may have.
    """

    name: str
    define: Callable[[], tuple[Callable[..., None], Any]]
    registers: int | None = None


def load(kernel: Described, capability: Capability) -> tuple[bytes, bytes]:
    """Return the name of a kernel's entry and its machine code, compiled if it is not kept.

    Parameters
    ----------
    kernel : Described
    capability : (int, int)
        Of the GPU, which need not be here.
    """
    file = file_name(kernel, capability)
    content = file and disk_cache.read(file)
    if not content:
        with disk_cache.alone(file):
            content = file and disk_cache.read(file)
            if not content:
                content = b"\0".join(_compiled(kernel, capability))
                machine_code.keep(file, content)
    entry, _, code = content.partition(b"\0")
    return entry, code


def file_name(kernel: Described, capability: Capability) -> str | None:
    """Return what the file of a kernel is called, or None if none may be kept."""
    settings = {name for name in os.environ if name.startswith("NUMBA_")} - OTHERS
    return machine_code.file_name(
        kernel.name,
        "cubin",
        capability,
        cuda_release.compiler(),
        cuda_release.linker() or driver_cuda.get_version(),
        importlib.metadata.version("numba-cuda"),
        [(name, os.environ[name]) for name in sorted(settings)],
        kernel.registers,
        processor=False,
    )


def _compiled(kernel: Described, capability: Capability) -> tuple[bytes, bytes]:
    """Return the name of a kernel's entry, and its machine code."""
    from .cuda_shim import cuda

    function, signature = kernel.define()
    options = {"debug": False, "opt": True, "device": False, "abi": "numba"}
    with _pretending(cuda.dispatcher, capability):
        ptx, _ = cuda.compile(function, signature, cc=capability, **options)
    ptx = re.sub(r"(?m)^\.common .*;\n", "", ptx)  # that nothing uses, in any order
    entry = re.search(r"\.entry\s+([\w$]+)", ptx)
    assert entry is not None
    return entry[1].encode(), cuda_release.link(ptx, capability, kernel.registers)


@contextlib.contextmanager
def _pretending(dispatcher: Any, capability: Capability) -> Iterator[None]:
    """Have Numba take a GPU for the current one, in this thread, as it types device functions.

    So it calls no driver: the GPU need not be here.
    """
    from .compiling import global_compiler_lock, uncollected

    device, thread = SimpleNamespace(compute_capability=capability), threading.get_ident()
    with global_compiler_lock, uncollected():
        others = dispatcher.get_current_device
        dispatcher.get_current_device = lambda: (
            device if threading.get_ident() == thread else others()
        )
        try:
            yield
        finally:
            dispatcher.get_current_device = others
