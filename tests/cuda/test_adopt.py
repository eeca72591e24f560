"""Arrays of other libraries on a GPU: what is read of them, with a stand-in for the GPU."""

import contextlib
import math
import re
import types

import ml_dtypes
import numpy as np
import pytest

from seedbed.gpu import DeviceArray, adopt, dlpack, driver
from seedbed.gpu.memory import Bytes
from seedbed.gpu.rows import DeviceRows
from seedbed_kernels import driver_cuda

from . import standin

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    """Two GPUs, whose memory is wrapped and whose streams are named, and no more."""
    gpu = types.SimpleNamespace(
        gpus=[standin.Device(), standin.Device()],
        get_current_device=lambda: types.SimpleNamespace(id=0),
        as_cuda_array=lambda memory, sync: memory,
        legacy_default_stream=lambda: "legacy",
        per_thread_default_stream=lambda: "per thread",
        external_stream=lambda handle: f"stream {handle}",
    )
    for module in (adopt, driver):
        monkeypatch.setattr(module, "ready", lambda: gpu)
    monkeypatch.setattr(driver_cuda, "device_of", {4096: 1, 4098: 1, 4100: 1, 8192: 0}.get)


class Foreign:
    """An array that says it is on a GPU; its memory is the host's."""

    def __init__(self, shape=(3, 4), dtype=np.float32, number=1, **interface):
        self.values = np.zeros(shape, dtype)
        self.shape, self.dtype = self.values.shape, self.values.dtype
        self.number = number
        self.asked = []
        if interface:
            data = (self.values.ctypes.data, interface.pop("read_only", False))
            self.__cuda_array_interface__ = {
                "shape": self.shape,
                "typestr": self.dtype.str,
                "data": data,
                **interface,
            }

    def __dlpack_device__(self):
        return dlpack.CUDA, self.number

    def __dlpack__(self, *, stream):
        self.asked.append(stream)
        pointer, device = self.values.ctypes.data, self.__dlpack_device__()
        return dlpack.export(pointer, self.shape, self.dtype, device, self.values)


class OnTheHost(Foreign):
    """Pinned memory, which has an interface, too."""

    def __dlpack_device__(self):
        return dlpack.CPU, 0


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BFLOAT16, np.complex128])
def test_dlpack_alone(dtype):
    """On the default stream, which the producer makes wait; the caller waits for it."""
    out = Foreign(dtype=dtype)
    array = adopt.adopt(out)
    assert (array.shape, array.dtype, array.device) == ((3, 4), out.dtype, 1)
    assert array.pointer == out.values.ctypes.data
    assert array.nbytes == out.values.nbytes
    assert (array.stream, array.settled) == ("legacy", False)
    assert out.asked[-1] == 1


def test_arrays_are_exported_while_their_gpu_is_the_current_one(monkeypatch):
    """PyTorch refuses to export a tensor of another."""
    current = [0]

    class Gpu(standin.Device):
        def __init__(self, number):
            self.number = number

        def __enter__(self):
            current.append(self.number)

        def __exit__(self, *_):
            current.pop()

    class Tensor(Foreign):
        def __dlpack__(self, *, stream):
            if current[-1] != self.number:
                raise BufferError("Can't export tensors on a different CUDA device index")
            return super().__dlpack__(stream=stream)

    monkeypatch.setattr(adopt.ready(), "gpus", [Gpu(0), Gpu(1)])
    for number in (0, 1):
        assert adopt.adopt(Tensor(number=number)).device == number
    assert current == [0]


@pytest.mark.parametrize(
    ("handle", "stream"), [(1, "legacy"), (2, "per thread"), (77, "stream 77")]
)
def test_stream_of_the_caller(handle, stream):
    out = Foreign(version=3, stream=handle)
    array = adopt.adopt(out)
    assert (array.stream, array.settled) == (stream, True)
    assert out.asked[-1] == -1  # the stream is the producer's own: no waiting


