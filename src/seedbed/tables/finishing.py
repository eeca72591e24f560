"""The last step: what is complete, and only that, gets its final name."""

import errno
import os
from pathlib import Path

from . import states
from .atomic import OutputError, publish
from .output import File, Output, Part
from .states import State

SAMPLES = 64  # of a table, looked at before it gets its name
SAMPLE = 1024  # elements


def finish(path: str | os.PathLike[str], *, force: bool = False) -> Output:
    """Give an output that was written in parts its final name.

    Parameters
    ----------
    path : path
        The final name.
    force : bool
        Whether to replace a file of that name.

    Raises
    ------
    OutputError
        If a part is missing, or is not what it should be, or if there is nothing to finish.
    """
    path = Path(path)
    found = [State.load(place) for place in states.places_at(path)]
    if not found:
        raise OutputError(f"{path}: there is nothing to finish")
    for state in found:
        states.check_same(found[0].run, state, path)
    output = Output.from_description(path, found[0].run)
    missing = try_finish(output, found[0].part.of, force=force)
    if missing:
        raise OutputError(f"{path}: not complete: part {', '.join(missing)}")
    return output


def try_finish(output: Output, parts: int, *, force: bool) -> list[str]:
    """Give an output its final name if all its parts are complete; else say which are not.

    Parts that end together may all try: whoever comes second finds it done.
    """
    places = [states.place(output, Part(number, parts)) for number in range(1, parts + 1)]
    missing = []
    for number, place in enumerate(places, 1):
        state = states.load_if_there(place)
        if state is None or not state.complete:
            of = "missing" if state is None else f"{state.percent} done"
            missing.append(f"{number}/{parts} ({of})")
    if missing:
        return [] if _is_published(output) else missing
    try:
        for file in output.files:
            problem = _problem(file, output.partial / file.name)
            if problem:
                raise OSError(f"{output.partial / file.name}: {problem}; --force starts again")
        publish(output.partial, output.path, replace=force and not output.shards)
    except FileExistsError:
        raise FileExistsError(
            errno.EEXIST, "exists; --force replaces it", str(output.path)
        ) from None
    except FileNotFoundError:
        if not _is_published(output):
            raise
    for place in places:
        place.unlink(missing_ok=True)
    return []


def _is_published(output: Output) -> bool:
    return not output.partial.exists() and is_finished(output)


def is_finished(output: Output) -> bool:
    """Return whether an output is there under its final name; its values are sampled."""
    paths = {output.path / file.name: file for file in output.files}
    if output.shards and output.path.is_dir() and set(output.path.iterdir()) != set(paths):
        return False
    return all(path.is_file() and not _problem(file, path) for path, file in paths.items())


def _problem(file: File, path: Path) -> str | None:
    """Return what is wrong with a file that should be complete."""
    fd = os.open(path, os.O_RDONLY)
    try:
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
    finally:
        os.close(fd)
    return None
