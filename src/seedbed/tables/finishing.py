"""The last step: what is complete, and only that, gets its final name."""

import contextlib
import errno
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..locks import renewed
from ..storage.atomic import OutputError, opened, publish
from . import states
from .output import MAX_OPEN, File, Output, Part
from .states import State

SAMPLES = 64  # of a table, looked at before it gets its name
SAMPLE = 1024  # elements
_turn = renewed(threading.Lock())  # who reads the shards of another thread takes its locks on them


def finish(path: str | os.PathLike[str], *, force: bool = False) -> Output | None:
    """Give an output that was written in parts its final name.

    Parameters
    ----------
    path : path
        The final name.
    force : bool
        Whether to replace a file of that name.

    Returns
    -------
    Output or None
        What has its final name now; None if it had it before.

    Raises
    ------
    OutputError
        If a part is missing, or is not what it should be, or if there is nothing to finish.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}")
    found = {place: State.load(place) for place in states.places_at(path)}
    if not found and os.path.lexists(path):
        return None
    if not found:
        raise OutputError(f"{path}: there is nothing to finish")
    first = next(iter(found.values()))
    for place, state in found.items():
        states.check_same(first.run, state, place)
    output = Output.from_description(path, first.run)
    if is_finished(output):
        clean(output)
        return None
    missing = _missing(output, first.part.of)
    if not missing:
        with contextlib.ExitStack() as stack:
            fds = {}
            for file in output.files[:MAX_OPEN]:  # one of them keeps out who writes all
                with contextlib.suppress(FileNotFoundError):
                    lock = opened(output.partial / file.name, 1, 1, create=False)
                    fds[file.name] = stack.enter_context(lock)
            missing = try_finish(output, first.part.of, fds, force=force)
    if missing:
        raise OutputError(f"{path}: not complete: part {few(missing)}")
    return output


def try_finish(output: Output, parts: int, fds: Mapping[str, int], *, force: bool) -> list[str]:
    """Give an output its final name if all its parts are complete; else say which are not.

    Parts that end together may all try: whoever comes second finds it done.

    Parameters
    ----------
    output : Output
        What is written.
    parts : int
        How many parts it is written in.
    fds : mapping
        The files, by name, that this process has open and locked: they stay so until the end.
    force : bool
        Whether to replace a file of that name.
    """
    missing = _missing(output, parts)
    if missing:
        return [] if _is_published(output) else missing
    with _turn:
        try:
            _check(output, parts, fds)
            publish(output.partial, output.path, replace=force and not output.shards)
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST, "exists; --force replaces it", str(output.path)
            ) from None
        except FileNotFoundError:
            if not _is_published(output):
                raise
    for place in _places(output, parts):
        place.unlink(missing_ok=True)
    return []


def few(parts: Sequence[str]) -> str:
    """Return the first of many parts, and how many more there are."""
    more = f" and {len(parts) - 5:,} more" if len(parts) > 5 else ""
    return ", ".join(parts[:5]) + more


def _places(output: Output, parts: int) -> list[Path]:
    return [states.place(output, Part(number, parts)) for number in range(1, parts + 1)]


def _missing(output: Output, parts: int) -> list[str]:
    """Return which parts are not complete."""
    missing = []
    for number, place in enumerate(_places(output, parts), 1):
        state = states.load_if_there(place)
        if state is None or not state.complete:
            of = "missing" if state is None else f"{state.percent} done"
            missing.append(f"{number}/{parts} ({of})")
    return missing


def _check(output: Output, parts: int, fds: Mapping[str, int]) -> None:
    """Refuse what is not as it should be: older files, sizes, headers, samples of the values."""
    again = states.again(output, parts)
    kept = [table for table in output.tables if table.kept is not None]
    for place in _places(output, parts) if kept else ():
        state = states.load_if_there(place)
        for table in kept:
            before = state and state.run["tables"][table.name]["kept"]
            if before and table.kept and table.kept.describe() != before:
                raise OSError(f"{table.kept.path}: changed while its rows were copied; {again}")
    for file in output.files:
        path, fd = output.partial / file.name, fds.get(file.name)
        problem = _problem_at(file, path) if fd is None else _problem(file, fd)
        if problem:
            raise OSError(f"{path}: {problem}; {again}")


def _is_published(output: Output) -> bool:
    return not output.partial.exists() and is_finished(output)


def is_finished(output: Output) -> bool:
    """Return whether an output is there under its final name; its values are sampled."""
    paths = {output.path / file.name: file for file in output.files}
    if output.shards and output.path.is_dir() and set(output.path.iterdir()) != set(paths):
        return False
    return all(path.is_file() and not _problem_at(file, path) for path, file in paths.items())


def clean(output: Output) -> None:
    """Remove what a run left that was killed once the output had its final name."""
    places, partial = states.places(output), output.partial
    if not partial.exists() or (partial.is_file() and partial.samefile(output.path)):
        partial.unlink(missing_ok=True)
        for place in places:
            state = states.load_if_there(place)
            if state and state.complete:
                place.unlink(missing_ok=True)


def _problem_at(file: File, path: Path) -> str | None:
    """Return what is wrong with a file that this process has not locked."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return _problem(file, fd)
    finally:
        os.close(fd)


def _problem(file: File, fd: int) -> str | None:
    """Return what is wrong with a file that should be complete."""
    if os.fstat(fd).st_size != file.size:
        return f"has {os.fstat(fd).st_size:,} bytes, not {file.size:,}"
    if os.pread(fd, len(file.header), 0) != file.header:
        return "has another header"
    for run in file.runs():
        starts = range(0, run.end, max(run.end // SAMPLES, SAMPLE))
        for start in (*starts, max(run.end - SAMPLE, 0)):
            sample = run.cut(start, min(start + SAMPLE, run.end))
            if not sample.is_right(fd):
                return f"elements {sample.begin} to {sample.end} of {run.table.name} are wrong"
    return None
