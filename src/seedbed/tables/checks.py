"""What is checked before any work: the place, what is there already, the room on the disk."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..storage.atomic import OutputError
from . import states
from .output import Output, Part
from .states import State


def check_place(output: Output, force: bool) -> None:
    """Refuse an output whose folder cannot take it, or that is there already."""
    path, folder = output.path, output.path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: folder {folder} is not writable")
    if output.shards:
        if path.is_symlink():
            raise OutputError(f"{path}: is a symbolic link; shards go into a new folder")
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(f"{path}: a folder that is not empty; remove it or choose another")
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: exists, and is not a folder")
        if output.partial.is_dir():
            ours = {file.name for file in output.files}
            for name in os.listdir(output.partial):
                if name not in ours:
                    raise OutputError(f"{output.partial / name}: is no shard of this; remove it")
    elif path.is_dir():
        raise OutputError(f"{path}: is a folder; --shards N writes into one")
    elif not force and os.path.lexists(path):
        raise OutputError(f"{path}: exists; --force replaces it once the new one is complete")


def check_space(work: Sequence[tuple[Output, State]]) -> None:
    """Refuse outputs for which a disk has no room."""
    needed: dict[int, int] = {}
    for output, state in work:
        device = output.path.parent.stat().st_dev
        needed[device] = needed.get(device, 0) + _needed(output, state)
        free = shutil.disk_usage(output.path.parent).free
        if needed[device] > free:
            raise OutputError(
                f"{output.path}: the disk has {free:,} bytes free; {needed[device]:,} are needed"
            )


def _needed(output: Output, state: State) -> int:
    """Return how many bytes a part has still to take from the disk."""
    if state.part != Part() or not output.partial.exists():
        return state.total - state.done
    written = sum(_allocated(output.partial / file.name) for file in output.files)
    return max(sum(file.size for file in output.files) - written, 0)


def _allocated(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def starting_state(output: Output, part: Part, *, resume: bool, force: bool) -> State:
    """Return the state to start from: at the beginning, or as an earlier run saved it.

    Parameters
    ----------
    output : Output
        What is to be written.
    part : Part
        Which part of it.
    resume, force : bool
        Whether to go on after what is there already, or to drop it.

    Raises
    ------
    OutputError
        If the place cannot take the output, or if what is there is not ours, of another run, or
        should be resumed or dropped first.
    """
    check_place(output, force)
    blank = State(output.describe(), part, 0, sum(run.nbytes for run in output.runs(part)))
    begun = _has_data(output)  # asked first: a writer saves its state before it writes anything
    places = states.places(output)
    if begun and not places:
        raise OutputError(f"{output.partial}: exists, and is no unfinished table; remove it")
    if force and part == Part() and not resume:
        return blank
    own = states.place(output, part)
    start = blank
    for place in places:
        if place == own and force and not resume:
            continue
        saved = states.load_if_there(place)
        if saved is None:
            continue
        if place != own and saved.part.of != part.of:
            raise OutputError(
                f"{output.path}: unfinished in {saved.part.of} parts, not {part.of}; "
                f"finish that, or remove {output.partial}*"
            )
        if place != own or resume:
            states.check_same(blank.run, saved, place)
        if place == own and resume and begun:
            start = saved
        elif place == own and not resume and begun and saved.done:
            raise OutputError(
                f"{output.path}: {saved.percent} is there from an earlier run; "
                "--resume continues it, --force starts again"
            )
        elif place != own and saved.done and not begun:
            raise OutputError(f"{place}: what it tells of is gone; remove it")
    return start


def _has_data(output: Output) -> bool:
    """Return whether there is more of an output than empty files."""
    for file in output.files:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(output.partial / file.name).st_size:
                return True
    return False
