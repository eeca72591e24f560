"""CUDA's compiler (libNVVM) and linker (nvJitLink), of one release where both are installed.

A linker refuses what a newer compiler writes. PyTorch for CUDA 12 loads the linker of its own
release for the whole process when it is imported, `cuda.bindings` takes the one that is loaded, and
the compiler is that of CUDA 13. `link` takes the linker that is installed beside the compiler then.
"""

import contextlib
import ctypes
import functools
import re
import sys
from pathlib import Path
from typing import Any

Release = tuple[int, int]

# Where the wheels for Linux have the two, by the major version of `cuda.bindings`.
_FILES = {
    "12": ("nvidia/cuda_nvcc/nvvm/lib64/libnvvm.so", "nvidia/nvjitlink/lib/libnvJitLink.so.12"),
    "13": ("nvidia/cu13/lib/libnvvm.so.4", "nvidia/cu13/lib/libnvJitLink.so.13"),
}
_EMPTY = """\
target triple = "nvptx64-nvidia-cuda"
target datalayout = "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-i128:128:128-\
f32:32:32-f64:64:64-v16:16:16-v32:32:32-v64:64:64-v128:128:128-n16:32:64"
!nvvmir.version = !{{!0}}
!0 = !{{i32 {}, i32 {}, i32 {}, i32 {}}}
"""
_KINDS = {"cubin": 1, "ptx": 2, "ltoir": 3, "fatbin": 4, "object": 5, "library": 6}  # nvJitLink's
_OLDEST_LINKER = (12, 3)  # that `cuda.core` takes: where it is older, the driver links


@functools.cache
def _own() -> ctypes.CDLL | None:
    """Return the wheels' linker where the one that `cuda.bindings` takes is too old; else None."""
    library, compiled = _load(), compiler()
    if library is None or compiled is None:
        return None
    release = _version(library)
    return library if (_bound() or release) < compiled <= release else None


@functools.cache
def _load() -> ctypes.CDLL | None:
    """Load the wheels' compiler, so that it is the one found, and their linker; return this."""
    try:
        from cuda.bindings import __version__
    except ImportError:
        return None
    files = _FILES.get(__version__.split(".")[0], ("?",))
    for folder in sys.path:
        paths = [Path(folder, file) for file in files]
        if all(path.is_file() for path in paths):
            with contextlib.suppress(OSError):
                return [ctypes.CDLL(str(path)) for path in paths][-1]
    return None


@functools.cache
def compiler() -> Release | None:
    """Return the release of the compiler, as it writes it into its code; None without one."""
    _load()
    try:
        from cuda.bindings import nvvm  # pyright: ignore[reportAttributeAccessIssue]

        program = nvvm.create_program()
    except (ImportError, RuntimeError):
        return None
    try:
        code = _EMPTY.format(*nvvm.ir_version()).encode()
        nvvm.add_module_to_program(program, code, len(code), "empty")
        nvvm.compile_program(program, 1, ["-arch=compute_75"])
        ptx = bytearray(nvvm.get_compiled_result_size(program))
        nvvm.get_compiled_result(program, ptx)
    finally:
        nvvm.destroy_program(program)
    found = re.search(r"release (\d+)\.(\d+)", ptx.decode())
    return None if found is None else (int(found[1]), int(found[2]))


def linker() -> Release | None:
    """Return the release of the linker in use; None without one, where the driver links."""
    own = _own()
    return _bound() if own is None else _version(own)


def _bound() -> Release | None:
    """Return the release of the linker that `cuda.bindings` takes."""
    try:
        from cuda.bindings import nvjitlink  # pyright: ignore[reportAttributeAccessIssue]

        major, minor = nvjitlink.version()
    except (ImportError, RuntimeError):
        return None
    return (major, minor) if (major, minor) >= _OLDEST_LINKER else None


def link(ptx: str, capability: tuple[int, int], registers: int | None) -> bytes:
    """Return the machine code of PTX for a GPU; a thread may have only so many registers."""
    from cuda.core import Linker as CoreLinker  # pyright: ignore[reportAttributeAccessIssue]
    from cuda.core import LinkerOptions, ObjectCode  # pyright: ignore[reportAttributeAccessIssue]

    own = _own()
    make = CoreLinker if own is None else functools.partial(Linker, own)
    options = LinkerOptions(arch="sm_{}{}".format(*capability), max_register_count=registers)
    linker = make(ObjectCode.from_ptx(ptx.encode()), options=options)
    try:
        return bytes(linker.link("cubin").code)
    finally:
        linker.close()


@functools.cache
def capabilities() -> list[tuple[int, int]]:
    """Return the compute capabilities that the compiler's release knows, as `numba.cuda` asks."""
    try:
        from cuda.bindings import nvrtc  # pyright: ignore[reportAttributeAccessIssue]

        error, known = nvrtc.nvrtcGetSupportedArchs()
    except (ImportError, RuntimeError):
        return []
    return [] if error else [divmod(number, 10) for number in known]


def _version(library: ctypes.CDLL) -> Release:
    major, minor = ctypes.c_uint(), ctypes.c_uint()
    library.nvJitLinkVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


class Linker:
    """A linker like that of `cuda.core`, with a library of our choice.

    Parameters
    ----------
    library : ctypes.CDLL
        nvJitLink.
    *codes : cuda.core.ObjectCode
    options : cuda.core.LinkerOptions
    """

    def __init__(self, library: ctypes.CDLL, *codes: Any, options: Any) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        flags = options.as_bytes("nvjitlink")
        array = (ctypes.c_char_p * len(flags))(*flags)
        self._call("Create", ctypes.byref(self._handle), ctypes.c_uint32(len(flags)), array)
        for code in codes:
            data, name = bytes(code.code), str(code.name).encode()
            size, kind = ctypes.c_size_t(len(data)), _KINDS[str(code.code_type)]
            self._call("AddData", self._handle, kind, data, size, name)

    def link(self, kind: str) -> Any:
        """Return the linked code, as a `cuda.core.ObjectCode`: "cubin" or "ptx"."""
        from cuda.core import ObjectCode  # pyright: ignore[reportAttributeAccessIssue]

        self._call("Complete", self._handle)
        return getattr(ObjectCode, f"from_{kind}")(self._bytes(f"GetLinked{kind.title()}"))

    def get_error_log(self) -> str:
        """Return what went wrong."""
        return self._bytes("GetErrorLog").rstrip(b"\0").decode()

    def get_info_log(self) -> str:
        """Return what the linker says besides."""
        return self._bytes("GetInfoLog").rstrip(b"\0").decode()

    def close(self) -> None:
        """Free the linker's memory."""
        if self._handle:
            self._library.nvJitLinkDestroy(ctypes.byref(self._handle))

    __del__ = close

    def _bytes(self, name: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"{name}Size", self._handle, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(name, self._handle, buffer)
        return buffer.raw

    def _call(self, name: str, *arguments: Any) -> None:
        error = getattr(self._library, f"nvJitLink{name}")(*arguments)
        if error:
            log = "" if name in ("Create", "GetErrorLogSize") else f": {self.get_error_log()}"
            raise RuntimeError(f"nvJitLink{name} failed with error {error}{log}")
