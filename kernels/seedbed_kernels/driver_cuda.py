"""GPUs, their memory, streams and events: the CUDA driver as far as it is needed, without Numba.

Importing Numba takes more than a second, and only compiling needs it. What is here has the names
that `numba.cuda` gives it. Calls are made through `cuda.bindings`, NVIDIA's own.
"""

import contextlib
import ctypes
import functools
import importlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

LARGE = 1 << 26  # bytes: from there on memory that waits to be freed is freed first
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2  # handles that stand for the default streams
MANY = 10  # pieces of memory that wait to be freed, at most


class CudaError(RuntimeError):
    """A call of the driver failed; the message has its name and the driver's name of the error."""


@functools.cache
def _driver() -> Any:
    return importlib.import_module("cuda.bindings.driver")


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the driver; return what it returns besides the error, if anything."""
    error, *found = getattr(_driver(), name)(*arguments)
    if int(error):
        raise CudaError(f"{name} failed: {error.name}")
    return found[0] if len(found) == 1 else found or None


def cuda_error() -> str | None:
    """Return why the driver cannot be used, or None if it can."""
    try:
        call("cuInit", 0)
    except (ImportError, RuntimeError, OSError) as error:  # or there is no driver, or no bindings
        return str(error)
    return None


def get_version() -> tuple[int, int]:
    """Return the release of CUDA that the driver is for."""
    number = call("cuDriverGetVersion")
    return number // 1000, number % 1000 // 10


# --- GPUs ---------------------------------------------------------------------------------------


class Device:
    """A GPU; inside ``with device:`` it is the calling thread's, by its primary context."""

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> None:
        call("cuCtxPushCurrent", self._context)

    def __exit__(self, *_: object) -> None:
        call("cuCtxPopCurrent")

    @functools.cached_property
    def _context(self) -> Any:
        return call("cuDevicePrimaryCtxRetain", self._handle)

    @functools.cached_property
    def _handle(self) -> Any:
        return call("cuDeviceGet", self.id)

    def _attribute(self, name: str) -> int:
        attribute = getattr(_driver().CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return call("cuDeviceGetAttribute", attribute, self._handle)

    @functools.cached_property
    def compute_capability(self) -> tuple[int, int]:
        """Which instructions it has."""
        major, minor = (self._attribute(f"COMPUTE_CAPABILITY_{x}") for x in ("MAJOR", "MINOR"))
        return major, minor

    @functools.cached_property
    def MULTIPROCESSOR_COUNT(self) -> int:  # noqa: N802  as `numba.cuda` calls it
        """How many multiprocessors it has."""
        return self._attribute("MULTIPROCESSOR_COUNT")


class _Devices(Sequence[Device]):
    """All GPUs that the driver finds."""

    def __len__(self) -> int:
        return _device_count()

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(f"GPU {number} of {len(self)}")
        return _device(number)


gpus = _Devices()


@functools.cache
def _device_count() -> int:
    return call("cuDeviceGetCount")


@functools.cache
def _device(number: int) -> Device:
    return Device(number)


def get_current_device() -> Device:
    """Return the calling thread's GPU; where it has none yet, the first."""
    if not int(call("cuCtxGetCurrent")):  # to ask for its GPU would be an error of the driver's
        return gpus[0]
    return gpus[int(call("cuCtxGetDevice"))]


def device_of(pointer: int) -> int | None:
    """Return the number of the GPU whose memory is at an address; None if it is at none's."""
    attribute = _driver().CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    try:
        number = int(call("cuPointerGetAttribute", attribute, pointer))
    except CudaError:
        return None
    return None if number < 0 else number


# --- Streams and events -------------------------------------------------------------------------


class Stream:
    """A CUDA stream, by its handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle  # kept as it is: of a stream made here, an object

    def __int__(self) -> int:
        return int(self._handle)

    def synchronize(self) -> None:
        """Wait until all work queued is done."""
        call("cuStreamSynchronize", int(self))


def stream() -> Stream:
    """Return a new stream of the current GPU."""
    made = Stream(call("cuStreamCreate", 0))
    _finally(made, "cuStreamDestroy", int(made))
    return made


def external_stream(handle: int) -> Stream:
    """Return the stream of a handle."""
    return Stream(handle)


def legacy_default_stream() -> Stream:
    """Return the default stream that waits for all others."""
    return Stream(LEGACY_STREAM)


def per_thread_default_stream() -> Stream:
    """Return the calling thread's default stream."""
    return Stream(PER_THREAD_STREAM)


def is_capturing(stream: Any) -> bool:
    """Return whether what is queued on a stream is captured into a graph, to be run later."""
    return bool(int(call("cuStreamIsCapturing", int(stream))))


class Event:
    """A place in the work that is queued on a stream."""

    def __init__(self) -> None:
        flags = _driver().CUevent_flags.CU_EVENT_DISABLE_TIMING
        self._handle = call("cuEventCreate", int(flags))
        _finally(self, "cuEventDestroy", self._handle)

    def record(self, stream: Any) -> None:
        """Mark the end of what is queued on a stream now."""
        call("cuEventRecord", self._handle, int(stream))

    def wait(self, stream: Any) -> None:
        """Have what is queued on a stream from now on wait for the place."""
        call("cuStreamWaitEvent", int(stream), self._handle, 0)


def event(timing: bool = False) -> Event:
    """Return a new event, which does not take the time."""
    assert not timing
    return Event()


# --- Memory -------------------------------------------------------------------------------------


class Memory:
    """A one-dimensional array without gaps in the memory of a GPU.

    Parameters
    ----------
    pointer, size : int
        Address of the first element, and how many there are.
    dtype : numpy.dtype
    owner : object
        Lives as long as the array and its views.
    """

    def __init__(self, pointer: int, size: int, dtype: np.dtype, owner: Any) -> None:
        self.pointer, self.size, self.dtype, self.owner = pointer, size, dtype, owner

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> "Memory":
        start, stop, step = part.indices(self.size)
        assert step == 1
        pointer = self.pointer + start * self.dtype.itemsize
        return Memory(pointer, max(stop - start, 0), self.dtype, self.owner)

    def view(self, dtype: Any) -> "Memory":
        """Return the same bytes as elements of another dtype."""
        dtype = np.dtype(dtype)
        size = self.size * self.dtype.itemsize // dtype.itemsize
        return Memory(self.pointer, size, dtype, self.owner)

    def copy_to_device(self, values: np.ndarray, stream: Any) -> None:
        """Queue a copy of values, of as many bytes and without gaps, from the host."""
        call("cuMemcpyHtoDAsync", self.pointer, values.ctypes.data, values.nbytes, int(stream))

    def copy_to_host(self, out: np.ndarray, stream: Any) -> None:
        """Queue a copy to the host, to an array of as many bytes and without gaps."""
        call("cuMemcpyDtoHAsync", out.ctypes.data, self.pointer, out.nbytes, int(stream))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": (self.size,),
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
        }