def described(address, shape=(5, 6), strides=(48, 8), typestr="<f8", **more):
    """Return an array that does not say on which GPU it is."""
    interface = {"shape": shape, "typestr": typestr, "data": (address, False), "strides": strides}
    return types.SimpleNamespace(__cuda_array_interface__={"version": 2, **interface, **more})


@pytest.mark.parametrize(("address", "device"), [(4096, 1), (8192, 0)])
def test_interface_alone(address, device):
    """The driver tells on which GPU an address is."""
    array = adopt.adopt(described(address))
    assert (array.pointer, array.shape, array.dtype) == (address, (5, 6), np.dtype(np.float64))
    assert (array.device, array.settled) == (device, False)


def test_an_array_without_memory_is_on_the_current_gpu():
    assert adopt.adopt(described(0, (0, 6))).device == 0


@pytest.mark.parametrize(
    ("address", "typestr", "together"),
    [(4100, "<f8", 8), (4098, "<f4", 4), (4100, "<c8", 8), (4100, "<c16", 8), (4100, "<i8", 8)],
)
def test_memory_that_a_kernel_cannot_store_to_is_refused(address, typestr, together):
    """A misaligned store would end the process' work on the GPU."""
    size = np.dtype(typestr).itemsize
    out = described(address, strides=(6 * size, size), typestr=typestr)
    message = f"out must be aligned to {together} bytes; given address {address:#x}"
    with pytest.raises(ValueError, match=message):
        adopt.adopt(out)
    nothing = described(address, (0, 6), (6 * size, size), typestr)
    assert adopt.adopt(nothing).size == 0


def test_a_negated_view_is_refused():
    """PyTorch hands over the memory, in which values have the other sign."""
    torch = pytest.importorskip("torch")
    view = torch.zeros(4, dtype=torch.complex64).conj().imag
    with pytest.raises(ValueError, match="keys must not be a negated view; give keys"):
        adopt.adopt(view, "keys")


class Sliced:
    """Columns of a wider array, by DLPack."""

    values = np.zeros((3, 8), np.float64)[:, 2:6]

    def __dlpack_device__(self):
        return dlpack.CUDA, 0

    def __dlpack__(self, *, stream):
        return self.values.__dlpack__()


@pytest.mark.parametrize(
    ("out", "outer", "distance", "elements"),
    [
        (Sliced(), 1, 8, 20),
        (described(4096, (3, 4), (64, 8)), 1, 8, 20),
        (described(4096, (2, 3, 4), (192, 64, 8)), 2, 8, 44),
        (described(4096, (2, 1, 3, 4), (96, 24, 32, 8)), 1, 12, 24),
        (described(4096, (3, 1), (64, 24)), 1, 8, 17),
        (described(4096, (1, 4), (-64, 8)), 1, 4, 4),
        (described(4096, (0, 4), (8, 8)), 1, 4, 0),
        (described(4096, (5, 6)), 1, 6, 30),
    ],
)
def test_rows_may_lie_apart(out, outer, distance, elements):
    array = adopt.adopt(out, outer=outer)
    assert isinstance(array, DeviceRows) == (array.size != elements)
    if array.size:
        assert array.row_distance(math.prod(array.shape[:outer])) == distance
    assert array.data.__cuda_array_interface__["shape"] == (8 * elements,)


