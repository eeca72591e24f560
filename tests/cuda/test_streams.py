"""On which CUDA streams work is queued, in which order, and that nobody waits; with a stand-in."""

import gc
import sys
import types
import weakref

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from seedbed import initializers
from seedbed.gpu import DeviceArray, dlpack
from seedbed_kernels import driver_cuda

from . import standin

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (6, 4)


@pytest.fixture
def gpu(monkeypatch):
    return standin.installed(monkeypatch)


class Foreign:
    """An array on a GPU, of a library that names its stream or does not."""

    def __init__(self, dtype=np.float32, shape=SHAPE, number=0, **interface):
        self.values = np.zeros(shape, dtype)
        self.shape, self.dtype, self.number = shape, self.values.dtype, number
        self.asked = []
        if interface:
            data = (self.values.ctypes.data, False)
            described = {"shape": shape, "typestr": self.dtype.str, "data": data, "version": 3}
            self.__cuda_array_interface__ = described | interface

    def __dlpack_device__(self):
        return dlpack.CUDA, self.number

    def __dlpack__(self, *, stream, max_version=None):
        self.asked.append(stream)
        pointer, device = self.values.ctypes.data, self.__dlpack_device__()
        return dlpack.export(pointer, self.shape, self.dtype, device, self.values)


@pytest.mark.parametrize("handle", [1, 2, 77])
def test_a_stream_that_is_named_takes_the_work_and_nobody_waits(gpu, handle):
    """So do arrays of CuPy and Numba."""
    out = Foreign(stream=handle)
    assert INIT(SHAPE, out=out) is out
    assert gpu.calls == [("kernel", handle)]
    assert out.asked == [-1]


def test_without_a_stream_the_host_waits_once(gpu):
    out = Foreign()
    INIT(SHAPE, out=out)
    assert gpu.calls == [("kernel", 1), ("synchronize", 1)]
    assert out.asked == [1]


def test_ids_and_values_on_one_stream(gpu):
    ids = Foreign(np.int64, (6,), stream=77)
    made = INIT((100, 4), rows=ids, device="cuda")
    assert gpu.calls == [("allocate", 96), ("kernel", 77), ("set_kernel", 77)]
    assert made.handle == 77
    gpu.calls.clear()
    made = INIT.keyed(ids, 4, device="cuda")
    assert gpu.calls == [("allocate", 96), ("keyed_kernel", 77)]


def test_ids_on_another_stream_are_waited_for_on_the_gpu(gpu):
    """And their stream waits for the kernel: their memory may be given away afterwards."""
    ids, out = Foreign(np.uint64, (6,), stream=77), Foreign(stream=78)
    INIT.keyed(ids, 4, out=out)
    assert gpu.calls == [("wait", 78, "for", 77), ("keyed_kernel", 78), ("wait", 77, "for", 78)]


def test_ids_of_a_library_that_names_no_stream_are_kept_until_they_are_read(gpu):
    out = Foreign(stream=78)
    INIT.keyed(Foreign(np.uint64, (6,)), 4, out=out)
    assert gpu.calls == [("wait", 78, "for", 1), ("keyed_kernel", 78), ("synchronize", 78)]


class OfJax(Foreign):
    """An array that never changes, of a library that names no stream."""


@pytest.fixture
def jax(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(Array=OfJax))


@pytest.mark.parametrize("part", [lambda made: made, lambda made: made[2:].reshape((16,))])
def test_ids_of_jax_live_as_long_as_what_is_made_of_them_and_nobody_waits(gpu, jax, part):
    """JAX has their stream's work waited for on the GPU; nobody else can use their memory again."""
    ids = OfJax(np.int64, (6,))
    alive = weakref.ref(ids)
    made = part(INIT((100, 4), rows=ids, device="cuda"))
    assert gpu.calls == [("allocate", 96), ("kernel", 1), ("set_kernel", 1)]
    assert ids.asked == [1]
    del ids
    gc.collect()
    assert alive() is not None
    del made
    gc.collect()
    assert alive() is None


