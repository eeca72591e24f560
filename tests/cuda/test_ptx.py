"""Every kernel compiled for four generations of GPUs, without having one."""

import functools
import json
import re
import struct
import types as python_types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda, types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm
from numba.cuda.typing.typeof import typeof

from seedbed_kernels import driver_cuda, fills_cuda, kernels_cuda, launch_cuda, rows_cuda, samplers
from seedbed_kernels.floats import ROUNDED
from seedbed_kernels.kernels_cuda import signature
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


def chosen(exhaustive):
    """Run tests on all kernels, on those for which a function is true when that is asked for."""
    return pytest.mark.parametrize(
        ("sampler", "dtype"),
        [
            pytest.param(*each, marks=[pytest.mark.exhaustive] * exhaustive(*each))
            for each in KERNELS
        ],
        ids=lambda value: getattr(value, "__name__", value),
    )


# Those of 16 bits are the ones of float32, and round: bfloat16 with two samplers, float16 with one.
# In float64 one sampler that rejects is enough: the others draw again as it does.
each_kernel = chosen(
    lambda sampler, dtype: (
        (dtype == "uint16" and sampler in REJECTING)
        or (dtype == "int16" and sampler is not Uniform)
        or (dtype == "float64" and sampler in (NarrowNormal, TailNormal))
    )
)
each_family = pytest.mark.parametrize("keyed", [False, True], ids=["numbered", "keyed"])
each_capability = pytest.mark.parametrize(
    "capability", CAPABILITIES, ids=lambda cc: f"{cc[0]}{cc[1]}"
)


def compiled(function, argument_types, capability, contracting=True, compile_ir=nvvm.compile_ir):
    """Return PTX; as it types device functions, Numba asks the GPU, of which there is none."""
    with pytest.MonkeyPatch.context() as patch:
        device = python_types.SimpleNamespace(compute_capability=capability)
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        if not contracting:
            patch.setattr(nvvm, "compile_ir", functools.partial(compile_ir, fma=False))
        else:
            patch.setattr(nvvm, "compile_ir", compile_ir)
        ptx, _ = cuda.compile(function, argument_types, cc=capability, device=False, abi="numba")
    return ptx


def kernel(sampler, dtype, capability, keyed):
    return kernels_cuda.drawing(sampler, dtype, keyed, capability).define()


@kept
def kernel_ir(sampler, dtype, capability, keyed=False):
    """Return what Numba hands to NVVM, which takes it a tenth of the time to go on from there."""
    found = []

    def compile_ir(modules, **options):
        found.append(json.dumps([modules, options]))
        return b""

    compiled(*kernel(sampler, dtype, capability, keyed), capability, compile_ir=compile_ir)
    return found[0]


@kept
def kernel_ptx(sampler, dtype, capability, contracting=True, keyed=False):
    alike = (7, 5) if capability < (8, 0) or dtype != "uint16" else (8, 0)
    modules, options = json.loads(kernel_ir(sampler, dtype, alike, keyed=keyed))
    options["arch"] = "compute_{}{}".format(*capability)
    ptx = nvvm.compile_ir(modules, **options, **({} if contracting else {"fma": False}))
    return ptx.decode().strip("\0").strip()


def neutral(ptx):
    """Return a kernel's text without the target and the compiler's names."""
    text = re.sub(r"//[^\n]*|\.(target|version)[^\n]*|\.common[^\n]*", "", ptx)
    for pattern in (r"_ZN\w+?(?=_param_\d|\b)", r"_cudapy_smem_\d+"):
        for number, name in enumerate(dict.fromkeys(re.findall(pattern, text))):
            text = text.replace(name, f"name{number}")
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(filter(None, lines))


def instructions(ptx):
    """Return the kernel's instructions, each as a list of its words."""
    lines = ptx[ptx.index("{") :].splitlines()
    words = [re.split(r"[\s,;]+", re.sub(r"^@!?%p\d+", "", line.strip()).strip()) for line in lines]
    return [line for line in words if line[0] and line[0][0].isalpha()]


def opcodes(ptx):
    return [line[0] for line in instructions(ptx)]


def assemble(ptx, capability, most=None):
    """Return what the assembler says of registers, of which there may be a limit, and memory."""
    arch = f"sm_{capability[0]}{capability[1]}"
    options = LinkerOptions(arch=arch, verbose=True, ptxas_options=["-v"], max_register_count=most)
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    try:
        linker.link("cubin")
        return linker.get_info_log()
    finally:
        linker.close()


@each_capability
@pytest.mark.parametrize(
    ("sampler", "dtype", "keyed"), [(TruncatedNormal, "float32", False), (Normal, "uint16", True)]
)
def test_the_compiler_is_given_the_same_for_all_capabilities(sampler, dtype, keyed, capability):
    """But for bfloat16, for all from 8.0 on, which round to it themselves."""
    ptx = compiled(*kernel(sampler, dtype, capability, keyed), capability)
    assert neutral(ptx) == neutral(kernel_ptx(sampler, dtype, capability, keyed=keyed))
    assert ("cvt.rn.bf16.f32" in ptx) == (dtype == "uint16" and capability >= (8, 0))


