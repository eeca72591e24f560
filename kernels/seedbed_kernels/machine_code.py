"""Compiled kernels kept on the disk and run without Numba.

Importing Numba, and what its own cache needs of it, takes most of a second; many tables take less.
So a kernel with a C interface is compiled by Numba once and kept as an object file, which LLVM
alone links in later processes. Its name tells all that it depends on: the code of the kernels,
Numba, LLVM, the processor, and the settings of all of them.
"""

import ctypes
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite
from llvmlite import binding

from . import digest, disk_cache

# Of Numba's settings these decide what code a kernel becomes; `compiling.by_default` sees to it
# that no other does.
SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")

Define = Callable[[], tuple[Callable[..., None], Any]]

_linked: list[Any] = []  # the kernels live as long as these


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

    Raises
    ------
    RuntimeError
        If the kernel needs anything that this process does not have.
    """
    file = file_name(name, "o")
    code = file and disk_cache.read(file)
    if not code:
        with disk_cache.alone(file):
            code = file and disk_cache.read(file)
            if not code:
                from .compiling import object_code

                code = object_code(name, *define())
                _link(name, code)  # what cannot be linked is not kept
                keep(file, code)
    return ctypes.CFUNCTYPE(None, *arguments)(_link(name, code))


def file_name(name: str, suffix: str, *more: object, processor: bool = True) -> str | None:
    """Return what a file of compiled code is called, or None if none may be kept.

    Parameters
    ----------
    name, suffix : str
        The first and last part of it.
    more
        What this code depends on besides the kernels' code, Numba, LLVM, processor and settings.
    processor : bool
        Whether it depends on this machine's processor, and the settings of it.
    """
    code = _code()
    if code is None:
        return None
    words = (code, sys.implementation.cache_tag, llvmlite.__version__, *more)
    if processor:
        words += (*_host(), [os.environ.get(setting) for setting in SETTINGS])
    return f"{name}-{hashlib.sha256(repr(words).encode()).hexdigest()[:20]}.{suffix}"


def keep(file: str | None, code: bytes) -> None:
    """Keep compiled code, unless another release may have come while it was made."""
    if file is not None and _code() == _code.__wrapped__():
        disk_cache.keep(file, code)


@functools.cache
def _code() -> str | None:
    """Return a digest of the code that kernels are made of and that makes them."""
    return digest.of(str(__package__), "numba._version")


@functools.cache
def _host() -> tuple[Any, ...]:
    """Return what LLVM is, and what it says of the processor."""
    features = binding.get_host_cpu_features().flatten()
    return binding.llvm_version_info, binding.get_host_cpu_name(), features


def assembled(name: str, text: str) -> int:
    """Return the address of a function in LLVM's language, with assembly in it."""
    binding.initialize_native_target()
    binding.initialize_native_asmparser()
    parts = binding.JITLibraryBuilder().add_ir(text).export_symbol(name)
    _linked.append(parts.link(_linker(), name))
    return _linked[-1][name]


@functools.cache
def _linker() -> Any:
    """Return what links object files; unlike MCJIT it does not end the process if it cannot."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.create_lljit_compiler(suppress_errors=True)


def _link(name: str, code: bytes) -> int:
    """Return the address of a kernel in an object file."""
    parts = binding.JITLibraryBuilder().add_object_img(code).add_current_process()
    try:
        library = parts.export_symbol(name).link(_linker(), f"{name} {len(_linked)}")
    except RuntimeError as error:
        words = {word.decode() for word in re.findall(rb"(?<=\0)_*[a-z]\w+(?=\0)", code)}
        missing = sorted(w for w in words - {name} if not binding.address_of_symbol(w))
        needed = ", ".join(missing) or str(error)
        raise RuntimeError(f"kernel {name} needs {needed} as it runs") from None
    _linked.append(library)
    return library[name]
