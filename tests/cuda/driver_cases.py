"""What `test_driver` has done on `libcuda`, each case in a process of its own."""

import gc
import hashlib
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers
from seedbed.errors import ArgumentError, DeviceError
from seedbed.gpu.staging import Staging
from seedbed_kernels import driver_cuda
from tests import processes

from . import libcuda

INITIALIZERS = {
    "uniform": initializers.RandomUniform(seed=7),
    "truncated": initializers.TruncatedNormal(stddev=0.02, seed=7),
    "constant": initializers.Constant(0.1),
    "identity": initializers.Identity(),
}
SHAPE = (6, 400)


compared = []  # arrays of both


def same(made, expected):
    """Check that an array on a GPU has the bits of one on the host."""
    compared.append(expected)
    found = made.copy_to_host()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


def balanced():
    """Check that nothing is left: no context, no memory, no stream, no event."""
    gc.collect()
    libcuda.flush()
    driver_cuda.free_pending()
    left = libcuda.contexts, libcuda.live, libcuda.pinned, libcuda.streams, libcuda.events
    assert not any(left), left
    assert libcuda.mode == [0]
    assert not libcuda.failures, libcuda.failures


def values():
    """Arrays, windows, rows by number and by key, on either GPU: the CPU's bits."""
    truncated, uniform = INITIALIZERS["truncated"], INITIALIZERS["uniform"]
    for init in INITIALIZERS.values():
        same(init(SHAPE, device="cuda:1"), init(SHAPE))
    for dtype in ("float64", "bfloat16", "float16"):
        same(uniform(SHAPE, dtype, device="cuda"), uniform(SHAPE, dtype))
    window = (slice(2, 5), slice(100, 317))
    same(truncated(SHAPE, window=window, device="cuda"), truncated(SHAPE, window=window))
    ids = np.array([2**40, 3, 2**40, 0])
    for given in (ids, driver_cuda):
        if given is driver_cuda:  # numbers that are on the GPU
            with driver_cuda.gpus[0]:
                given = driver_cuda.to_device(ids, driver_cuda.legacy_default_stream())
        same(uniform((2**41, 50), rows=given, device="cuda"), uniform((2**41, 50), rows=ids))
        same(uniform.keyed(given, 50, device="cuda"), uniform.keyed(ids, 50))
    outside = np.array([5, -1, 7])
    with driver_cuda.gpus[1]:
        given = driver_cuda.to_device(outside, driver_cuda.legacy_default_stream())
    made = uniform((7, 3), rows=given, device="cuda:1").copy_to_host()
    assert np.isnan(made).any(1).tolist() == [False, True, True]
    wider = np.full((4, 70), 7, np.float32)
    with driver_cuda.gpus[0]:
        stream = driver_cuda.stream()
        whole = driver_cuda.to_device(wider.reshape(-1), stream)
    interface = {
        "shape": (4, 50), "typestr": "<f4", "data": (whole.pointer + 20, False),
        "strides": (280, 4), "version": 3, "stream": int(stream),
    }  # fmt: skip
    out = types.SimpleNamespace(__cuda_array_interface__=interface)
    for init in (truncated, INITIALIZERS["constant"], INITIALIZERS["identity"]):
        init((60, 50), rows=range(8, 0, -2), out=out)
        wider[:, 5:55] = init((60, 50), rows=range(8, 0, -2))
        compared.append(found := np.empty_like(wider))
        with driver_cuda.gpus[0]:
            whole.copy_to_host(found.reshape(-1), stream)
            stream.synchronize()
        assert found.tobytes() == wider.tobytes()
    del whole, given, stream, made, out
    balanced()


def tables(folder):
    """A table made on a GPU, through pinned memory, is the one that the CPU makes."""
    from seedbed.cli import main

    files = []
    for device in ("cpu", "cuda:1"):
        path = Path(folder) / f"{device}.npy"
        arguments = ["--shape", "3000x40", "--initializer", "random_uniform", "--seed", "7"]
        assert main(["table", *arguments, "--device", device, "--out", str(path)]) == 0
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert {call[1] for call in libcuda.calls if call[0] == "launch"} == {1}
    balanced()


def without_numba():
    """All kernels are kept: nothing compiles, and nobody imports Numba."""
    values()
    assert not [name for name in sys.modules if name.split(".")[0] in ("numba", "numba_cuda")]