def test_ids_are_waited_for_where_nothing_can_keep_them_or_they_may_change(gpu, jax):
    made = INIT((100, 4), rows=OfJax(np.int64, (6,)), device="cuda")
    for kind, out, handle in (
        (OfJax, Foreign(stream=78), 78), (OfJax, made, 1), (Foreign, None, 1)
    ):  # fmt: skip
        gpu.calls.clear()
        INIT.keyed(kind(np.uint64, (6,)), 4, out=out, device="cuda")
        assert gpu.calls[-2:] == [("keyed_kernel", handle), ("synchronize", handle)]


def test_ids_on_another_gpu_are_refused(gpu):
    message = "rows are on 'cuda:1' but the values are made on 'cuda:0': give device='cuda:1'"
    with pytest.raises(ValueError, match=message):
        INIT((100, 4), rows=Foreign(np.int64, (6,), 1, stream=1), device="cuda:0")
    with pytest.raises(ValueError, match="keys are on 'cuda:1' but the values are made on 'cuda:"):
        INIT.keyed(Foreign(np.int64, (6,), 1, stream=1), 4, out=Foreign(stream=1))
    assert not gpu.calls


@pytest.mark.parametrize(
    ("init", "calls"),
    [
        (INIT, [("kernel", 77)]),
        (initializers.Zeros(), [("set_kernel", 77)]),
        (initializers.Identity(), [("copy", 77), ("copy_kernel", 77), ("synchronize", 77)]),
    ],
)
def test_rows_of_a_wider_array_are_filled_where_they_are(gpu, monkeypatch, init, calls):
    monkeypatch.setattr(driver_cuda, "device_of", lambda pointer: 0)
    interface = {"shape": SHAPE, "typestr": "<f4", "data": (4096, False), "strides": (64, 4)}
    out = types.SimpleNamespace(__cuda_array_interface__={**interface, "stream": 77})
    assert init((100, 4), rows=slice(0, 60, 10), out=out) is out
    assert gpu.calls == calls


@pytest.mark.parametrize(
    ("stream", "waits"),
    [(None, [("wait", 1, "for", 77)]), (1, [("wait", 1, "for", 77)]), (77, []), (-1, []),
     (2, [("wait", 2, "for", 77)]), (78, [("wait", 78, "for", 77)])],
)  # fmt: skip
def test_a_consumers_stream_waits_as_dlpack_says(gpu, stream, waits):
    memory = standin.Memory(gpu, 96)
    array = DeviceArray(memory, SHAPE, np.dtype(np.float32), 0, standin.Stream(gpu, 77))
    array.__dlpack__(stream=stream)
    assert gpu.calls == waits


@pytest.mark.parametrize("stream", [0, -2])
def test_streams_that_dlpack_does_not_have_are_refused(gpu, stream):
    memory = standin.Memory(gpu, 96)
    array = DeviceArray(memory, SHAPE, np.dtype(np.float32), 0, standin.Stream(gpu, 1))
    with pytest.raises(BufferError, match=f"stream must be None, -1, 1, 2 or .* given {stream}:"):
        array.__dlpack__(stream=stream)


def test_arrays_of_jax_are_not_written_to(gpu):
    """They are immutable, and XLA shares their memory; DLPack and the interface do not say so."""
    jax = pytest.importorskip("jax")
    message = "out must be writable; given a jax.Array, which never is: take seedbed.jax.array"
    for init in (INIT, initializers.Zeros()):
        with pytest.raises(ValueError, match=message):
            init(SHAPE, out=jax.numpy.zeros(SHAPE))
    assert not gpu.calls


# --- "cuda" without a number --------------------------------------------------------------------


@pytest.mark.parametrize("current", [0, 1])
def test_it_is_the_current_gpu(gpu, monkeypatch, current):
    """That of the thread, which CuPy, Numba and CUDA set; without one it is 0."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    gpu.current = current
    assert INIT(SHAPE, device="cuda").device == current
    assert INIT(SHAPE, device="cuda:0").device == 0


@pytest.mark.parametrize("initialized", [True, False])
def test_it_is_pytorchs_where_that_uses_gpus(gpu, monkeypatch, initialized):
    """`torch.cuda.device(1)` alone does not make a GPU the thread's."""
    cuda = types.SimpleNamespace(is_initialized=lambda: initialized, current_device=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda, Tensor=Foreign))
    assert INIT(SHAPE, device="cuda").device == int(initialized)


