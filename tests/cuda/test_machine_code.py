"""The assembler, too, keeps a product and a sum apart: forbidding it to fuse them changes nothing.

The linker's own option ``-fma=0`` is for its intermediate code and does nothing to PTX.
"""

import struct

import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from cuda.bindings import nvjitlink
from numba import cuda, types

from .test_ptx import compiled, each_capability, each_kernel, kernel_ptx


def machine_code(ptx, capability, contracting):
    """Return the bytes of the instructions that a kernel is assembled to."""
    options = [f"-arch=sm_{capability[0]}{capability[1]}"]
    if not contracting:
        options.append("-Xptxas=-fmad=false")
    linker = nvjitlink.create(len(options), options)
    try:
        code = ptx.encode()
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(linker)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, cubin)
    finally:
        nvjitlink.destroy(linker)
    return sections(bytes(cubin), ".text.")


def sections(elf, prefix):
    """Return the contents of the sections of a 64-bit ELF file whose names have a prefix."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
    strings = headers[names][4]
    found = b""
    for name, _, _, _, offset, length in headers:
        begin = strings + name
        if elf[begin : elf.index(b"\0", begin)].decode().startswith(prefix):
            found += elf[offset : offset + length]
    assert found
    return found


@each_capability
@each_kernel
def test_the_assembler_contracts_nothing(sampler, dtype, capability):
    ptx = kernel_ptx(sampler, dtype, capability)
    allowed = machine_code(ptx, capability, contracting=True)
    assert allowed == machine_code(ptx, capability, contracting=False)


@each_capability
def test_a_contraction_would_be_seen(capability):
    """A product and a sum that the compiler left apart make the two codes differ."""

    def kernel(out):
        i = cuda.grid(1)
        out[i] = out[i] * out[i + 1] + out[i + 2]

    arguments = types.void(types.float32[::1])
    ptx = compiled(kernel, arguments, capability, contracting=False)
    apart = ptx.replace("mul.rn.f32", "mul.f32").replace("add.rn.f32", "add.f32")
    assert "fma" not in apart
    allowed = machine_code(apart, capability, contracting=True)
    assert allowed != machine_code(apart, capability, contracting=False)
