"""How what a GPU makes comes to the host: through pinned memory, in the background."""

import contextlib
import weakref

import numpy as np

from . import driver
from .array import DeviceArray


class Staging:
    """A buffer on a GPU, a twin of it in pinned host memory, and a stream of their own.

    While one is on its way to the host and beyond, the next can be filled.

    Parameters
    ----------
    nbytes : int
        Of each of the two.
    device : str
    """

    def __init__(self, nbytes: int, device: str) -> None:
        self._device = driver.device_number(device)
        with driver.on_device(driver.ready(), self._device) as gpu:
            stream = gpu.stream()
            self._host = gpu.pinned_array(nbytes, np.uint8)
        shape, dtype = (nbytes,), np.dtype(np.uint8)
        self._bytes = DeviceArray.empty(shape, dtype, self._device, stream)
        weakref.finalize(self, _settle, self._bytes).atexit = False

    def array(self, size: int, dtype: np.dtype) -> DeviceArray:
        """Return the beginning of the buffer as a flat array to be filled."""
        part = self._bytes[: size * dtype.itemsize]
        return DeviceArray(part._data, (size,), dtype, self._device, part.stream)

    def send(self, place: slice) -> None:
        """Queue a copy of the first bytes to a place in the memory of the host."""
        self._bytes[: place.stop - place.start].send_to_host(self._host[place])

    def receive(self, place: slice) -> np.ndarray:
        """Return the bytes sent to a place, once they are there."""
        self._bytes.synchronize()
        return self._host[place]


def _settle(array: DeviceArray) -> None:
    """Wait until nothing is on its way to memory of the host that is freed next."""
    with contextlib.suppress(OSError):  # a GPU that has failed sends nothing
        array.synchronize()
