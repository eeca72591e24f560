"""A job: what one process does to write an output, or a part of it.

It looks first, and refuses what cannot be; it takes a lock and looks again; it mends what an
earlier job left, writes the rest, and gives the output its name if no part is missing.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    OutputError,
    SeedbedError,
    as_index,
    brief,
    is_one_of,
    warn,
)
from ..gpu import driver
from ..storage import locks
from ..storage.atomic import Folder, failing, refusing
from ..storage.direct import check_system, write_all
from . import comparing, finishing, state
from .advice import ScaleWarning, advice
from .layout import Extent, chunks
from .output import Output, Part, check_part
from .pipeline import Journal, write_chunks
from .progress import bar
from .state import Existing, State, check_space

CHUNK_BYTES = 16 << 20
CHECKPOINT_SECONDS = 2.0
RECHECKED = 4  # chunks before the point of a resume that are always looked at
CHECKS = ("all", "sample")


@dataclass(frozen=True)
class WriteOptions:
    """How an output is written; `tables.write` says what each of them is."""

    part: tuple[int, int] | None = None
    resume: bool = False
    force: bool = False
    check: Literal["all", "sample"] = "all"
    progress: bool = False
    device: str | None = None
    chunk_bytes: int = CHUNK_BYTES
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def __post_init__(self) -> None:
        if self.part is not None:
            try:
                number, of = map(as_index, self.part)
            except (TypeError, ValueError):
                raise ArgumentTypeError(f"part must be (k, n); given {brief(self.part)}") from None
            object.__setattr__(self, "part", (number, of))
        try:
            as_index(self.chunk_bytes)
            seconds = float(self.checkpoint_seconds)
        except (TypeError, ValueError):
            raise ArgumentTypeError(
                "chunk_bytes must be an integer and checkpoint_seconds a number; "
                f"given {brief(self.chunk_bytes)} and {brief(self.checkpoint_seconds)}"
            ) from None
        if self.chunk_bytes < 1:
            raise ArgumentError(f"chunk_bytes must be at least 1; given {brief(self.chunk_bytes)}")
        if not seconds >= 0:
            raise ArgumentError(f"checkpoint_seconds must be at least 0; given {seconds}")
        if not is_one_of(CHECKS, self.check):
            raise ArgumentError(f"check must be 'all' or 'sample'; given {brief(self.check)}")
        if self.device is not None and not is_one_of(("cpu",), self.device):
            driver.device_number(self.device)


class Job:
    """The work of one process on a part of an output.

    Parameters
    ----------
    output : Output
    options : WriteOptions

    Attributes
    ----------
    part : Part
    extents : list of Extent
        What the part is.
    values, nbytes : int
        That were written.
    missing : list of str
        Parts that others have still to write.
    """

    def __init__(self, output: Output, options: WriteOptions) -> None:
        check_system()
        self.output = output
        self.options = options
        self.part = check_part(options.part, output)
        self.extents = output.extents(self.part)
        total = sum(extent.nbytes for extent in self.extents)
        self.blank = State(output.describe(), self.part, 0, total)
        self._existing = Existing(output, self.blank, resume=options.resume, force=options.force)
        self.values = self.nbytes = 0
        self.missing: list[str] = []
        self._state_name = state.name_of(output, self.part)
        self._folder: Folder  # that the output is in; open while the job is locked
        self._inside: Folder  # that its files are in
        self._files: dict[str, tuple[int, Path]] = {}

    def run(self) -> None:
        """Do all of it."""
        path = self.output.path
        with refusing(path):
            if self.is_finished():
                return
            check_space([(self.output, self.check())])
        for table in self.output.tables:
            for line in advice(table):
                warn(line, ScaleWarning)
        with contextlib.ExitStack() as stack:
            with refusing(path):
                stack.enter_context(self._locked())
                start = self.claim()
            with failing(self.output.partial):
                self._write(start)
                self.missing = self._finish()

    def is_finished(self) -> bool:
        """Return whether there is nothing to resume, as the output has its name and is right."""
        if not self.options.resume:
            return False
        problem = finishing.problem(self.output, self.part, self.options.check)
        if problem is None:
            return False
        if problem and not self.options.force:
            raise OutputError(f"{self.output.path}: exists, but {problem}; --force replaces it")
        if not problem:
            finishing.clean(self.output)
        return not problem

    def check(self) -> State:
        """Refuse what cannot be written, before anything is touched or locked.

        Returns
        -------
        State
            From where the job would start, if no other one comes before it.
        """
        return self._existing.check()

    def claim(self) -> State:
        """Return from where to start, now that the lock keeps all others out.

        Raises
        ------
        OutputError
            As `check`, or if another job has finished the output since; what was made for the lock
            is removed again.
        """
        try:
            if self._is_there() and not self.options.force:
                raise OutputError(f"{self.output.path}: another job has just finished it")
            start = self._existing.starting_state(self._folder)
            self._check_sizes(start)
            return start
        except SeedbedError:
            for name, (fd, _) in self._files.items():
                locks.remove_empty(self._inside, self._name(name), fd)
            if self.output.shards:
                self._folder.remove_folder(self.output.partial.name)
            raise

    def _is_there(self) -> bool:
        """Return whether the output has its final name, which an empty folder may have, too."""
        if self._folder.stat(self.output.target.name) is None:
            return False
        return self.output.shards is None or any(self.output.target.iterdir())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Open the files of the part as their only writer."""
        part = Part() if self.output.shards else self.part
        with contextlib.ExitStack() as stack:
            self._folder = self._inside = stack.enter_context(self.output.open_folder())
            if self.output.shards:
                self._folder.make_folder(self.output.partial.name)
                inside = self._folder.folder(self.output.partial.name)
                self._inside = stack.enter_context(inside)
            for name in dict.fromkeys(extent.file.name for extent in self.extents):
                fd = stack.enter_context(locks.locked(self._inside, self._name(name), *part))
                self._files[name] = fd, self._inside.path / self._name(name)
            yield

    def _name(self, name: str) -> str:
        """Return the name that a file of the output has while it is not complete."""
        return name or self.output.partial.name

    def _write(self, start: State) -> None:
        """Write what is not there yet, and mend what is."""
        saved = start
        try:
            saved = start._replace(complete=False)
            self._prepare(saved)
            values = sum(extent.size for extent in self.extents)
            nbytes = min(self.options.chunk_bytes, max(start.total, 1))
            journal = None
            with bar(values, start.total, 0, self.options.progress) as shown:
                seconds = self.options.checkpoint_seconds
                journal = Journal(self._files, saved, self._save, seconds, shown.update)
                try:
                    self._mend(start.done, journal, shown.update)
                    rest = chunks(self.extents, nbytes, start.done)
                    write_chunks(rest, journal, nbytes, self.options.device)
                finally:
                    saved = journal.state
                    self.values, self.nbytes = journal.values, journal.nbytes
            journal.checkpoint(complete=True)
        except BaseException as error:
            if saved.done:
                error.add_note(
                    f"{saved.percent} of {self.output.path} is saved, --resume continues it"
                )
            elif self.part == Part() and (isinstance(error, OSError) or _is_stop(error)):
                self._drop()  # nothing worth a resume
            raise

    def _finish(self) -> list[str]:
        fds = {name: fd for name, (fd, _) in self._files.items()}
        force, check = self.options.force, self.options.check
        try:
            return finishing.try_finish(
                self.output, self.blank, self.part, self._folder, fds, force=force, check=check
            )
        except BaseException as error:
            if self._folder.stat(self.output.partial.name) and not isinstance(error, SeedbedError):
                error.add_note(f"{self.output.path} is written, --resume finishes it")
            raise

    def _is_anew(self, start: State) -> bool:
        return self.part == Part() and not start.done

    def _check_sizes(self, start: State) -> None:
        """Refuse files of another size than those that an earlier job has begun."""
        files = {extent.file.name: extent.file for extent in self.extents}
        for name, file in files.items() if not self._is_anew(start) else ():
            fd, path = self._files[name]
            size = os.fstat(fd).st_size
            if size not in (0, file.size) or (start.done and size == 0):
                raise OutputError(
                    f"{path}: has {size:,} bytes, not {file.size:,}; "
                    f"{state.again(self.output, self.part.of)}"
                )

    def _save(self, saved: State) -> None:
        saved.save(self._folder, self._state_name)

    def _prepare(self, start: State) -> None:
        """Save the state, as data without one are not ours, and give every file size and header."""
        files = {extent.file.name: extent.file for extent in self.extents}
        anew = self._is_anew(start)
        self._save(start)
        for name in state.names(self._folder, self.output.target) if anew else ():
            if name != self._state_name:
                self._folder.remove(name)
        for name, file in files.items():
            fd, path = self._files[name]
            with failing(path):
                if anew:
                    os.ftruncate(fd, 0)
                os.ftruncate(fd, file.size)
                write_all(fd, file.header, 0)
                os.fsync(fd)
        for name in self.output.last_files:  # what is written again is not complete
            self._inside.remove(name)
        for folder in {self._folder, self._inside}:
            folder.sync()

    def _mend(self, done: int, journal: Journal, shown: Any) -> None:
        """Compare the first bytes, which an earlier job wrote, and write again what differs."""
        if not done:
            return
        if self.options.check == "sample" and not self._looks_wrong(done):
            shown(done)
            return
        wrong, first = 0, ""

        def mend(extent: Extent, there: np.ndarray, right: np.ndarray) -> None:
            nonlocal wrong, first
            first = first or comparing.first(extent, there, right)
            wrong += comparing.count(there, right)
            journal.mend(extent, right)

        before = chunks(self.extents, comparing.CHUNK_BYTES, 0, done)
        comparing.compare(before, comparing.on_disk(self._opened), mend, shown)
        if wrong:
            warn(
                f"{self.output.partial}: {wrong:,} values were not as an earlier job wrote them, "
                f"and are written again; {first}"
            )

    def _looks_wrong(self, done: int) -> bool:
        """Return whether a sample of the first bytes, or the last of them, differ."""
        begin = max(done - RECHECKED * self.options.chunk_bytes, 0)
        last = chunks(self.extents, comparing.CHUNK_BYTES, begin, done)
        before = list(chunks(self.extents, max(done, 1), 0, done))  # whole extents
        looked_at = itertools.chain(comparing.samples(before), last)
        return bool(comparing.first_difference(looked_at, comparing.on_disk(self._opened)))

    def _opened(self, extent: Extent) -> int:
        return self._files[extent.file.name][0]

    def _drop(self) -> None:
        """Remove an unfinished output that holds nothing yet."""
        for file in self.output.files:
            self._inside.remove(self._name(file.name))
        if self.output.shards:
            self._folder.remove_folder(self.output.partial.name)
        self._folder.remove(self._state_name)


def _is_stop(error: BaseException) -> bool:
    """Return whether an error stops a program from outside, such as Ctrl-C."""
    return not isinstance(error, Exception) or isinstance(error, (SeedbedError, MemoryError))
