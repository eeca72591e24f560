"""Memory of CuPy's pool; CuPy and the driver are stand-ins."""

import contextlib
import types

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs pip install 'seedbed[cuda]'")

from seedbed.gpu import DeviceArray, memory
from seedbed_kernels import haar_cuda

from . import standin


@pytest.fixture
def gpu(monkeypatch):
    return standin.installed(monkeypatch)


def test_cupys_pool_is_used_where_cupy_is_installed(gpu, monkeypatch):
    """On the array's GPU and stream; the memory goes back when the array has gone."""
    working, given, returned = [], [], []

    class Chunk:
        ptr = 4096

        def __init__(self, nbytes):
            given.append((tuple(working), nbytes))

        def __del__(self):
            returned.append(1)

    @contextlib.contextmanager
    def on(*what):
        working.append(what)
        yield
        working.pop()

    cuda = types.SimpleNamespace(Device=lambda number: on("device", number), alloc=Chunk)
    monkeypatch.setattr(memory, "cupy", lambda: types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(haar_cuda, "on_stream", lambda stream: on("stream", int(stream)))
    array = DeviceArray.empty((3, 4), np.dtype(np.float32), 1, standin.Stream(gpu, 77))
    assert given == [((("device", 1), ("stream", 77)), 48)]
    assert array.pointer == 4096
    assert not gpu.calls
    assert not returned
    del array
    assert returned == [1]
