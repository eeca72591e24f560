"""What only a GPU can show: other libraries' arrays, streams, long arrays, every square root."""

import numpy as np
import pytest

from seedbed import initializers
from seedbed.values.fill import sample
from seedbed.values.recipes import Constant, Normal, TruncatedNormal, Uniform
from seedbed.values.seeds import Stream
from seedbed_kernels import floats, gaussian
from seedbed_kernels.cuda_shim import cuda
from tests.kernels import test_contract as contract

pytestmark = pytest.mark.cuda

STREAM = Stream(7)
SHAPE = (1000, 130)
SOURCES = (
    Uniform(-1.0, 1.0),
    Normal(0.0, 1.0),
    TruncatedNormal(0.0, 1.0),
    TruncatedNormal(0.0, 1.0, 0.5, 0.6),
    TruncatedNormal(0.0, 1.0, 3.0, 9.0),
)


def bits(values):
    return np.ascontiguousarray(values).tobytes()


@pytest.mark.parametrize(("kind", "dtype"), contract.CASES)
def test_a_million_and_one(kind, dtype):
    source, shape = contract.KINDS[kind](*contract.PARAMETERS[kind]), (1_000_001,)
    on_gpu = sample(source, shape, dtype, stream=STREAM, device="cuda").copy_to_host()
    assert bits(on_gpu) == bits(sample(source, shape, dtype, stream=STREAM))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_more_elements_than_32_bits_count(source):
    count = 2**32 + 3
    free, _ = cuda.current_context().get_memory_info()
    if free < 2 * count + 2**28:
        pytest.skip(f"the GPU has {free:,} bytes free, fewer than {2 * count:,}")
    on_gpu = sample(source, (count,), "bfloat16", stream=STREAM, device="cuda")
    for start, stop in ((0, 1000), (2**31 - 500, 2**31 + 500), (2**32 - 500, count)):
        window = (slice(start, stop),)
        on_cpu = sample(source, (count,), "bfloat16", stream=STREAM, window=window)
        assert bits(on_gpu[start:stop].copy_to_host()) == bits(on_cpu)