def memory():
    """Arrays that nobody holds are freed when it is worth it, or when there is no room."""
    gc.set_threshold(1 << 30)  # what is freed does not wait to be collected as garbage
    zeros = initializers.Zeros()
    with driver_cuda.gpus[0]:
        made = [driver_cuda.device_array(1000, np.float32) for _ in range(driver_cuda.MANY - 1)]
    libcuda.calls.clear()
    del made
    assert not libcuda.calls  # nobody waits for the GPU for so little
    zeros((3,), device="cuda:1")
    found = sorted(call[0] for call in libcuda.calls)
    assert found == ["allocate", *["free"] * 10, "launch"], libcuda.calls
    libcuda.calls.clear()
    with driver_cuda.gpus[0]:
        small = driver_cuda.device_array(10, np.uint8)
        del small
        large = driver_cuda.device_array(driver_cuda.LARGE, np.uint8)
        assert [call[0] for call in libcuda.calls] == ["allocate", "free", "allocate"]
        view = large.view(np.uint64)[5:]
        del large
        assert len(libcuda.live) == 1
        del view
        assert not libcuda.live
    small = zeros((3,), device="cuda")
    libcuda.free[0] = 10
    del small
    zeros((3,), device="cuda")
    with pytest.raises(MemoryError, match="cuda:0 has not enough free memory"):
        zeros((3000,), device="cuda")
    with driver_cuda.gpus[1]:
        assert driver_cuda.device_array(0, np.float32).pointer == 0
        pinned = driver_cuda.pinned_array(5, np.float32)[2:]
        pinned[:] = 3
    assert len(libcuda.pinned) == 1
    del pinned
    balanced()


def captured():
    """A graph that another thread captures is left alone, whatever is made and freed meanwhile.

    One that captures a fill has nothing in it that reads the memory of the host.
    """
    with driver_cuda.gpus[0]:
        large = driver_cuda.device_array(driver_cuda.LARGE, np.uint8)
        pinned = driver_cuda.pinned_array(9, np.uint8)
        libcuda.captured[0] = True
        del large, pinned
        assert not libcuda.live
        assert not libcuda.pinned
        small = driver_cuda.device_array(9, np.uint8)
        pinned = driver_cuda.pinned_array(9, np.uint8)
        stream = driver_cuda.stream()
    uniform, identity = INITIALIZERS["uniform"], INITIALIZERS["identity"]
    made = uniform(SHAPE, device="cuda:0")  # the kernel is loaded
    libcuda.capturing.add(int(stream))
    libcuda.calls.clear()
    interface = made.__cuda_array_interface__ | {"stream": int(stream)}
    out = types.SimpleNamespace(__cuda_array_interface__=interface)
    ids = np.arange(SHAPE[0])
    with pytest.raises(ArgumentError, match=r"^Identity: values that are computed on the host can"):
        identity(SHAPE, out=out)
    with pytest.raises(ArgumentError, match=r"^RandomUniform: rows on .* rows that are on 'cuda:0"):
        uniform(SHAPE, rows=ids, out=out)
    with pytest.raises(ArgumentError, match=r"^RandomUniform: keys on the host cannot be"):
        uniform.keyed(ids, SHAPE[1], out=out)
    assert not libcuda.calls
    for given in ({}, {"rows": slice(SHAPE[0])}):
        uniform(SHAPE, out=out, **given)
    assert libcuda.calls == [("launch", 0, int(stream))] * 2
    same(made, uniform(SHAPE))
    del made, out, interface
    # What cannot be freed now, as in a callback of CUDA's, is freed later.
    cuda, refused = driver_cuda.call, driver_cuda.CudaError("CUDA_ERROR_NOT_PERMITTED")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver_cuda, "call", lambda name, *given: refuse(name, cuda, refused, *given))
        del small, pinned, stream
        driver_cuda.free_pending()
        assert libcuda.live
    balanced()


def late():
    """Ids on the host may change, or be gone, before the GPU reads them."""
    uniform = INITIALIZERS["uniform"]
    ids = np.array([4, 0, 3])
    expected = uniform(SHAPE, rows=ids), uniform.keyed(ids, SHAPE[1])
    made = uniform(SHAPE, rows=ids, device="cuda"), uniform.keyed(ids, SHAPE[1], device="cuda")
    ids[:] = 5
    others = [np.full_like(ids, 5) for _ in range(1000)]  # in memory that was given back
    assert not libcuda.launched
    same(made[0], expected[0])
    same(made[1], expected[1])
    del made, others
    balanced()


def staged():
    """Memory of the host that a copy is on its way to is not freed before."""
    staging = Staging(1000, "cuda:1")
    part = staging.array(200, np.dtype("float32"))
    INITIALIZERS["uniform"]((200,), out=part)
    staging.send(slice(0, 800))
    assert libcuda.queue
    del staging, part
    assert not libcuda.queue
    balanced()


