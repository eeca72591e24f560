"""Writing a table, or several, to disk."""

import contextlib
import operator
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import naming
from ..gpu import driver
from ..storage.atomic import OutputError, opened, remove_empty, sync_folder
from ..storage.direct import write_all
from . import states
from .advice import ScaleWarning, advice
from .checks import check_space, starting_state
from .finishing import clean, few, is_finished, try_finish
from .grow import grown
from .output import Output, Part, Run, check_part, chunks, last_chunks, output_at
from .pipeline import Journal, write_chunks
from .progress import bar
from .states import State
from .table import table

CHUNK_BYTES = 16 << 20
CHECKPOINT_SECONDS = 2.0
RECHECKED = 4  # chunks that must be right for a run to go on after them


class Summary(NamedTuple):
    """What a call wrote; as a string, one line.

    Parameters
    ----------
    output : Output
        Of which it wrote all or a part.
    values, nbytes : int
        Without what was there already.
    seconds : float
        Of the whole call.
    part : Part
        Which part, if not all.
    missing : list of str
        Parts that others have still to write; if empty, the output has its final name.
    """

    output: Output
    values: int
    nbytes: int
    seconds: float
    part: Part
    missing: list[str]

    def __str__(self) -> str:
        what = f"{self.output}, part {self.part}" if self.part != Part() else f"{self.output}"
        rates = f"{self.values / self.seconds / 1e6:,.0f} M values/s"
        text = (
            f"{what}: {readable(self.nbytes)} in {self.seconds:.2f} s "
            f"({rates}, {self.nbytes / self.seconds / 1e9:.2f} GB/s)"
        )
        if not self.nbytes:
            text = f"{what}: was complete"
        return text + (f"; to do: part {few(self.missing)}" if self.missing else "")


def readable(nbytes: int) -> str:
    """Return a number of bytes as people write it.

    Examples
    --------
    >>> readable(256_000_000)
    '256 MB'
    """
    size, units = float(nbytes), iter(("B", "kB", "MB", "GB", "TB", "PB", "EB"))
    unit = next(units)
    while size >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.3g} {unit}"