def summands(ptx, register):
    """Return all registers that one of 64 bits is a sum of, in a loop or at once."""
    found, left = set(), {register}
    while left:
        found |= left
        given = (line[2:] for line in instructions(ptx)
                 if line[0] in ("add.s64", "mov.u64", "mov.b64") and line[1] in left)  # fmt: skip
        left = {name for names in given for name in names} - found
    return found


@each_family
@each_capability
@each_kernel
def test_ptx(sampler, dtype, capability, keyed):
    ptx = kernel_ptx(sampler, dtype, capability, keyed=keyed)
    names = opcodes(ptx)
    real, other = (".f64", ".f32") if dtype == "float64" else (".f32", ".f64")
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert not [name for name in names if name.startswith("call")]
    assert not [name for name in names if other in name]
    assert ".local" not in ptx
    queues = any(name.startswith("st.shared") for name in names)
    assert queues == (sampler in REJECTING)
    # Twice a round a product of 32-bit words, but for one of constants in attempt 0. Bounds are one
    # instruction each, in float64 a choice; a normal has none. The rest is written out by fma.
    assert names.count("mul.wide.u32") >= 19
    bounds = {"setp.gt.f64", "selp.f64"} if real == ".f64" else {"max.f32", "min.f32"}
    assert f"fma.rn{real}" in names
    assert (bounds <= set(names)) == (sampler is not Normal)
    # Every element's address is worked out in 64 bits.
    width = {"float32": 2, "float64": 3, "int16": 1, "uint16": 1}[dtype]
    addresses = {
        line[1] for line in instructions(ptx) if line[0] == "shl.b64" and line[3] == str(width)
    }
    stores = [line for line in instructions(ptx) if line[0].startswith("st.global")]
    assert stores
    # A group of neighbouring columns is stored at once.
    together = [line for line in stores if ".v4." in line[0] or ".v2." in line[0]]
    assert len(together) == keyed
    for store in stores:
        assert addresses & summands(ptx, re.match(r"\[(%rd\d+)", store[1])[1])


@each_family
@each_kernel
def test_nothing_is_contracted(sampler, dtype, keyed):
    """A product and a sum stay two roundings; NVVM and the assembler may both make them one."""
    ptx = kernel_ptx(sampler, dtype, (9, 0), keyed=keyed)
    apart = kernel_ptx(sampler, dtype, (9, 0), contracting=False, keyed=keyed)
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


@each_family
@each_capability
@each_kernel
def test_machine_code(sampler, dtype, capability, keyed):
    most = kernels_cuda.registers(sampler, dtype, capability, keyed)
    log = assemble(kernel_ptx(sampler, dtype, capability, keyed=keyed), capability, most)
    assert " 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    registers = int(re.search(r"Used (\d+) registers", log)[1])
    # Most on Turing; a multiprocessor has 65,536 of them for 1024 to 2048 threads.
    plain = 64 if keyed or sampler not in REJECTING else 80
    assert registers <= (most or plain)


def machine_code(ptx, capability, fusing):
    """Return the instructions that the linker makes, which may fuse a product and a sum or not."""
    arch = f"sm_{capability[0]}{capability[1]}"
    fmad = f"--fmad={str(fusing).lower()}"  # the linker's own option of this name changes nothing
    options = LinkerOptions(arch=arch, ptxas_options=[fmad])
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
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


@pytest.mark.parametrize(
    "capability",
    [
        (7, 5),
        (9, 0),
        pytest.param((8, 0), marks=pytest.mark.exhaustive),
        pytest.param((12, 0), marks=pytest.mark.exhaustive),
    ],
    ids=["75", "90", "80", "120"],
)
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
    size = np.dtype(dtype).itemsize
    ptx = compiled(*stored("constant", dtype), capability)
    names = opcodes(ptx)
    assert any(re.fullmatch(rf"st\.global\.[ub]{8 * size}", name) for name in names)
    assert ".local" not in ptx
    assert not [name for name in names if ".f" in name or name.startswith("call")]
    assert " 0 bytes stack frame" in assemble(ptx, capability)


def stored(name, dtype):
    """Return a kernel that only stores, and its argument types."""
    return getattr(kernels_cuda, name.replace("-", "_"))(dtype, (9, 0)).define()


@each_capability
@pytest.mark.parametrize("name", ["set-rows", "copy-rows"])
@pytest.mark.parametrize("dtype", CONSTANTS)
def test_rows(dtype, name, capability):
    ptx = compiled(*stored(name, dtype), capability)
    assert ".local" not in ptx
    assert not [name for name in opcodes(ptx) if name.startswith(("call", "div"))]
    assert " 0 bytes stack frame" in assemble(ptx, capability)


