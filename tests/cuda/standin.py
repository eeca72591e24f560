"""A stand-in for `driver_cuda` and kernels: it writes down what is called, and does nothing.

What it lacks is an `AttributeError`, so a call that nobody has thought of makes a test fail.
"""

import contextlib
import types

import numpy as np

# What CUDA forbids, or does not promise, while a stream is captured into a graph.
FORBIDDEN = ("synchronize", "allocate", "copy", "load")


def named(stream):
    """Return a stream's handle; the environment of a process decides which stream is 0."""
    assert int(stream), "stream 0"
    return int(stream)


class Device(contextlib.nullcontext):
    """A GPU to work on."""

    compute_capability = (9, 0)


class Stream:
    """A CUDA stream, of which only the handle is known."""

    def __init__(self, gpu, handle):
        self.gpu, self.handle = gpu, handle

    def __int__(self):
        return self.handle

    def synchronize(self):
        self.gpu.calls.append(("synchronize", self.handle))


class Event:
    """An event, which knows on which stream it was recorded."""

    def __init__(self, gpu):
        self.gpu = gpu

    def record(self, stream):
        self.recorded = named(stream)

    def wait(self, stream):
        self.gpu.calls.append(("wait", int(stream), "for", self.recorded))


class Gpu:
    """What Seedbed calls of `driver_cuda`; `calls` has the calls, in order."""

    def __init__(self, count=2):
        self.calls = []
        self.gpus = [Device() for _ in range(count)]
        self.current = 0

    def get_current_device(self):
        return types.SimpleNamespace(
            id=self.current, MULTIPROCESSOR_COUNT=4, compute_capability=(9, 0)
        )

    def as_cuda_array(self, memory, sync):
        assert sync is False
        return Memory(self, memory.__cuda_array_interface__["shape"][0], memory)

    def device_array(self, size, dtype, stream=0):
        self.calls.append(("allocate", size))
        return Memory(self, size * np.dtype(dtype).itemsize)

    def to_device(self, values, stream=0):
        self.calls.append(("copy", named(stream)))
        return values

    beside_captures = contextlib.nullcontext

    def is_capturing(self, stream):
        return False

    def event(self, timing):
        return Event(self)

    def legacy_default_stream(self):
        return Stream(self, 1)

    def per_thread_default_stream(self):
        return Stream(self, 2)

    def external_stream(self, handle):
        assert handle > 2
        return Stream(self, handle)

    def kernel(self, name):
        """Return what stands for a compiled kernel."""

        return lambda *_: Kernel(self, name)


class Kernel:
    """A compiled kernel, of which only the name is known."""

    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name

    def __getitem__(self, configuration):
        stream = configuration[2]
        return lambda *_: self.gpu.calls.append((self.name, named(stream)))


class Memory:
    """Bytes on the GPU, of which only the address and the number are known."""

    def __init__(self, gpu, size, owner=None, itemsize=1):
        self.gpu, self.size, self.owner, self.itemsize = gpu, size, owner, itemsize
        self.dtype = np.dtype(np.uint8)
        pointer = owner.__cuda_array_interface__["data"][0] if owner else 4096
        self.__cuda_array_interface__ = {"data": (pointer, False)}

    def view(self, dtype):
        dtype = np.dtype(dtype)
        seen = Memory(self.gpu, self.size * self.itemsize // dtype.itemsize, self.owner)
        seen.itemsize, seen.dtype = dtype.itemsize, dtype
        return seen

    def __len__(self):
        return self.size

    def __getitem__(self, part):
        return self

    def copy_to_device(self, values, stream):
        self.gpu.calls.append(("copy", named(stream)))


def installed(monkeypatch, **options):
    """Return a stand-in that all of Seedbed takes for `driver_cuda`."""
    from seedbed.gpu import adopt, array, driver, rows
    from seedbed_kernels import fills_cuda, launch_cuda, rows_cuda

    gpu = Gpu(**options)
    for module in (adopt, array, driver):
        monkeypatch.setattr(module, "ready", lambda: gpu)
    for module in (array, rows, launch_cuda):
        monkeypatch.setattr(module, "driver_cuda", gpu)
    for name in ("_kernel", "_keyed_kernel", "_constant_kernel"):
        monkeypatch.setattr(fills_cuda, name, gpu.kernel(name.strip("_")))
    for name in ("_set_kernel", "_copy_kernel"):
        monkeypatch.setattr(rows_cuda, name, gpu.kernel(name.strip("_")))
    return gpu