def write(
    path: str | os.PathLike[str],
    init: Any,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    name: str | None = None,
    grow: str | os.PathLike[str] | None = None,
    rows: tuple[int, int] | slice | None = None,
    shards: int | None = None,
    part: tuple[int, int] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    device: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Summary:
    """Write a table to disk, in memory bounded by the chunks, not by the table.

    While it is not complete it is at ``path + ".part"``, with its progress in a small JSON file
    beside that; it gets its name once complete and flushed to the disk.

    Parameters
    ----------
    path : path
        Ends in ``.npy`` or ``.safetensors``; with `shards`, the name of a folder.
    init : Initializer, str or dict
        As `seedbed.initializers.get` takes; with an integer seed, or None, but no generator.
        With `grow`, None is the initializer that made the older file.
    shape : sequence of int
        The full table, of any rank.
    dtype : dtype or name, optional
        float32 by default; with `grow`, that of the older file. ``.npy`` has no bfloat16 and no
        float8.
    name : str, optional
        Of the tensor in a ``.safetensors`` file: ``"weight"`` by default.
    grow : path, optional
        An older, shorter file, whose rows come first as they are there, trained or not.
    rows : tuple of two int, or slice, optional
        Write these rows only, (start, stop).
    shards : int, optional
        Write a folder of so many files, equal but for a row, that PyTorch's
        ``torch.distributed.checkpoint`` loads as one tensor.
    part : tuple of two int, optional
        (k, n): write part k, from 1, of n. Any process or host that sees the folder may write
        any part; the last one to be complete gives the output its name. Shards are not cut, so
        there may be as many parts as shards.
    resume : bool
        Continue an earlier run that was interrupted, after a look at its last chunks. A table that
        is complete is left as it is.
    force : bool
        Replace an existing file, once the new one is complete; drop an unfinished one.
    progress : bool
        Show a progress bar if standard error is a terminal.
    device : str, optional
        Where values are made: ``"cpu"`` (default), ``"cuda"`` or ``"cuda:1"``. They are the same.
    chunk_bytes : int
        What is made and written at a time; three times that is held in memory.
    checkpoint_seconds : float
        How much work a killed process may lose.

    Returns
    -------
    Summary
        What was written.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as said above, the file exists, the disk has no room, or another
        process is writing it (`OutputError`, a ValueError and OSError); before any work.
    OSError
        If the disk fails or fills up; `resume` goes on from there.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from seedbed import initializers
    >>> init = initializers.GlorotUniform(seed=7)
    >>> path = tempfile.mkdtemp() + "/table.npy"
    >>> write(path, init, (1000, 64)).nbytes
    256000
    >>> bool((np.load(path) == init((1000, 64))).all())
    True
    """
    if grow is None:
        one = table(init, shape, dtype, name="weight" if name is None else name, rows=rows)
    elif rows is None:
        one = grown(grow, shape, init, dtype, name=name)
    else:
        raise ValueError(f"tables.write: grow writes all rows; given rows {rows}")
    return write_output(
        output_at(path, [one], shards),
        part=part,
        resume=resume,
        force=force,
        progress=progress,
        device=device,
        chunk_bytes=chunk_bytes,
        checkpoint_seconds=checkpoint_seconds,
    )


def write_output(
    output: Output,
    *,
    part: tuple[int, int] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    device: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Summary:
    """Write an output of any number of tables; `write` says what the arguments are."""
    start = time.perf_counter()
    if operator.index(chunk_bytes) < 1:
        raise ValueError(f"tables.write: chunk_bytes must be at least 1; given {chunk_bytes}")
    if device not in (None, "cpu"):
        with naming("tables.write"):
            driver.device_number(device)
    this = check_part(part, output)
    if resume and is_finished(output):
        clean(output)
        return Summary(output, 0, 0, time.perf_counter() - start, this, [])
    runs = output.runs(this)
    state = starting_state(output, this, resume=resume, force=force)
    check_space([(output, state)])
    for one in output.tables:
        for line in advice(one):
            warnings.warn(line, ScaleWarning, stacklevel=3)
    place = states.place(output, this)
    if output.shards:
        output.partial.mkdir(exist_ok=True)
    chunk_bytes = min(chunk_bytes, max(state.total, 1))
    with _opened(output, runs, this) as fds:
        try:
            state = starting_state(
                output, this, resume=resume, force=force
            )  # now that nobody else writes
        except OutputError:
            _leave(output, fds)
            raise
        journal = None
        try:
            _prepare(output, runs, fds, state)
            right = _resume_point(runs, fds, state.done, chunk_bytes)
            state = state._replace(done=right, complete=False)
            state.save(place)
            values = sum(run.end - run.begin for run in runs)
            with bar(values, state.total, state.done, progress) as shown:
                journal = Journal(fds, state, place, checkpoint_seconds, shown)
                write_chunks(chunks(runs, state.done, chunk_bytes), journal, chunk_bytes, device)
            journal.checkpoint(complete=True)
        except BaseException:
            saved = journal.state if journal else state
            if this == Part() and not saved.done:  # nothing worth a resume
                _drop(output, place)
            raise
        missing = try_finish(output, this.of, fds, force=force)
    done = state.total - state.done
    share = done / max(state.total, 1)
    seconds = time.perf_counter() - start
    return Summary(output, round(values * share), done, seconds, this, missing)


@contextlib.contextmanager
def _opened(output: Output, runs: Sequence[Run], part: Part) -> Iterator[dict[str, int]]:
    """Open the files of a part, by name, as their only writer."""
    whole = Part() if output.shards else part
    names = dict.fromkeys(run.file.name for run in runs)
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(opened(output.partial / name, *whole)) for name in names}


def _prepare(output: Output, runs: Sequence[Run], fds: dict[str, int], state: State) -> None:
    """Save the state, as data without one are not ours, and give every file size and header."""
    files = {run.file.name: run.file for run in runs}
    anew = state.part == Part() and not state.done
    for name, file in files.items():
        size = os.fstat(fds[name]).st_size
        if not anew and (size not in (0, file.size) or (state.done and size == 0)):
            raise OutputError(
                f"{output.partial / name}: has {size:,} bytes, not {file.size:,}; "
                f"{states.again(output, state.part.of)}"
            )
    own = states.place(output, state.part)
    state.save(own)
    for place in states.places(output) if anew else ():
        if place != own:
            place.unlink()
    for name, file in files.items():
        if anew:
            os.ftruncate(fds[name], 0)
        os.ftruncate(fds[name], file.size)
        write_all(fds[name], file.header, 0)
        os.fsync(fds[name])
    for folder in {output.partial, output.partial.parent}:
        if folder.is_dir():
            sync_folder(folder)


def _resume_point(runs: Sequence[Run], fds: dict[str, int], done: int, chunk_bytes: int) -> int:
    """Return how many of the first `done` bytes to go on after: the last chunks are right there."""
    at, right = done, 0
    for chunk in last_chunks(runs, done, chunk_bytes):
        at -= chunk.nbytes
        right += 1
        if not chunk.is_right(fds[chunk.file.name]):
            done, right = at, 0
        if right == RECHECKED:
            break
    return done


def _leave(output: Output, fds: dict[str, int]) -> None:
    """Remove what was begun before it turned out that the output had just been finished."""
    for name, fd in fds.items():
        remove_empty(output.partial / name, fd)
    if output.shards:
        with contextlib.suppress(OSError):
            output.partial.rmdir()


def _drop(output: Output, place: Path) -> None:
    """Remove an unfinished output that holds nothing yet."""
    for file in output.files:
        (output.partial / file.name).unlink(missing_ok=True)
    if output.shards:
        output.partial.rmdir()
    place.unlink(missing_ok=True)
