"""Chunks made on all threads while earlier ones go to the disk.

Writes rather than a memory map: several times as fast into a new file, memory stays bounded, and a
disk that fills up is an error that can be answered, not a SIGBUS.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..gpu.staging import Staging
from ..storage.atomic import failing
from ..storage.direct import PAGE, buffer, sync, write_all
from ..values import threads
from .layout import Extent
from .state import State

BUFFERS = 3  # one being made, one being written, one between


class Journal:
    """Writes chunks in their order and saves, now and then, how many are on the disk.

    Parameters
    ----------
    files : mapping
        Open files by name, and a path for messages.
    state : State
        Where the chunks begin.
    save : callable
        Saves a state.
    seconds : float
        From one checkpoint to the next: this much work may be lost.
    shown : callable
        Told of the bytes that are written.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[int, Path]],
        state: State,
        save: Callable[[State], None],
        seconds: float,
        shown: Callable[[int], object],
    ) -> None:
        self.state = state
        self._files = files
        self._save = save
        self._seconds = seconds
        self._shown = shown
        self.values = self.nbytes = 0  # that were written
        self._done = state.done
        self._unsynced: dict[int, Path] = {}
        self._last = time.monotonic()
        self._broken = False

    def put(self, chunk: Extent, values: np.ndarray) -> None:
        """Write the next chunk."""
        if self._broken:  # what follows a chunk that failed does not count
            return
        self._broken = True
        self.mend(chunk, values)
        self._done += chunk.nbytes
        self._shown(chunk.nbytes)
        if time.monotonic() - self._last >= self._seconds:
            self.checkpoint()
        self._broken = False

    def mend(self, chunk: Extent, values: np.ndarray) -> None:
        """Write a chunk that is counted already."""
        fd, path = self._files[chunk.file.name]
        with failing(path):
            write_all(fd, values, chunk.offset)
        self._unsynced[fd] = path
        self.values += chunk.size
        self.nbytes += chunk.nbytes

    def checkpoint(self, *, complete: bool = False) -> None:
        """Flush what is written, then say so in the state file."""
        for fd, path in self._unsynced.items():
            with failing(path):
                sync(fd)
        self._unsynced.clear()
        self.state = self.state._replace(done=self._done, complete=complete)
        self._save(self.state)
        self._last = time.monotonic()


class OnHost:
    """A buffer that chunks are made in."""

    def __init__(self, nbytes: int) -> None:
        self._buffer = buffer(nbytes)

    def make(self, chunk: Extent) -> None:
        """Make the values of a chunk."""
        chunk.generate(self._buffer)

    def take(self, chunk: Extent) -> np.ndarray:
        """Return the bytes of the chunk made."""
        return self._buffer[chunk.bounds]


class OnDevice:
    """Likewise on a GPU, which makes one chunk while another comes to the host."""

    def __init__(self, nbytes: int, device: str) -> None:
        self._staging = Staging(nbytes + PAGE, device)

    def make(self, chunk: Extent) -> None:
        """Queue all the work for a chunk."""
        values = self._staging.array(chunk.size, chunk.table.dtype)
        chunk.table.fill(values, chunk.begin)
        self._staging.send(chunk.bounds)

    def take(self, chunk: Extent) -> np.ndarray:
        """Return the bytes of the chunk made, once they are on the host."""
        return self._staging.receive(chunk.bounds)


def write_chunks(
    chunks: Iterable[Extent], journal: Journal, chunk_bytes: int, device: str | None = None
) -> None:
    """Make chunks one by one, while another thread writes those before."""
    buffers = [
        OnHost(chunk_bytes) if device in (None, "cpu") else OnDevice(chunk_bytes, device)
        for _ in range(BUFFERS)
    ]

    def made() -> Iterator[tuple[Extent, OnHost | OnDevice]]:
        for chunk, one in zip(chunks, itertools.cycle(buffers), strict=False):
            one.make(chunk)
            yield chunk, one

    def put(item: tuple[Extent, OnHost | OnDevice]) -> None:
        chunk, one = item
        journal.put(chunk, one.take(chunk))

    threads.hand_over(made(), put, ahead=BUFFERS - 1)
