"""A checkpoint on its way to the disk: resumed after a fault, and whole or not there."""

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ..errors import OutputError
from ..storage import locks
from ..storage.atomic import Folder, failing, refusing
from ..storage.direct import bounds, buffer, read_all, sync, write_all
from ..storage.foreign import parse_json, read_small
from ..tables.progress import bar
from ..values import threads
from .checkpoints import CHUNK_BYTES, INDEX, Chunk, File, index_of

CHECKPOINT_SECONDS = 2.0
RECHECKED = 2  # chunks that must be right for a run to go on after them
STATE = "seedbed.json"


class Job:
    """The writing of a checkpoint: into a folder beside, which gets its name when complete."""

    def __init__(
        self, folder: Path, files: list[File], run: dict[str, str], *, resume: bool, force: bool
    ) -> None:
        self.folder, self.files, self.run_, self.force = folder, files, run, force
        self.partial = folder.with_name(folder.name + ".part")
        self.total = sum(tensor.nbytes for file in files for tensor in file.tensors)
        self.values = sum(one.root.meta.numel() for file in files for one in file.tensors)
        self._resume = resume
        self._fds: dict[str, int] = {}
        self._done, self._saved = 0, time.monotonic()
        self._inside: Folder

    def run(self, finish: Callable[[Path], None], progress: bool) -> int:
        """Write what is missing and return how many bytes that was; `finish` adds other files."""
        with refusing(self.folder):
            start = self._start()
            if start is None:
                return 0
            self._check_space()
            self.partial.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            with refusing(self.folder):
                self._inside = stack.enter_context(Folder(self.partial))
                for file in self.files:
                    lock = locks.locked(self._inside, file.name, 1, 1)
                    self._fds[file.name] = stack.enter_context(lock)
                start = self._start() or 0  # now that nobody else writes
            with failing(self.partial):
                written = self._write(start, progress)
                finish(self.partial)
                if len(self.files) > 1:
                    self._inside.write_text(INDEX, index_of(self.files))
                self._publish()
        return written

    def _start(self) -> int | None:
        """Return how many bytes an earlier run has written; None if it has written all."""
        if not self.folder.parent.is_dir():
            raise OutputError(f"{self.folder}: there is no folder {self.folder.parent}")
        if self.folder.exists() and not self.force:
            if self._resume and not self.partial.exists() and self._is_complete():
                return None
            if not self.folder.is_dir() or any(self.folder.iterdir()):
                raise OutputError(f"{self.folder}: exists; force=True replaces it")
        state = self.partial / STATE
        if self._resume and state.exists():
            try:
                found = parse_json(read_small(state, 10_000))
                there, done = found["run"], int(found["done"])
            except (ValueError, TypeError, KeyError):
                raise OutputError(f"{state}: damaged; force=True starts again") from None
            if there != self.run_:
                raise OutputError(f"{self.partial}: of another run; force=True starts again")
            return done
        if state.exists() and not self.force:
            raise OutputError(
                f"{self.partial}: is there from an earlier run; resume=True continues it, "
                "force=True starts again"
            )
        return 0

    def _is_complete(self) -> bool:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = parse_json(read_small(self.folder / STATE, 10_000))
            return found["run"]["weights"] == self.run_["weights"]
        return False

    def _check_space(self) -> None:
        paths = [self.partial / file.name for file in self.files]
        there = sum(path.stat().st_blocks * 512 for path in paths if path.is_file())
        needed = sum(file.size for file in self.files) - there
        free = shutil.disk_usage(self.folder.parent).free
        if needed > free:
            raise OutputError(
                f"{self.folder}: the disk has {free:,} bytes free; {needed:,} are needed"
            )

    def _write(self, start: int, progress: bool) -> int:
        for file in self.files:
            fd = self._fds[file.name]
            if not start:
                os.ftruncate(fd, 0)
            os.ftruncate(fd, file.size)
            write_all(fd, np.frombuffer(file.header, np.uint8), 0)
        chunks = [chunk for file in self.files for chunk in file.chunks(CHUNK_BYTES)]
        first, self._done = _resume_point(chunks, self._fds, start)
        self._save()
        written = self.total - self._done
        buffers = itertools.cycle([buffer(CHUNK_BYTES) for _ in range(3)])

        def made() -> Iterator[tuple[Chunk, np.ndarray]]:
            for chunk, whole in with_whole(iter(chunks[first:])):
                data = next(buffers)[bounds(chunk.offset, chunk.nbytes)]
                chunk.make(data, whole)
                yield chunk, data

        with bar(self.values, self.total, self._done, progress) as shown:

            def put(item: tuple[Chunk, np.ndarray]) -> None:
                chunk, data = item
                write_all(self._fds[chunk.file], data, chunk.offset)
                self._done += chunk.nbytes
                shown.update(chunk.nbytes)
                if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
                    self._save()

            threads.hand_over(made(), put, ahead=2)
        self._save()
        return written

    def _save(self) -> None:
        """Flush what is written, then say so."""
        for fd in self._fds.values():
            sync(fd)
        text = json.dumps({"run": self.run_, "done": self._done}) + "\n"
        self._inside.write_text(STATE, text)
        self._saved = time.monotonic()

    def _publish(self) -> None:
        """Give the folder its name; one of that name goes first."""
        written = {file.name for file in self.files}
        for one in self.partial.iterdir():
            if one.name not in written:  # those are flushed, and must not be opened and closed
                with one.open("rb") as file:
                    os.fsync(file.fileno())
        self._inside.sync()
        old = self.folder.with_name(self.folder.name + ".old")
        if self.force and self.folder.is_dir() and any(self.folder.iterdir()):
            os.rename(self.folder, old)
        os.rename(self.partial, self.folder)
        with Folder(self.folder.parent) as parent:
            parent.sync()
        shutil.rmtree(old, ignore_errors=True)


def with_whole(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, torch.Tensor | None]]:
    """Yield chunks with all values of their tensor, where no window of it can be made alone."""
    whole, of = None, None
    for chunk in chunks:
        if chunk.tensor is not of:
            whole, of = None, chunk.tensor
            if not chunk.tensor.root.windowed:
                with torch.no_grad():
                    whole = chunk.tensor.root.made().cpu()
        yield chunk, whole


def _resume_point(chunks: list[Chunk], fds: dict[str, int], done: int) -> tuple[int, int]:
    """Return how many chunks, and bytes, to go on after: the last of them are right there."""
    count, end = 0, 0
    while count < len(chunks) and end + chunks[count].nbytes <= done:
        end += chunks[count].nbytes
        count += 1
    right = 0
    at, at_end = count, end
    while at > 0 and right < RECHECKED:
        at -= 1
        chunk = chunks[at]
        at_end -= chunk.nbytes
        ((_, whole),) = with_whole(iter([chunk]))
        if difference(fds[chunk.file], chunk, whole) is None:
            right += 1
        else:
            count, end, right = at, at_end, 0
    return count, end


def difference(fd: int, chunk: Chunk, whole: torch.Tensor | None) -> int | None:
    """Return the number of the first element that a file does not hold as it should."""
    where = bounds(chunk.offset, chunk.nbytes)
    there, right = buffer(chunk.nbytes)[where], buffer(chunk.nbytes)[where]
    read_all(fd, there, chunk.offset)
    chunk.make(right, whole)
    if np.array_equal(there, right):
        return None
    return chunk.begin + int((there != right).argmax()) // chunk.tensor.dtype.itemsize