def test_every_kernel_is_here():
    kinds = {kind for kind in vars(samplers).values() if hasattr(kind, "_fields")}
    assert {sampler for sampler, _ in KERNELS} == set(kernels_cuda.SAMPLERS) == kinds
    assert {dtype for _, dtype in KERNELS} == set(ROUNDED)


class Launched:
    """Stands for a kernel, and keeps what it is launched with."""

    def __init__(self):
        self.launches = []

    def __getitem__(self, configuration):
        return lambda *arguments: self.launches.append((configuration, arguments))


@each_kernel
def test_what_is_compiled_here_is_what_is_launched(monkeypatch, sampler, dtype):
    monkeypatch.setattr(launch_cuda, "address", lambda array: array.ctypes.data)
    numbered, keyed = Launched(), Launched()
    monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: numbered)
    monkeypatch.setattr(fills_cuda, "_keyed_kernel", lambda sampler, dtype: keyed)
    out, ids = np.empty(2 * 35 * 9, dtype), np.array([2**40, 3], np.uint64)
    parameters, key = sampler(*[1.0] * len(sampler._fields)), fills_cuda.packed_key((7, 0, 0))
    plain, rows, keys = (
        kind(parameters, out.dtype)
        for kind in (fills_cuda.Filler, fills_cuda.RowFiller, fills_cuda.KeyedFiller)
    )
    window = 2**65, [7, 5], [2**40, 30], 9
    plain(out, 0, 60, plain.WHOLE, key, launch=(1, 1))
    plain(out, 3, 60, plain.window(*window), key, launch=(1, 1))
    rows(out, 3, 60, rows.rows(range(9, 1, -8), 2**50, 315, *window), key, launch=(1, 1))
    rows(out, 3, 60, rows.rows(ids, 2**20, 315, 8, [7, 5], [2**10, 30], 9), key, launch=(1, 1))
    keys(out, 3, 60, keys.rows(ids, 5, 50, 51), key, launch=(1, 1))
    assert (len(numbered.launches), len(keyed.launches)) == (4, 1)
    for launches, is_keyed in ((numbered.launches, False), (keyed.launches, True)):
        for _, arguments in launches:
            assert tuple(map(typeof, arguments)) == signature(sampler, dtype, is_keyed).args


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_what_is_compiled_to_store_is_what_is_launched(monkeypatch, dtype):
    out, ids = np.empty(12, dtype), np.array([2**40, 3, 9], np.uint64)
    halves = out[0], out[0]
    for module, name, calls in (
        (fills_cuda, "constant", [lambda: fills_cuda.constant(out, *halves, launch=(1, 1))]),
        (rows_cuda, "set-rows", [
            lambda: rows_cuda.set_rows(out, 3, 2, 4, halves, launch=(1, 1)),
            lambda: rows_cuda.set_rows(out, 3, 2, 4, halves, (ids, 9), launch=(1, 1)),
        ]),
        (rows_cuda, "copy-rows", [
            lambda: rows_cuda.copy_rows(out, out[:6], 3, 2, 4, launch=(1, 1))
        ]),
    ):  # fmt: skip
        kernel = Launched()
        place = f"_{name.partition('-')[0]}_kernel"
        monkeypatch.setattr(module, place, lambda word, kernel=kernel: kernel)
        for call in calls:
            call()
        assert len(kernel.launches) == len(calls)
        for _, arguments in kernel.launches:
            assert tuple(map(typeof, arguments)) == stored(name, dtype)[1].args


@pytest.mark.parametrize(("processors", "small", "large"), [(132, 128, 132 * 24), (4, 96, 96)])
def test_how_many_blocks_are_launched(monkeypatch, processors, small, large):
    """At least 128, if the GPU can have so many."""
    kernel = Launched()
    device = python_types.SimpleNamespace(MULTIPROCESSOR_COUNT=processors)
    monkeypatch.setattr(driver_cuda, "get_current_device", lambda: device)
    monkeypatch.setattr(launch_cuda, "address", lambda array: array.ctypes.data)
    monkeypatch.setattr(fills_cuda, "_kernel", lambda sampler, dtype: kernel)
    monkeypatch.setattr(fills_cuda, "_keyed_kernel", lambda sampler, dtype: kernel)
    monkeypatch.setattr(fills_cuda, "_constant_kernel", lambda word: kernel)
    parameters, key = samplers.Uniform(*[1.0] * 4), fills_cuda.packed_key((7, 0, 0))
    fill, keyed = (
        kind(parameters, np.dtype(np.float32))
        for kind in (fills_cuda.Filler, fills_cuda.KeyedFiller)
    )
    keys = np.zeros(1, np.uint64)
    for size in (1, 10**9):
        out = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (size,), (0,))
        fill(out, 0, size, fill.WHOLE, key)
        keyed(out, 0, size, keyed.rows(keys, 0, size, size), key)
        fills_cuda.constant(out.view(np.uint32), 0, 0)
    assert [blocks for (blocks, *_), _ in kernel.launches] == [small] * 3 + [large] * 3