def benchmark():
    """The benchmark for GPUs compares bits, and times what is installed."""
    from benchmarks import gpu

    gpu.CHUNK, gpu.LAUNCHES, gpu.LENGTHS = 100, [(1, 1), (2, 3)], (1, 129, 131)
    gpu.REPEATS = gpu.WARM_UP = 1
    gpu.RECIPES, gpu.DTYPES = {"uniform": gpu.RECIPES["uniform"]}, ("float16", "float64")
    gpu.LIBRARIES = ("memset", "seedbed")
    compare_launches = gpu.compare_launches
    gpu.compare_launches = lambda source, dtype: compare_launches(source, dtype, 300)
    lines = [*gpu.describe(), *gpu.check_bits(130), *gpu.time_fills(1000)]
    assert lines[:2] == ["# GPU of the tests", "compute capability 9.0, 1 GiB"]
    for line, dtype in zip(lines[3:5], gpu.DTYPES, strict=True):
        drawn = initializers.RandomUniform(-0.05, 0.05, seed=7)((130,), dtype)
        assert line.split()[:5] == ["uniform", dtype, "130", "values", "equal"]
        assert line.endswith(hashlib.sha256(drawn.view(np.uint8)).hexdigest())
    assert lines[5:7] == [
        f"{'uniform':<17} {dtype:<9} 131 values in one launch equal" for dtype in gpu.DTYPES
    ]
    assert lines[9].split(" | ")[1:] == ["80", "80", "1.00", "— |"]  # 20 of 2,000 B in 0.5 µs
    balanced()


def launches():
    """The benchmark of launches times a kernel with others."""
    from benchmarks import gpu_launches

    from seedbed_kernels import fills_cuda

    fills_cuda.WARPS = gpu_launches.ROUNDS = 1
    gpu_launches.RECIPES = gpu_launches.RECIPES[:2]
    gpu_launches.BLOCKS, gpu_launches.LIMITS = (1,), (None, 64)
    with driver_cuda.gpus[0]:
        lines = list(gpu_launches.table(130, ["bfloat16"]))
    assert [line.split()[:2] for line in lines] == [["Uniform", "bfloat16"], ["Normal", "bfloat16"]]
    others = "1 blocks 1.000, no limit 1.000, of 64 registers 1.000"
    assert all(line.endswith(f"GB/s: {others}") for line in lines)
    balanced()


def refuse(name, cuda, refused, *given):
    """Call the driver, which frees nothing."""
    if name == "cuMemFree":
        raise refused
    return cuda(name, *given)


def forked():
    """A child of a process that used CUDA cannot, and is told what to do."""
    zeros = initializers.Zeros()
    made = [zeros((3,), device="cuda")]

    def child():
        for device in ("cuda", "cuda:1"):
            with pytest.raises(DeviceError, match="no fork of one that used CUDA: take spawn"):
                zeros((3,), device=device)
        with pytest.raises(OSError, match="cuda:0 failed: CUDA_ERROR_NOT_INITIALIZED"):
            made[0].copy_to_host()
        made.clear()
        driver_cuda.free_pending()

    with processes.forked(child) as children:
        assert processes.exit_codes(children) == [0]
    same(made.pop(), zeros((3,)))
    balanced()


def streams():
    """Work is queued on the caller's stream, and other streams wait on the GPU."""
    uniform = INITIALIZERS["uniform"]
    with driver_cuda.gpus[0]:
        stream = driver_cuda.stream()
    made = uniform(SHAPE, device="cuda:0")
    libcuda.calls.clear()
    interface = made.__cuda_array_interface__ | {"stream": int(stream)}
    uniform(SHAPE, out=types.SimpleNamespace(__cuda_array_interface__=interface))
    assert libcuda.calls == [("launch", 0, int(stream))]
    libcuda.calls.clear()
    made.__dlpack__(stream=int(stream))
    assert libcuda.calls == [("record", 1), ("wait", int(stream))]
    del made, stream, interface
    balanced()


def gpus():
    """The current GPU stays what it was; a kernel is loaded once for each."""
    assert driver_cuda.get_current_device().id == 0
    with driver_cuda.gpus[1]:
        assert driver_cuda.get_current_device().id == 1
        INITIALIZERS["uniform"](SHAPE, device="cuda:0")
        assert driver_cuda.get_current_device().id == 1
        made = INITIALIZERS["uniform"](SHAPE, device="cuda")
        assert made.device == 1
        assert driver_cuda.device_of(made.pointer + 5) == 1
        assert driver_cuda.device_of(64) is None
    assert len(libcuda.modules) == 2
    del made
    balanced()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as built:
        libcuda.installed(Path(built))
    case, *rest = sys.argv[1:]
    try:
        globals()[case](*rest)
    finally:
        print(*libcuda.failures, sep="\n", file=sys.stderr)
    print(case, len(compared), len(libcuda.launched), "numba" in sys.modules)