@pytest.mark.parametrize(
    ("shape", "strides", "outer"),
    [
        ((3, 4), (-64, 8), 1),  # from the last row to the first
        ((3, 4), (24, 8), 1),  # rows overlap
        ((3, 4), (0, 8), 1),  # one row, expanded
        ((3, 4), (64, 16), 1),  # every other column
        ((2, 3, 4), (200, 64, 8), 2),  # two distances
        ((2, 3, 4), (192, 64, 8), 1),  # gaps inside a row
    ],
)
def test_rows_that_cannot_be_filled_are_refused_in_a_line(shape, strides, outer):
    message = (
        "out must be C-contiguous, or rows of such at one distance, in order and without overlap; "
        f"given strides {tuple(step // 8 for step in strides)}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        adopt.adopt(described(4096, shape, strides), outer=outer)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            described(4096, strides=(60, 12)),
            ValueError,
            r"out must have strides of whole elements; given \(60, 12\) bytes, 8 an element",
        ),
        (Foreign(version=3, read_only=True), ValueError, "out must be writable"),
        (
            described(4096, strides=(8, 40)),
            ValueError,
            r"out must be C-contiguous; given strides \(1, 5\)",
        ),
        (described(77), ValueError, "out must be in the memory of a GPU; given an address .* 0x4d"),
        ([1.0], TypeError, "out must be a NumPy array, or an array on a GPU .* given list"),
        (described(4096, mask=object()), ValueError, "out must not be masked; given SimpleNamesp"),
        (OnTheHost(version=3), TypeError, "out must be a NumPy array, .* given OnTheHost"),
    ],
)
def test_refused(out, error, message):
    with pytest.raises(error, match=message):
        adopt.adopt(out)


def test_shape_dtype_and_device_must_fit():
    out = Foreign()
    target = adopt.target
    for named in ("cuda:1", "cuda"):  # without a number: that of out
        assert target(out, named, (3, 4), np.dtype(np.float32)).device == 1
    with pytest.raises(ValueError, match="device is 'cuda:0' but out is on 'cuda:1'"):
        target(out, "cuda:0", (3, 4), np.dtype(np.float32))
    with pytest.raises(ValueError, match="out must have dtype float64; given float32"):
        target(out, None, (3, 4), np.dtype(np.float64))


def test_interface_of_an_array_made_here():
    memory = Bytes(4096, 24, None)
    array = DeviceArray(memory, (2, 3), np.dtype(np.float32), 0, 1)
    interface = array.__cuda_array_interface__
    assert interface["typestr"] == "<f4"
    assert interface["data"] == (4096, False)
    assert (interface["shape"], interface["stream"]) == ((2, 3), 1)
    assert array.__dlpack_device__() == (dlpack.CUDA, 0)
    tensor = dlpack.read(array.__dlpack__(stream=1))
    assert tensor == (4096, (2, 3), (3, 1), array.dtype, (dlpack.CUDA, 0), False)
    for refused in ({"copy": True}, {"dl_device": (dlpack.CPU, 0)}):
        with pytest.raises(BufferError):
            array.__dlpack__(**refused)
    short = DeviceArray(memory, (4, 3), BFLOAT16, 0, 1)
    assert not hasattr(short, "__cuda_array_interface__")
    assert dlpack.read(short.__dlpack__(stream=-1)).dtype == BFLOAT16


@pytest.mark.parametrize(
    "out",
    [np.zeros((3, 2), np.float32).T, np.zeros((2, 4), np.float32), np.broadcast_to(1.0, (2, 3))],
)
def test_only_what_can_be_copied_to_is(out):
    array = DeviceArray(None, (2, 3), np.dtype(np.float32), 0, 1)
    with pytest.raises(ValueError, match="copy_to_host: out must be C-contiguous and writable, wi"):
        array.copy_to_host(out)


def test_a_tensor_is_filled_where_its_gpu_is_the_current_one(monkeypatch):
    """PyTorch hands over no other; here the tensor's GPU is the second, and made up."""
    torch = pytest.importorskip("torch")
    from seedbed.torch import arrays

    current, filled = [torch.device("cuda", 0)], []

    @contextlib.contextmanager
    def on(device):
        current.append(device)
        yield
        current.pop()

    def init(*_, **__):
        filled.append(current[-1])

    second = torch.device("cuda", 1)
    tensor = torch.empty(3)
    local = types.SimpleNamespace(
        is_cuda=True, device=second, dtype=tensor.dtype, shape=tensor.shape,
        numel=tensor.numel, is_contiguous=tensor.is_contiguous, detach=tensor.detach,
        is_conj=tensor.is_conj, is_neg=tensor.is_neg,
    )  # fmt: skip
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device", on)
    arrays.write_window(local, init, (3,), None)
    assert filled == [second]
