"""Numbers and keys of rows that are on a GPU: they stay there, and nobody waits for them."""

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from .array import DeviceArray


class DeviceIds:
    """Numbers or keys of rows, on a GPU.

    Parameters
    ----------
    array : DeviceArray
        int64 or uint64.
    name : str
        Of the argument, for errors.
    count : int, optional
        Rows of the table, where these are their numbers.

    Attributes
    ----------
    shape : tuple of int
    limit : int or None
        The first number outside the table. Negative ones, taken as 64 bits, are beyond it, too.
        None where every number that the dtype has is inside.
    """

    def __init__(self, array: "DeviceArray", name: str, count: int | None = None) -> None:
        if array.dtype.name not in ("int64", "uint64"):
            raise ArgumentTypeError(
                f"{name} on a GPU must be int64 or uint64; given {array.dtype.name}"
            )
        self.array, self.shape, self.name = array, array.shape, name
        most = 2**63 if array.dtype == np.int64 else 2**64
        limit = 2**64 if count is None else min(count, most)
        self.limit = None if limit == 2**64 else limit

    def __len__(self) -> int:
        return math.prod(self.shape)

    def check(self, device: int | None) -> None:
        """Refuse values that are made on another GPU, or on the host (None)."""
        if device != self.array.device:
            where = "the CPU" if device is None else f"'cuda:{device}'"
            raise ArgumentError(
                f"{self.name} are on {self.array.name!r} but the values are made on {where}: give "
                f"device={self.array.name!r}, or {self.name} that are on the host"
            )

    @contextlib.contextmanager
    def read_by(self, target: "DeviceArray") -> Iterator[Any]:
        """Give them, as a device array of uint64, to work that is queued for another array.

        Where the two have different streams, each waits for the other, on the GPU. A stream that
        nobody knows cannot wait: the host does, unless the ids never change and `target` keeps
        them, so that nobody gives their memory away meanwhile.
        """
        self.array.precede(target.handle)
        yield self.array.data.view(np.uint64)
        if self.array.settled:
            target.precede(self.array.handle)
        elif not (self.array.immutable and target.kept is self.array):
            target.synchronize()