def test_it_is_that_of_rows_and_keys(gpu):
    ids = Foreign(np.int64, (6,), 1, stream=1)
    assert INIT((100, 4), rows=ids, device="cuda").device == 1
    assert INIT.keyed(ids, 4, device="cuda").device == 1
    none = Foreign(np.int64, (0,), 1, stream=1)
    assert INIT((100, 4), rows=none, device="cuda").device == 1
    assert INIT.keyed(none, 4, device="cuda").device == 1


# --- PyTorch ------------------------------------------------------------------------------------


@pytest.fixture
def torch(gpu, monkeypatch):
    """PyTorch, with a class of tensors `OnGpu` that say they are on a GPU, and a current stream."""
    torch = pytest.importorskip("torch")

    class OnGpu(torch.Tensor):
        _is_param = True  # of a model
        is_cuda = property(lambda self: True)
        device = property(lambda self: torch.device("cuda", 0))

        @staticmethod
        def __new__(cls, values):
            return values.as_subclass(cls)

        def __dlpack_device__(self):
            return dlpack.CUDA, 0

        def __dlpack__(self, *, stream, max_version=None):
            assert stream == -1
            dtype = np.dtype(str(self.dtype).removeprefix("torch."))
            shape, device = tuple(self.shape), self.__dlpack_device__()
            return dlpack.export(self.data_ptr(), shape, dtype, device, self)

    handle = [0]
    current = lambda device: types.SimpleNamespace(cuda_stream=handle[0])  # noqa: E731
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device", lambda device: standin.contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", current)
    return types.SimpleNamespace(
        OnGpu=OnGpu, handle=handle, zeros=torch.zeros, nn=torch.nn, module=torch
    )


@pytest.mark.parametrize(("current", "queued"), [(0, 1), (77, 77)])
def test_tensors_are_filled_on_pytorchs_current_stream(gpu, torch, current, queued):
    from seedbed.torch import fill_

    torch.handle[0] = current
    tensor = torch.OnGpu(torch.zeros(SHAPE))
    INIT(SHAPE, out=tensor.detach())
    fill_(tensor, INIT)
    assert gpu.calls == [("kernel", queued)] * 2


@pytest.mark.parametrize("part", [{}, {"window": (slice(2, 4), slice(None))}, {"rows": None}])
def test_a_new_tensor_has_memory_of_pytorchs_pool(gpu, torch, monkeypatch, part):
    """And nobody waits; also where the rows are on the GPU."""
    from seedbed.torch import tensor

    pytorch, asked = sys.modules["torch"], []

    def empty(*size, dtype, device):
        asked.append(device)
        return torch.OnGpu(torch.zeros(*size, dtype=dtype))

    monkeypatch.setattr(pytorch, "empty", empty)
    torch.handle[0] = 77
    if "rows" in part:
        part = {"rows": Foreign(np.int64, (6,), stream=77)}
    made = tensor(INIT, SHAPE, "bfloat16", device="cuda", **part)
    assert (type(made), made.dtype) == (torch.OnGpu, pytorch.bfloat16)
    assert made.shape == ((2, 4) if "window" in part else SHAPE)
    assert asked == ["cuda"]
    marked = [("set_kernel", 77)] if "rows" in part else []
    assert gpu.calls == [("kernel", 77), *marked]


def test_a_model_is_initialized_without_waiting_and_may_be_captured(gpu, torch):
    """A graph's capture would be broken by any of these calls between its begin and its end."""
    from seedbed.torch import init_module_

    torch.handle[0] = 77
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 6) for _ in range(50)))
    for module in model:
        for name, values in list(module.named_parameters()):
            setattr(module, name, torch.OnGpu(values.data))
    assert len(list(model.parameters())) == 100
    init_module_(model, seed=7)
    names = {call[0] for call in gpu.calls}
    assert not names & set(standin.FORBIDDEN)
    assert len(gpu.calls) == 100
    assert {call[1] for call in gpu.calls} == {77}
