"""Every kernel compiled for four generations of GPUs, without having one."""

import functools
import re
import struct
import types as python_types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from cuda.core import LinkerOptions, ObjectCode
from numba import cuda, types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm
from numba.cuda.typing.typeof import typeof

from seedbed_kernels import fills_cuda, samplers
from seedbed_kernels.samplers import (
    REJECTING,
    NarrowNormal,
    Normal,
    TailNormal,
    TruncatedNormal,
    Uniform,
)

from .kept import kept

CAPABILITIES = ((7, 5), (8, 0), (9, 0), (12, 0))
DTYPES = ("float32", "float64", "int16", "uint16")
SAMPLERS = (Uniform, Normal, TruncatedNormal, NarrowNormal, TailNormal)
KERNELS = [(sampler, dtype) for sampler in SAMPLERS for dtype in DTYPES]
CONSTANTS = ("uint8", "uint16", "uint32", "uint64")

each_kernel = pytest.mark.parametrize(
    ("sampler", "dtype"), KERNELS, ids=lambda value: getattr(value, "__name__", value)
)
each_capability = pytest.mark.parametrize(
    "capability", CAPABILITIES, ids=lambda cc: f"{cc[0]}{cc[1]}"
)


def signature(sampler, dtype):
    real = types.float64 if dtype == "float64" else types.float32
    integers = functools.partial(types.UniTuple, count=fills_cuda.AXES)
    return types.void(
        types.Array(getattr(types, dtype), 1, "C"),
        types.int64,
        types.int64,
        types.uint32,
        types.uint32,
        integers(types.uint32),
        integers(types.int64),
        types.int64,
        types.UniTuple(types.uint64, 3),
        types.NamedUniTuple(real, len(sampler._fields), sampler),
        types.uint32,
    )


@functools.cache
def compiled(function, argument_types, capability, contracting=True):
    """Return PTX; as it types device functions, Numba asks the GPU, of which there is none."""
    with pytest.MonkeyPatch.context() as patch:
        device = python_types.SimpleNamespace(compute_capability=capability)
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        if not contracting:
            compile_ir = nvvm.compile_ir
            options = {"fma": False}
            patch.setattr(
                nvvm, "compile_ir", lambda ir, **given: compile_ir(ir, **given, **options)
            )
        ptx, _ = cuda.compile(function, argument_types, cc=capability, device=False, abi="numba")
    return ptx


@kept
def kernel_ptx(sampler, dtype, capability, contracting=True):
    function = fills_cuda.make_kernel(sampler, dtype)
    return compiled(function, signature(sampler, dtype), capability, contracting)


def instructions(ptx):
    """Return the kernel's instructions, each as a list of its words."""
    lines = ptx[ptx.index("{") :].splitlines()
    words = [re.split(r"[\s,;]+", re.sub(r"^@!?%p\d+", "", line.strip()).strip()) for line in lines]
    return [line for line in words if line[0] and line[0][0].isalpha()]


def opcodes(ptx):
    return [line[0] for line in instructions(ptx)]


def assemble(ptx, capability):
    """Return what the assembler says of registers and memory."""
    arch = f"sm_{capability[0]}{capability[1]}"
    options = LinkerOptions(arch=arch, verbose=True, ptxas_options=["-v"])
    linker = cuda.cudadrv.driver.Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    try:
        linker.link("cubin")
        return linker.get_info_log()
    finally:
        linker.close()


@each_capability
@each_kernel
def test_ptx(sampler, dtype, capability):
    ptx = kernel_ptx(sampler, dtype, capability)
    names = opcodes(ptx)
    real, other = (".f64", ".f32") if dtype == "float64" else (".f32", ".f64")
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert not [name for name in names if name.startswith("call")]
    assert not [name for name in names if other in name]
    assert ".local" not in ptx
    queues = any(name.startswith("st.shared") for name in names)
    assert queues == (sampler in REJECTING)
    # Twice a round a product of 32-bit words, but for one of constants in attempt 0. Bounds are one
    # instruction each. The rest is written out by fma.
    assert names.count("mul.wide.u32") >= 19
    assert {f"max{real}", f"min{real}", f"fma.rn{real}"} <= set(names)
    # Every element's address is worked out in 64 bits.
    width = {"float32": 2, "float64": 3, "int16": 1, "uint16": 1}[dtype]
    addresses = {
        line[1] for line in instructions(ptx) if line[0] == "shl.b64" and line[3] == str(width)
    }
    stores = [line for line in instructions(ptx) if line[0].startswith("st.global")]
    assert stores
    sums = {line[1]: line[2:4] for line in instructions(ptx) if line[0] == "add.s64"}
    for store in stores:
        base = re.match(r"\[(%rd\d+)", store[1])[1]
        assert addresses & set(sums[base])


@each_kernel
def test_nothing_is_contracted(sampler, dtype):
    """A product and a sum stay two roundings; NVVM and the assembler may both make them one."""
    ptx = kernel_ptx(sampler, dtype, (9, 0))
    apart = kernel_ptx(sampler, dtype, (9, 0), contracting=False)
    assert [name.replace(".rn", "") for name in opcodes(ptx)] == [
        name.replace(".rn", "") for name in opcodes(apart)
    ]
    products = set()
    for name, result, *operands in (line for line in instructions(ptx) if len(line) > 2):
        if re.match(r"(add|sub)\.f", name):
            assert not products & set(operands), (name, result, operands)
        moved = re.match(r"(mov|neg|abs|selp)\.(f|b)", name) and products & set(operands)
        if re.match(r"mul\.f", name) or moved:
            products.add(result)


