"""Arrays on NVIDIA GPUs: made here, or handed over by CuPy, PyTorch, JAX and others.

Work is queued on a CUDA stream: on the caller's where its array names one, else on the default
stream. Nothing but the array itself is allocated on the GPU, and random values never pass through
the host; those that are computed on the host (Identity, STFT, a Constant array) are copied. So is
Orthogonal where CuPy is not installed; where it is, its products are made on the GPU, which needs
memory for the whole matrix some four times, and equal the CPU's within rounding.
"""

import contextlib
import math
from typing import Any, Self

import numpy as np

from seedbed_kernels import driver_cuda
from seedbed_kernels.driver_cuda import LEGACY_STREAM

from ..values.dtypes import FLOATING_DTYPES, quiet
from ..values.host import HostArray
from ..values.recipes import Random, kernel_key, kernel_sampler
from ..values.seeds import Stream
from ..values.selection import Keys, Rows
from ..values.window import Runs
from . import dlpack, memory
from .driver import on_device, ready, stream_of
from .ids import DeviceIds

# The kernels know neither 16-bit format.
_RANDOM_BITS = {"float16": np.int16, "bfloat16": np.uint16}
_STREAM_IS_MINE = -1  # DLPack: do not wait


class DeviceArray:
    """C-contiguous array in the memory of a GPU.

    CuPy, PyTorch and JAX take it without a copy: ``torch.from_dlpack(array)``,
    ``cupy.from_dlpack(array)``, ``jax.dlpack.from_dlpack(array)``; and by
    `__cuda_array_interface__`, which knows neither bfloat16 nor float8, whatever else reads that.

    Parameters
    ----------
    data : driver_cuda.Memory
        The bytes, one-dimensional, as uint8.
    shape : tuple of int
    dtype : numpy.dtype
    device : int
        Number of the GPU.
    stream : driver_cuda.Stream
        On which the array is worked on. Not 0: which one that is, is up to a process' environment.
    """

    def __init__(
        self, data: Any, shape: tuple[int, ...], dtype: np.dtype, device: int, stream: Any
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.stream = stream
        self.settled = True  # nobody needs to wait: whoever uses the array knows its stream
        self.immutable = False
        self.kept: Any = None  # lives as long as the array and its views
        self._data = data

    @classmethod
    def empty(
        cls, shape: tuple[int, ...], dtype: np.dtype, device: int, stream: Any = None
    ) -> Self:
        """Return a new array whose values are not set; without a stream, on the legacy default."""
        with on_device(ready(), device) as gpu:
            stream = stream or stream_of(gpu, LEGACY_STREAM)
            data = memory.allocate(gpu, math.prod(shape) * dtype.itemsize, device, stream)
        return cls(data, shape, dtype, device, stream)

    def _view(self, data: Any, shape: tuple[int, ...]) -> "DeviceArray":
        view = DeviceArray(data, shape, self.dtype, self.device, self.stream)
        view.kept = self.kept
        return view

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    @property
    def data(self) -> Any:
        """The bytes, as an array of one dimension with `__cuda_array_interface__`."""
        return self._data

    @property
    def handle(self) -> int:
        """The stream's handle."""
        return int(self.stream)

    @property
    def pointer(self) -> int:
        """The address of the first element."""
        return self._data.__cuda_array_interface__["data"][0]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype.name}, device='{self.name}')"

    @property
    def name(self) -> str:
        """The device as `fill` takes it: ``"cuda:0"``."""
        return f"cuda:{self.device}"

    def __getitem__(self, part: slice) -> "DeviceArray":
        """Return rows that follow each other, as a view."""
        if not isinstance(part, slice):
            raise TypeError(f"a DeviceArray is cut by one slice of its first axis; given {part!r}")
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"a DeviceArray is cut by slices of step 1; given {part!r}")
        shape = (max(stop - start, 0), *self.shape[1:])
        row = math.prod(self.shape[1:]) * self.itemsize
        data = self._data[start * row : start * row + shape[0] * row] if row else self._data
        return self._view(data, shape)

    @property
    def result(self) -> "DeviceArray":
        """The array itself."""
        return self

    def host(self) -> np.ndarray:
        """Return a new array of the host of this shape and dtype, for `copy`."""
        return np.empty(self.shape, self.dtype)

    @quiet
    def copy(self, values: np.ndarray) -> None:
        """Copy values from the host, broadcast to all of the array."""
        if not self.size:
            return
        host = np.ascontiguousarray(np.broadcast_to(values, self.shape), self.dtype)
        with on_device(driver_cuda, self.device):
            self._data.copy_to_device(host.reshape(-1).view(np.uint8), stream=self.stream)
        self.synchronize()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("a DeviceArray is in the memory of a GPU; copy_to_host() copies it")

    def reshape(self, shape: Any) -> "DeviceArray":
        """Return a view of another shape with as many elements."""
        shape = tuple(shape)
        if math.prod(shape) != self.size:
            raise ValueError(f"shape {self.shape} cannot become {shape}")
        return self._view(self._data, shape)

    def copy_to_host(self, out: np.ndarray | None = None) -> np.ndarray:
        """Return a NumPy array with the values, once they are there.

        Parameters
        ----------
        out : numpy.ndarray, optional
            C-contiguous and writable, with as many bytes; otherwise a new array.

        Raises
        ------
        ValueError
            If `out` is not such an array.
        """
        host = np.empty(self.shape, self.dtype) if out is None else out
        fits = host.flags.c_contiguous and host.flags.writeable and host.nbytes == self.nbytes
        if not fits:
            raise ValueError(
                f"copy_to_host: out must be C-contiguous and writable, with {self.nbytes:,} bytes; "
                f"given strides {host.strides}, writable {host.flags.writeable}, "
                f"with {host.nbytes:,} bytes"
            )
        self.send_to_host(host)
        self.synchronize()
        return host

    def send_to_host(self, out: np.ndarray) -> None:
        """Queue a copy to the host; it takes part in the background if `out` is pinned."""
        if self.size:
            with on_device(driver_cuda, self.device):
                self._data.copy_to_host(out.reshape(-1).view(np.uint8), stream=self.stream)

    def synchronize(self) -> None:
        """Wait until all work queued for the array is done."""
        with on_device(driver_cuda, self.device):
            self.stream.synchronize()

    @property
    def captured(self) -> bool:
        """Whether work that is queued for the array is captured into a CUDA graph."""
        with on_device(driver_cuda, self.device) as gpu:
            return gpu.is_capturing(self.stream)

    def settle(self) -> None:
        """Wait for work queued, if the array's user cannot: on a stream that is not the user's."""
        if not self.settled:
            self.synchronize()

    def constant(self, item: Any) -> None:
        """Set all elements to one value."""
        from seedbed_kernels import fills_cuda

        if not self.size:
            return
        words = as_words(np.array([item], self.dtype))
        with on_device(driver_cuda, self.device):
            flat = self._data.view(words.dtype)
            fills_cuda.constant(flat, words[0], words[-1], self.stream)

    def random(self, recipe: Random, selection: Runs | Rows | Keys, stream: Stream) -> None:
        """Set the elements to those that are selected of a random table.

        Numbers and keys of rows are copied to the GPU where they are on the host. Those on a GPU
        are not checked: a row whose number is outside the table is NaN.
        """
        if not self.size:
            return
        from seedbed_kernels import fills_cuda

        sampler = kernel_sampler(recipe, self.dtype)
        bits = kernel_dtype(self.dtype)
        flat, key = self._data.view(bits), fills_cuda.packed_key(kernel_key(stream))
        place: Any
        with on_device(driver_cuda, self.device) as gpu, contextlib.ExitStack() as reading:
            ids = None
            if isinstance(selection, Runs):
                filler = fills_cuda.Filler(sampler, bits)
                place = filler.window(*selection)
            else:
                where: list[Any]
                numbers, *where = selection
                distance = self.row_distance(len(numbers))
                if isinstance(numbers, DeviceIds):
                    ids, numbers = numbers, reading.enter_context(numbers.read_by(self))
                elif isinstance(numbers, np.ndarray):
                    numbers = gpu.to_device(numbers.view(np.uint64), stream=self.stream)
                if isinstance(selection, Rows):
                    filler = fills_cuda.RowFiller(sampler, bits)
                    row, *window = where
                    place = filler.rows(numbers, row, distance, *window)
                else:
                    filler = fills_cuda.KeyedFiller(sampler, bits)
                    column, width = where
                    place = filler.rows(numbers, column, width, distance)
            filler(flat, 0, self.size, place, key, self.stream)
            if ids is not None:
                self.mark(ids)

    def mark(self, ids: DeviceIds) -> None:
        """Set rows whose numbers are outside the table to NaN, where the dtype has it."""
        if not self.size or ids.limit is None or self.dtype not in FLOATING_DTYPES:
            return
        with ids.read_by(self) as numbers:
            self._set_rows(np.nan, len(ids), (numbers, ids.limit))

    def _set_rows(self, item: Any, rows: int, outside: tuple[Any, int] | None = None) -> None:
        """Set all of so many rows to one value, or those whose numbers are outside a limit."""
        from seedbed_kernels import rows_cuda

        words = as_words(np.array([item], self.dtype))
        width, stride = self.size // rows * words.size, self.row_distance(rows) * words.size
        with on_device(driver_cuda, self.device):
            flat, values = self._data.view(words.dtype), (words[0], words[-1])
            rows_cuda.set_rows(flat, rows, width, stride, values, outside, self.stream)

    def row_distance(self, rows: int) -> int:
        """Return how many elements lie between the beginnings of two of so many rows."""
        return self.size // rows

    def matrix_at(self, number: int) -> "DeviceArray":
        """Return the matrix of the last two axes at a number of the axes before, as a view."""
        size = self.shape[-2:]
        stack = self.reshape((math.prod(self.shape[:-2]), *size))
        return stack[number : number + 1].reshape(size)

    def matrix(
        self,
        corner: tuple[int, int],
        size: tuple[int, int],
        shape: tuple[int, int],
        stream: Stream,
        gain: float,
        rows: np.ndarray | None,
    ) -> None:
        """Set the elements to those of a window of a random orthogonal matrix, as on the host.

        Without CuPy it is made on the host, and copied.
        """
        cupy = memory.cupy()
        if cupy is None:
            host = HostArray(self.host())
            host.matrix(corner, size, shape, stream, gain, rows)
            self.copy(host.array)
            return
        from seedbed_kernels import haar_cuda

        key = kernel_key(stream)
        bits = kernel_dtype(self.dtype)
        with (
            on_device(driver_cuda, self.device),
            cupy.cuda.Device(self.device),
            haar_cuda.on_stream(self.stream),
        ):
            array = cupy.asarray(self._data.view(bits))
            matrix = array.reshape(size) if rows is None else cupy.empty(size, bits)
            if shape[0] >= shape[1]:
                haar_cuda.haar(matrix, corner, shape, key, gain, self.stream)
            else:
                (row, column), (height, width) = corner, shape
                haar_cuda.haar(matrix.T, (column, row), (width, height), key, gain, self.stream)
            if rows is not None:
                array.reshape(self.shape)[...] = matrix[cupy.asarray(rows)]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype.kind == "V":
            raise AttributeError(
                f"__cuda_array_interface__ does not know {self.dtype.name}; __dlpack__ does"
            )
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": self.handle,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Hand the array over to a consumer that works on `stream`, as the protocol says.

        None and 1 are the legacy default stream, 2 is that of the thread; -1 means not to wait.
        """
        device = self.__dlpack_device__()
        if stream is not None and (stream == 0 or stream < _STREAM_IS_MINE):
            raise BufferError(
                f"stream must be None, -1, 1, 2 or a handle; given {stream}: 0 may mean 1 or 2"
            )
        if copy or dl_device not in (None, device):
            raise BufferError("a DeviceArray is handed over where it is, without a copy")
        if stream != _STREAM_IS_MINE:
            self.precede(LEGACY_STREAM if stream is None else int(stream))
        return dlpack.export(self.pointer, self.shape, self.dtype, device, self)

    def precede(self, stream: int) -> None:
        """Let work queued on a stream from now on wait for what is queued on this array's."""
        if stream == self.handle:
            return
        with on_device(driver_cuda, self.device) as gpu:
            event = gpu.event(timing=False)
            event.record(self.stream)
            event.wait(stream_of(gpu, stream))


def kernel_dtype(dtype: np.dtype) -> np.dtype:
    """Return a dtype as the kernels that draw see it."""
    return np.dtype(_RANDOM_BITS.get(dtype.name, dtype))


def as_words(values: np.ndarray) -> np.ndarray:
    """Return flat values as the kernels that draw nothing take them: integers of up to 8 bytes."""
    return values.view(f"u{min(values.itemsize, 8)}")
