"""The memory of a launch: arrays and shared bytes, and who reads and writes them when."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ptx_instructions import PtxError

WARP = 32
POISON = 0xA5  # each byte of registers and shared memory before it is written
REGION = 1 << 40  # bytes between the starts of two arrays in the address space
NOBODY, SEVERAL = -1, -2


class Meetings:
    """Who wrote and read each unit of a memory last, to find accesses that race.

    Of several readers since the last write, a unit keeps that there are `SEVERAL`: their warp, if
    it is one, and the time of the latest.
    """

    def __init__(self, units: int) -> None:
        self.writes = np.zeros(units, np.int32)
        self._last = {
            kind: tuple(np.full(units, NOBODY) for _ in range(3)) for kind in ("read", "write")
        }

    def note(self, kind: str, units: Any, threads: Any, times: Any, where: str) -> None:
        """Note an access, one unit for each thread; `times` counts its warp's barriers."""
        warps = threads // WARP
        for other in ("write",) if kind == "read" else ("read", "write"):
            thread, warp, time = (each[units] for each in self._last[other])
            ordered = (warp == warps) & (time < times)
            if ((thread != NOBODY) & (thread != threads) & ~ordered).any():
                raise PtxError(f"{where}: a {kind} races with another thread's {other}")
        thread, warp, time = self._last[kind]
        if kind == "write":
            thread[units], warp[units], time[units] = threads, warps, times
            if (thread[units] != threads).any():
                raise PtxError(f"{where}: two threads write to one address")
            self.writes[units] += 1
            for each in self._last["read"]:
                each[units] = NOBODY
            return
        fresh = thread[units] == NOBODY
        thread[units[fresh]], warp[units[fresh]] = threads[fresh], warps[fresh]
        thread[units[thread[units] != threads]] = SEVERAL
        warp[units[warp[units] != warps]] = SEVERAL
        np.maximum.at(time, units, times)


class Memory:
    """Bytes from an address on, in units of one width; `initial` are the bytes of an array."""

    def __init__(self, nbytes: int, width: int, address: int = 0, initial: Any = None) -> None:
        self.address, self.width = address, width
        self.bytes = np.full(nbytes, POISON, np.uint8) if initial is None else initial.copy()
        self.meetings = Meetings(nbytes // width)
        self.blank = initial is None

    def units(self, addresses: Any, width: int, where: str) -> Any:
        """Return the numbers of the units at addresses (uint64)."""
        offsets = addresses - np.uint64(self.address)  # below the address: a huge number
        if width % self.width:
            raise PtxError(f"{where}: {width} bytes of elements of {self.width}")
        if (addresses % np.uint64(width)).any():
            raise PtxError(f"{where}: an address is no multiple of {width}")
        if (offsets + np.uint64(width) > np.uint64(self.bytes.size)).any() or (
            offsets > np.uint64(self.bytes.size)
        ).any():
            raise PtxError(f"{where}: an address outside the memory given")
        return (offsets // np.uint64(self.width)).astype(np.int64)


def address_space(arguments: Sequence[Any]) -> tuple[list[Any], list[tuple[Memory, np.ndarray]]]:
    """Return arguments as Numba passes them, and a memory for each array among them.

    An array becomes seven numbers, a tuple its items. The address of a view is as far from a
    multiple of 256 bytes as it would be in an allocation of a GPU.
    """
    flat: list[Any] = []
    memories: list[tuple[Memory, np.ndarray]] = []

    def add(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                add(item)
        elif isinstance(value, np.ndarray):
            base = value
            while isinstance(base.base, np.ndarray):
                base = base.base
            offset = value.ctypes.data - base.ctypes.data
            address = REGION * (len(memories) + 1) + offset
            initial = value.reshape(-1).view(np.uint8)
            memories.append((Memory(value.nbytes, value.itemsize, address, initial), value))
            flat.extend((0, 0, value.size, value.itemsize, address, *value.shape, *value.strides))
        else:
            flat.append(value)

    for value in arguments:
        add(value)
    return flat, memories
