"""Chunks made on all threads while earlier ones go to the disk.

Writes rather than a memory map: several times as fast into a new file, memory stays bounded, and a
disk that fills up is an error that can be answered, not a SIGBUS.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..gpu.staging import Staging
from ..storage.direct import PAGE, room, sync, write_all
from .output import Run
from .states import State

BUFFERS = 3  # one being made, one being written, one between


class Journal:
    """Writes chunks in their order and saves, now and then, how many are on the disk.

    Parameters
    ----------
    fds : mapping
        Open files by name.
    state : State
        Where the chunks begin.
    place : Path
        Of the state file.
    seconds : float
        From one checkpoint to the next: this much work may be lost.
    shown : progress bar
        Told of the bytes.
    """

    def __init__(
        self, fds: Mapping[str, int], state: State, place: Path, seconds: float, shown: Any
    ) -> None:
        self.state = state
        self._fds = fds
        self._place = place
        self._seconds = seconds
        self._shown = shown
        self._done = state.done
        self._unsynced: set[int] = set()
        self._last = time.monotonic()
        self._broken = False

    def put(self, chunk: Run, values: np.ndarray) -> None:
        """Write the next chunk."""
        if self._broken:  # what follows a chunk that failed does not count
            return
        self._broken = True
        fd = self._fds[chunk.file.name]
        write_all(fd, values, chunk.offset)
        self._unsynced.add(fd)
        self._done += chunk.nbytes
        self._shown.update(chunk.nbytes)
        if time.monotonic() - self._last >= self._seconds:
            self.checkpoint()
        self._broken = False

    def checkpoint(self, *, complete: bool = False) -> None:
        """Flush what is written, then say so in the state file."""
        for fd in self._unsynced:
            sync(fd)
        self._unsynced.clear()
        self.state = self.state._replace(done=self._done, complete=complete)
        self.state.save(self._place)
        self._last = time.monotonic()


class OnHost:
    """A buffer that chunks are made in."""

    def __init__(self, nbytes: int) -> None:
        self._room = room(nbytes)

    def make(self, chunk: Run) -> None:
        """Make the values of a chunk."""
        chunk.generate(self._room)

    def take(self, chunk: Run) -> np.ndarray:
        """Return the bytes of the chunk made."""
        return self._room[chunk.place]


class OnDevice:
    """Likewise on a GPU, which makes one chunk while another comes to the host."""

    def __init__(self, nbytes: int, device: str) -> None:
        self._staging = Staging(nbytes + PAGE, device)

    def make(self, chunk: Run) -> None:
        """Queue all the work for a chunk."""
        values = self._staging.array(chunk.end - chunk.begin, chunk.table.dtype)
        chunk.table.fill(values, chunk.begin)
        self._staging.send(chunk.place)

    def take(self, chunk: Run) -> np.ndarray:
        """Return the bytes of the chunk made, once they are on the host."""
        return self._staging.receive(chunk.place)


def write_chunks(
    chunks: Iterable[Run], journal: Journal, chunk_bytes: int, device: str | None = None
) -> None:
    """Make chunks one by one; the journal writes them on a thread of its own."""
    spare: list[OnHost | OnDevice] = [
        OnHost(chunk_bytes) if device in (None, "cpu") else OnDevice(chunk_bytes, device)
        for _ in range(BUFFERS)
    ]
    written: deque[tuple[Future[None], OnHost | OnDevice]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="seedbed-writer")

    def put(chunk: Run, buffer: OnHost | OnDevice) -> None:
        journal.put(chunk, buffer.take(chunk))

    try:
        for chunk in chunks:
            if not spare:
                future, buffer = written.popleft()
                future.result()
                spare.append(buffer)
            buffer = spare.pop()
            buffer.make(chunk)
            written.append((thread.submit(put, chunk, buffer), buffer))
        for future, _ in written:
            future.result()
    finally:
        thread.shutdown(cancel_futures=True)