@pytest.fixture
def torch():
    """PyTorch, if it uses the GPU."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU")
    return torch


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_torch(torch, dtype):
    on_cpu = sample(SOURCES[1], SHAPE, dtype, stream=STREAM)
    array = sample(SOURCES[1], SHAPE, dtype, stream=STREAM, device="cuda")
    taken = torch.from_dlpack(array)
    assert taken.data_ptr() == array.pointer
    assert taken.dtype == getattr(torch, dtype)
    assert bits(taken.cpu().view(torch.uint8).numpy()) == bits(on_cpu)
    out = torch.zeros(SHAPE, dtype=taken.dtype, device="cuda")
    assert sample(SOURCES[1], SHAPE, stream=STREAM, out=out) is out
    assert torch.equal(out.view(torch.uint8), taken.view(torch.uint8))
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        out = torch.zeros(SHAPE, dtype=taken.dtype, device="cuda")
        sample(SOURCES[1], SHAPE, stream=STREAM, out=out)
        copy = out.clone()
    side.synchronize()
    assert torch.equal(copy.view(torch.uint8), taken.view(torch.uint8))
    with pytest.raises(ValueError, match="C-contiguous"):
        sample(SOURCES[1], SHAPE, stream=STREAM, out=torch.zeros(SHAPE[::-1], device="cuda").T)
    wider = torch.full((3, 200), 7.0, dtype=taken.dtype, device="cuda")
    for source in (SOURCES[1], Constant(2.0), Constant(np.arange(130.0))):
        sample(source, SHAPE, stream=STREAM, rows=[9, 0, 9], out=wider[:, 5:135])
        on_cpu = sample(source, SHAPE, dtype, stream=STREAM, rows=[9, 0, 9])
        assert bits(wider[:, 5:135].contiguous().cpu().view(torch.uint8).numpy()) == bits(on_cpu)
        assert bool((wider[:, :5] == 7).all() and (wider[:, 135:] == 7).all())


def test_a_new_tensor_of_pytorch(torch):
    from seedbed.torch import tensor

    init = initializers.TruncatedNormal(seed=7)
    before = torch.cuda.memory_allocated()
    made = tensor(init, SHAPE, device="cuda")
    assert torch.cuda.memory_allocated() - before >= made.nbytes
    assert bits(made.cpu().numpy()) == bits(init(SHAPE))
    ids = torch.tensor([5, 0, 5], device="cuda")
    assert bits(tensor(init, SHAPE, device="cuda", rows=ids).cpu().numpy()) == bits(
        init(SHAPE, rows=[5, 0, 5])
    )


def test_a_captured_fill(torch):
    init, ids = initializers.TruncatedNormal(seed=7), [5, 0, 5]
    on_gpu = torch.tensor(ids, device="cuda")
    out, rows = (torch.zeros(shape, device="cuda") for shape in (SHAPE, (3, SHAPE[1])))
    init(SHAPE, out=out)
    init(SHAPE, rows=on_gpu, out=rows)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        init(SHAPE, out=out)
        init(SHAPE, rows=on_gpu, out=rows)
        initializers.RandomUniform(seed=7)(SHAPE, "float32", device="cuda")  # another stream's
        with pytest.raises(ValueError, match="rows on the host cannot be captured"):
            init(SHAPE, rows=ids, out=rows)
        with pytest.raises(ValueError, match="computed on the host cannot be captured"):
            initializers.Identity()(SHAPE, out=out)
    for _ in range(2):
        out.zero_()
        rows.zero_()
        graph.replay()
        assert bits(out.cpu().numpy()) == bits(init(SHAPE))
        assert bits(rows.cpu().numpy()) == bits(init(SHAPE, rows=ids))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_cupy(dtype):
    cupy = pytest.importorskip("cupy")
    on_cpu = sample(SOURCES[0], SHAPE, dtype, stream=STREAM)
    array = sample(SOURCES[0], SHAPE, dtype, stream=STREAM, device="cuda")
    for taken in (cupy.asarray(array), cupy.from_dlpack(array)):
        assert taken.data.ptr == array.pointer
        assert bits(taken.get()) == bits(on_cpu)
    with cupy.cuda.Stream(non_blocking=True) as side:
        out = cupy.zeros(SHAPE, dtype)
        sample(SOURCES[0], SHAPE, stream=STREAM, out=out)
        copy = out.copy()
        side.synchronize()
    assert bits(copy.get()) == bits(on_cpu)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax(dtype):
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX has no GPU here")
    array = sample(SOURCES[2], SHAPE, dtype, stream=STREAM, device="cuda")
    taken = jax.dlpack.from_dlpack(array)
    assert taken.unsafe_buffer_pointer() == array.pointer
    assert bits(np.asarray(taken)) == bits(sample(SOURCES[2], SHAPE, dtype, stream=STREAM))


def test_numba():
    out = cuda.device_array(SHAPE, np.float32)
    sample(SOURCES[0], SHAPE, stream=STREAM, out=out)
    assert bits(out.copy_to_host()) == bits(sample(SOURCES[0], SHAPE, stream=STREAM))


def test_windows_of_every_rank():
    random = np.random.default_rng(5)
    for _ in range(60):
        rank = random.integers(1, 7)
        shape = tuple(int(size) for size in random.integers(1, 30, rank))
        window = tuple(
            slice(*sorted(int(bound) for bound in random.integers(0, size + 1, 2)))
            for size in shape
        )
        source = SOURCES[random.integers(3)]
        on_gpu = sample(source, shape, stream=STREAM, window=window, device="cuda")
        on_cpu = sample(source, shape, stream=STREAM, window=window)
        assert bits(on_gpu.copy_to_host()) == bits(on_cpu), (source, shape, window)


def test_every_square_root():
    """The square root written out for CUDA is rounded right wherever the logarithm leads it."""

    @cuda.jit
    def roots(out, first):
        i = cuda.grid(1)
        if i < out.size:
            x = floats.bits_float32(np.int32(first + i))
            out[i] = floats.float32_bits(gaussian.square_root(x))

    size = 2**24
    out = cuda.device_array(size, np.int32)
    first, last = (int(np.float32(x).view(np.int32)) for x in (2.0**-100, 2.0**100))
    for start in range(first, last, size):
        roots[size // 256, 256](out, start)
        x = np.arange(start, start + size, dtype=np.int32).view(np.float32)
        np.testing.assert_array_equal(out.copy_to_host(), np.sqrt(x).view(np.int32))
    for zero in (0.0, -0.0):
        roots[1, 32](out[:1], int(np.float32(zero).view(np.int32)))
        assert out[:1].copy_to_host()[0] == np.float32(zero).view(np.int32)


@pytest.mark.parametrize(("kind", "dtype"), contract.CASES)
def test_golden_hash(kind, dtype):
    source = contract.KINDS[kind](*contract.PARAMETERS[kind])
    stream = Stream(20260101, 1)
    on_gpu = sample(source, contract.GOLDEN_SHAPE, dtype, stream=stream, device="cuda")
    assert contract.digest(on_gpu.copy_to_host()) == contract.GOLDEN[f"{kind} {dtype}"]
