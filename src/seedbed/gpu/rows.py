"""Rows of a wider array on a GPU, which `fill` takes as it takes arrays without gaps."""

import math
from typing import Any

import numpy as np

from seedbed_kernels import driver_cuda

from ..values.dtypes import quiet
from .array import DeviceArray, as_words
from .driver import on_device


class DeviceRows(DeviceArray):
    """Contiguous rows at one distance from each other; nobody but `fill` gets to see them.

    Parameters
    ----------
    data, shape, dtype, device, stream
        As `DeviceArray` takes them; the bytes are those from the first row to the end of the last.
    outer : int
        How many of the first axes count the rows.
    distance : int
        Elements from the beginning of a row to that of the next.
    """

    def __init__(
        self,
        data: Any,
        shape: tuple[int, ...],
        dtype: np.dtype,
        device: int,
        stream: Any,
        outer: int,
        distance: int,
    ) -> None:
        super().__init__(data, shape, dtype, device, stream)
        self.rows, self.distance = math.prod(shape[:outer]), distance

    def row_distance(self, rows: int) -> int:
        """Return how many elements lie between the beginnings of two rows."""
        assert rows == self.rows
        return self.distance

    def constant(self, item: Any) -> None:
        """Set all elements to one value."""
        self._set_rows(item, self.rows)

    @quiet
    def copy(self, values: np.ndarray) -> None:
        """Copy values from the host, broadcast to all of the array; on the GPU they lie twice."""
        from seedbed_kernels import rows_cuda

        host = np.ascontiguousarray(np.broadcast_to(values, self.shape), self.dtype)
        words = as_words(host.reshape(-1))
        halves = words.size // host.size
        sizes = self.rows, words.size // self.rows, self.distance * halves
        with on_device(driver_cuda, self.device) as gpu:
            given = gpu.to_device(words, stream=self.stream)
            rows_cuda.copy_rows(self._data.view(words.dtype), given, *sizes, self.stream)
        self.synchronize()