def as_cuda_array(array: Any, sync: bool = False) -> Memory:
    """Return the memory of a one-dimensional array without gaps that another library made."""
    assert not sync
    interface = array.__cuda_array_interface__
    (size,) = interface["shape"]
    return Memory(interface["data"][0], size, np.dtype(interface["typestr"]), array)


@contextlib.contextmanager
def beside_captures() -> Iterator[None]:
    """Allow what may wait for the GPU while any thread captures a graph, and leave the graph be."""
    relaxed = _driver().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    before = call("cuThreadExchangeStreamCaptureMode", relaxed)
    try:
        yield
    finally:
        call("cuThreadExchangeStreamCaptureMode", before)


class _Owner:
    """Whoever holds this holds memory."""


def device_array(size: int, dtype: Any, source: np.ndarray | None = None) -> Memory:
    """Return a new array on the current GPU whose values are not set.

    A source on the host, from which it is to be copied, lives until the memory is freed.
    """
    dtype = np.dtype(dtype)
    nbytes, owner, pointer = size * dtype.itemsize, _Owner(), 0
    if nbytes >= LARGE:
        free_pending()
    if nbytes:
        with beside_captures():
            try:
                pointer = int(call("cuMemAlloc", nbytes))
            except CudaError as error:
                if "OUT_OF_MEMORY" not in str(error):
                    raise
                free_pending()
                pointer = int(call("cuMemAlloc", nbytes))
        device = get_current_device()
        freed = weakref.finalize(owner, _free_later, device, pointer, nbytes, source)
        freed.atexit = False  # the driver frees it
    return Memory(pointer, size, dtype, owner)


def to_device(values: np.ndarray, stream: Any) -> Memory:
    """Return a new array on the current GPU with values from the host; the copy is queued.

    The GPU may read the host's memory later, so it is given a copy that nobody changes.
    """
    source = values.copy()
    made = device_array(source.size, source.dtype, source)
    if source.size:
        made.copy_to_device(source, stream)
    return made


def pinned_array(size: int, dtype: Any) -> np.ndarray:
    """Return an array of the host to and from which a GPU copies in the background."""
    dtype = np.dtype(dtype)
    nbytes = max(size * dtype.itemsize, 1)
    with beside_captures():
        pointer = int(call("cuMemHostAlloc", nbytes, 0))
    buffer = (ctypes.c_ubyte * nbytes).from_address(pointer)  # kept by all arrays made of it
    _finally(buffer, "cuMemFreeHost", pointer)
    return np.frombuffer(buffer, dtype, size)


# To free memory waits for the GPU: a little of it waits until it is worth it.
_pending: list[tuple[Device, int, int, Any]] = []
_LATER = "NOT_PERMITTED", "STREAM_CAPTURE"  # errors of a callback of CUDA's, or of a capture


def _free_later(device: Device, pointer: int, nbytes: int, source: Any) -> None:
    _pending.append((device, pointer, nbytes, source))
    if len(_pending) >= MANY or sum(each[2] for each in _pending) >= LARGE:
        free_pending()


def free_pending() -> None:
    """Free memory that nobody holds any more."""
    kept = []
    with contextlib.suppress(IndexError):  # another thread took the last
        while _pending:
            device, pointer, *rest = _pending.pop()
            try:
                with device, beside_captures():
                    call("cuMemFree", pointer)
            except CudaError as error:  # after any other error it may be someone else's by now
                if any(name in str(error) for name in _LATER):
                    kept.append((device, pointer, *rest))
    _pending.extend(kept)


def _finally(holder: Any, name: str, handle: Any) -> None:
    """Give something of the current GPU back when nobody has its holder any more."""
    weakref.finalize(holder, _give_back, get_current_device(), name, handle).atexit = False


def _give_back(device: Device, name: str, handle: Any) -> None:
    with contextlib.suppress(CudaError), device, beside_captures():
        call(name, handle)
