"""Arrays on a GPU as Python sees them: shapes, slices, copies, and what is refused.

The GPU is a stand-in whose memory is the host's, so NumPy tells what must be.
"""

import contextlib
import re
import types

import numpy as np
import pytest

from seedbed import initializers
from seedbed.gpu import DeviceArray, adopt, ahead, array, driver, memory
from seedbed.gpu.ids import DeviceIds
from seedbed.gpu.staging import Staging

from . import standin

F4 = np.dtype(np.float32)
VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


class HostMemory:
    """Bytes of the host, as `driver_cuda` wraps those of a GPU."""

    def __init__(self, values):
        self.values = values
        pointer = values.ctypes.data
        self.__cuda_array_interface__ = {"data": (pointer, False), "shape": values.shape}

    def __getitem__(self, part):
        return HostMemory(self.values[part])

    def copy_to_device(self, values, stream):
        self.values[:] = values

    def copy_to_host(self, out, stream):
        out[:] = self.values


class HostGpu:
    """What Seedbed calls of `driver_cuda` for two GPUs whose memory is the host's."""

    def __init__(self):
        self.gpus = [standin.Device(), standin.Device()]
        self.waited = 0

    def device_array(self, size, dtype):
        return HostMemory(np.zeros(size, dtype))

    def pinned_array(self, size, dtype):
        return np.zeros(size, dtype)

    def as_cuda_array(self, given, sync):
        return given

    def get_current_device(self):
        return types.SimpleNamespace(id=0)

    def synchronize(self):
        self.waited += 1

    def legacy_default_stream(self):
        return self

    stream = legacy_default_stream


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    gpu = HostGpu()
    for module in (adopt, array, driver):
        monkeypatch.setattr(module, "ready", lambda: gpu)
    monkeypatch.setattr(array, "driver_cuda", gpu)
    monkeypatch.setattr(memory, "cupy", lambda: None)
    monkeypatch.setattr(driver, "check", lambda gpu, number: None)
    monkeypatch.setattr(adopt, "check", lambda gpu, number: None)
    return gpu


@pytest.fixture
def made():
    """Return a function that makes an array of values on a GPU."""

    def make(values, device=1):
        one = DeviceArray.empty(values.shape, values.dtype, device)
        one.copy(values)
        return one

    return make


def test_an_array_is_what_numpy_has(made):
    one = made(VALUES)
    assert (one.ndim, one.size, one.itemsize, one.nbytes) == (2, 12, 4, 48)
    assert len(one) == 4
    assert repr(one) == "DeviceArray(shape=(4, 3), dtype=float32, device='cuda:1')"
    for part in (slice(1, 3), slice(None), slice(3, 1), slice(-1, None)):
        np.testing.assert_array_equal(one[part].copy_to_host(), VALUES[part], strict=True)
    np.testing.assert_array_equal(one.reshape((2, 6)).copy_to_host(), VALUES.reshape(2, 6))
    one[1:2].copy(np.float32(9))
    out = np.empty((4, 3), np.float32)
    assert one.copy_to_host(out) is out
    np.testing.assert_array_equal(out[1], [9, 9, 9])
    np.testing.assert_array_equal(out[2:], VALUES[2:])


def test_arrays_of_nothing(made):
    nothing = made(np.zeros((0, 3), np.float32))
    assert nothing.copy_to_host().shape == (0, 3)
    nothing.copy(np.zeros((0, 3)))
    np.testing.assert_array_equal(made(np.zeros((3, 0), F4))[1:].copy_to_host(), np.zeros((2, 0)))
    for init in (initializers.Ones(), initializers.RandomNormal(seed=1)):
        assert init((0, 3), out=nothing) is nothing


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "len() of an array without axes", lambda one: len(one[:1].reshape(()))),
        (TypeError, "cut by one slice of its first axis; given 1", lambda one: one[1]),
        (ValueError, "cut by slices of step 1", lambda one: one[::2]),
        (ValueError, "shape (1, 1) cannot become (2,)", lambda one: one.reshape((2,))),
        (TypeError, "copy_to_host() copies it", np.asarray),
        (ValueError, "out must", lambda one: one.copy_to_host(np.zeros(3))),
    ],
)
def test_what_cannot_be_is_refused(made, error, message, call):
    with pytest.raises(error, match=re.escape(message)):
        call(made(np.ones((1, 1), np.float32)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": VALUES, "device": "cuda:1"}, "device is 'cuda:1' but out is a NumPy array"),
        ({"shape": (4, 4)}, "out must have shape (4, 4); given (4, 3)"),
        ({"dtype": "float64"}, "out must have dtype float64; given float32"),
        ({"device": "cuda:0"}, "device is 'cuda:0' but out is on 'cuda:1'"),
        ({"device": "cpu"}, "device is 'cpu' but out is on 'cuda:1'"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(made, given, message):
    arguments = {"shape": (4, 3), "dtype": "float32", "out": made(VALUES), **given}
    with pytest.raises(ValueError, match=re.escape(message)):
        initializers.Ones()(**arguments)


def test_numbers_of_rows_are_integers_of_64_bits(made):
    with pytest.raises(TypeError, match="rows on a GPU must be int64 or uint64; given float32"):
        DeviceIds(made(VALUES), "rows")


def test_the_memory_at_an_address():
    values = VALUES.copy()
    one = adopt.at(values.ctypes.data, (4, 3), F4, 1, values)
    assert (one.shape, one.dtype, one.device) == ((4, 3), F4, 1)
    assert one.pointer == values.ctypes.data
    assert one.data.keep_alive is values


def test_staging_sends_bytes_to_their_places(gpu):
    staging = Staging(64, "cuda:1")
    first = staging.array(8, F4)
    assert (first.shape, first.dtype) == ((8,), F4)
    first.copy(np.arange(8, dtype=np.float32))
    staging.send(slice(16, 48))
    found = staging.receive(slice(16, 48))
    assert gpu.waited >= 1
    np.testing.assert_array_equal(found.view(np.float32), np.arange(8))


@pytest.mark.parametrize("text", ["9", "9,0", "sm_90", "900.1"])
def test_a_text_that_is_no_compute_capability_is_refused(text):
    with pytest.raises(ValueError, match=f"such as 90 or 9.0; given '{text}'"):
        ahead.capability_of(text)


@contextlib.contextmanager
def no_memory():
    raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
    yield


def test_a_gpu_without_room_is_a_memory_error(gpu):
    gpu.gpus[1] = no_memory()
    with pytest.raises(MemoryError, match="cuda:1 has not enough free memory"):
        DeviceArray.empty((3,), F4, 1)