def test_contraction_would_be_seen():
    """The two checks above can fail."""

    def kernel(out):
        i = cuda.grid(1)
        out[i] = out[i] * out[i + 1] + out[i + 2]

    arguments = types.void(types.float32[::1])
    assert "fma.rn.f32" in opcodes(compiled(kernel, arguments, (9, 0)))
    assert "fma.rn.f32" not in opcodes(compiled(kernel, arguments, (9, 0), contracting=False))


@each_capability
@each_kernel
def test_machine_code(sampler, dtype, capability):
    log = assemble(kernel_ptx(sampler, dtype, capability), capability)
    assert " 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    registers = int(re.search(r"Used (\d+) registers", log)[1])
    # Most on Turing; a multiprocessor has 65,536 of them for 1024 to 2048 threads.
    assert registers <= {Uniform: 48, Normal: 56, TruncatedNormal: 104}.get(sampler, 128)


def machine_code(ptx, capability, fusing):
    """Return the instructions that the linker makes, which may fuse a product and a sum or not."""
    arch = f"sm_{capability[0]}{capability[1]}"
    fmad = f"--fmad={str(fusing).lower()}"  # the linker's own option of this name changes nothing
    options = LinkerOptions(arch=arch, ptxas_options=[fmad])
    linker = cuda.cudadrv.driver.Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    try:
        elf = bytes(linker.link("cubin").code)
    finally:
        linker.close()
    (start,) = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    sections = [struct.unpack_from("<I20xQQ", elf, start + i * size) for i in range(count)]
    return [
        elf[at : at + length]
        for name, at, length in sections
        if elf.startswith(b".text.", sections[names][1] + name)
    ]


@each_capability
@each_kernel
def test_the_assembler_fuses_nothing(sampler, dtype, capability):
    ptx = kernel_ptx(sampler, dtype, capability)
    code = machine_code(ptx, capability, fusing=True)
    assert code  # of the kernel, and of square roots in float64
    assert all(code)
    assert machine_code(ptx, capability, fusing=False) == code


def test_fusing_by_the_assembler_would_be_seen():
    def kernel(out):
        i = cuda.grid(1)
        out[i] = out[i] * out[i + 1] + out[i + 2]

    ptx = compiled(kernel, types.void(types.float32[::1]), (9, 0), contracting=False)
    for rounded, changed in ((ptx, False), (re.sub(r"(mul|add)\.rn\.f32", r"\1.f32", ptx), True)):
        fused, apart = (machine_code(rounded, (9, 0), fusing) for fusing in (True, False))
        assert (fused != apart) == changed


@each_capability
@pytest.mark.parametrize("dtype", CONSTANTS)
def test_constant(dtype, capability):
    element, size = getattr(types, dtype), np.dtype(dtype).itemsize
    arguments = types.void(types.Array(element, 1, "C"), element, element)
    ptx = compiled(fills_cuda.make_constant_kernel(), arguments, capability)
    names = opcodes(ptx)
    assert any(re.fullmatch(rf"st\.global\.[ub]{8 * size}", name) for name in names)
    assert ".local" not in ptx
    assert not [name for name in names if ".f" in name or name.startswith("call")]
    assert " 0 bytes stack frame" in assemble(ptx, capability)


def test_every_kernel_is_here():
    kinds = {kind for kind in vars(samplers).values() if hasattr(kind, "_fields")}
    assert {sampler for sampler, _ in KERNELS} == kinds
    assert {dtype for _, dtype in KERNELS} == set(fills_cuda.ROUNDED)


@each_kernel
def test_what_is_compiled_here_is_what_is_launched(monkeypatch, sampler, dtype):
    launched = []

    class Kernel:
        def __getitem__(self, configuration):
            return lambda *arguments: launched.append(arguments)

    monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: Kernel())
    real = np.float64 if dtype == "float64" else np.float32
    parameters = sampler(*[real(1)] * len(sampler._fields))
    out = np.empty(60, dtype)
    key = (np.uint64(7), np.uint64(0), np.uint64(0))
    fills_cuda.fill(out, 2**40, key, parameters, launch=(1, 1))
    fills_cuda.fill_window(out, 3, 2**40, [7, 5], [900, 30], 9, key, parameters, launch=(1, 1))
    for arguments in launched:
        assert tuple(map(typeof, arguments)) == signature(sampler, dtype).args


@pytest.mark.parametrize(("processors", "small", "large"), [(132, 128, 132 * 16), (4, 64, 64)])
def test_how_many_blocks_are_launched(monkeypatch, processors, small, large):
    """Numba warns of fewer than 128, so the few that a small fill needs are padded."""
    launched = []

    class Kernel:
        def __getitem__(self, configuration):
            return lambda *arguments: launched.append(configuration[0])

    device = python_types.SimpleNamespace(MULTIPROCESSOR_COUNT=processors)
    monkeypatch.setattr(fills_cuda.cuda, "get_current_device", lambda: device)
    monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: Kernel())
    monkeypatch.setattr(fills_cuda, "_constant_kernel", Kernel)
    parameters, key = samplers.Uniform(*[np.float32(1)] * 4), (np.uint64(7),) * 3
    for size in (1, 10**9):
        out = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (size,), (0,))
        fills_cuda.fill(out, 0, key, parameters)
        fills_cuda.constant(out.view(np.uint32), 0, 0)
    assert launched == [small, small, large, large]
