"""How far a job is: a small JSON file beside what is not complete yet.

It counts only what is flushed to the disk. It has a checksum, so that a damaged one is not
believed, and says what is written, so that no other job continues it.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, OutputError, brief
from ..storage import locks
from ..storage.atomic import Folder
from ..storage.foreign import mapping, natural, naturals, parse_json, read_small, understanding
from .layout import File
from .output import MAX_PARTS, Output, Part

ABOUT = "Progress of an unfinished seedbed table. --resume continues it, --force starts again."
MAX_BYTES = 100_000_000  # of a state: of thousands of tables


class State(NamedTuple):
    """Progress of a part.

    Parameters
    ----------
    output : dict
        `Output.describe` of what is written.
    part : Part
        Which part of it.
    done, total : int
        Bytes of the part's data that are on the disk, and all of them.
    complete : bool
        Whether the part has nothing left to do: said last, once and for all.
    """

    output: dict[str, Any]
    part: Part
    done: int
    total: int
    complete: bool = False

    @property
    def percent(self) -> str:
        """How much of the part is done, for messages."""
        return f"{100 * self.done / max(self.total, 1):.0f} %"

    def save(self, folder: Folder, name: str) -> None:
        """Write the file."""
        body = {
            "about": ABOUT,
            "output": self.output,
            "part": list(self.part),
            "done": self.done,
            "total": self.total,
            "complete": self.complete,
        }
        text = json.dumps({**body, "checksum": _checksum(body)}, indent=1)
        folder.write_text(name, text + "\n")

    @classmethod
    def load(cls, folder: Folder, name: str) -> "State":
        """Read the file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        FormatError
            If it is damaged, or says what cannot be.
        """
        path = folder.path / name
        try:
            data = read_small(path, MAX_BYTES, dir_fd=folder.fd)
            with understanding(path, "damaged"):
                body = mapping(parse_json(data), "state")
                checksum = body.pop("checksum", None)
                if checksum != _checksum(body):
                    raise FormatError("its checksum differs")
                number, of = naturals(body.get("part"), "part", 2)
                if not 1 <= number <= of <= MAX_PARTS:
                    raise FormatError(f"part must be k, n of at most {MAX_PARTS:,}")
                total = natural(body.get("total"), "total", 2**63 - 1)
                done = natural(body.get("done"), "done", total)
                complete = body.get("complete")
                if type(complete) is not bool or (complete and done != total):
                    raise FormatError("complete must be true or false, as done says")
                output = mapping(body.get("output"), "output")
            return cls(output, Part(number, of), done, total, complete)
        except FormatError as error:
            raise FormatError(f"{error}; {_without(path)}") from None


def load_if_there(folder: Folder, name: str) -> State | None:
    """Return a state, or None where there is none: another part may have finished."""
    try:
        return State.load(folder, name)
    except FileNotFoundError:
        return None


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def name_of(output: Output, part: Part) -> str:
    """Return the name of the state of a part."""
    suffix = "" if part.of == 1 else f"-{part.number}-of-{part.of}"
    return f"{output.partial.name}{suffix}.json"


def names(folder: Folder, path: Path) -> list[str]:
    """Return the names of all states in a folder of parts of an output of that name."""
    name = re.compile(re.escape(path.name) + r"\.part(-[0-9]{1,5}-of-[0-9]{1,5})?\.json")
    return sorted(filter(name.fullmatch, folder.names()))


def again(output: Output, parts: int) -> str:
    """Return how to start again, for messages."""
    return "--force starts again" if parts == 1 else f"to start again remove {output.partial}*"


def _without(path: Path) -> str:
    """Return how to start again without a state that is of no use."""
    partial, _, part = path.name.rpartition(".part")
    if part == ".json":
        return "--force starts again without it"
    return f"to start again remove {path.with_name(partial)}.part*"


def check_same(output: dict[str, Any], state: State, path: Path) -> None:
    """Refuse a state of another output, and say what differs."""
    for key, here, there in differences(output, state.output):
        raise OutputError(
            f"{path}: of another job: {brief(key)[1:-1]} is {brief(there)} there, {brief(here)} "
            f"here; {_without(path)}"
        )


def differences(here: Any, there: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two JSON values differ: key, value here, value there."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in dict.fromkeys((*here, *there)):
            inner = f"{key}.{name}" if key else name
            yield from differences(here.get(name), there.get(name), inner)
    elif json.dumps(here) != json.dumps(there):  # a NaN is equal to itself there
        yield key, here, there


class Existing:
    """What there is already of an output.

    Parameters
    ----------
    output : Output
    blank : State
        Of the part that is to be written, from the beginning.
    resume, force : bool
        Whether to go on after what is there, or to drop it.
    """

    def __init__(self, output: Output, blank: State, *, resume: bool, force: bool) -> None:
        self.output = output
        self.blank = blank
        self.part = blank.part
        self._resume, self._force = resume, force
        self._own = name_of(output, blank.part)

    def check(self) -> State:
        """Refuse what cannot be written, before anything is touched or locked.

        Returns
        -------
        State
            From where a job would start, if no other one comes before it.
        """
        path, folder = self.output.path, self.output.target.parent
        if not os.path.isdir(folder):
            raise OutputError(f"{path}: there is no folder {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: folder {folder} is not writable")
        with self.output.open_folder() as opened:
            self._check_name(opened)
            if self.output.shards and opened.stat(self.output.partial.name) is not None:
                self._check_shards(opened)
            return self.starting_state(opened)

    def _check_name(self, folder: Folder) -> None:
        """Refuse an output whose name means something that it may not replace."""
        path, target = self.output.path, self.output.target
        found = folder.stat(target.name)
        if self.output.shards:
            if os.path.islink(path):
                raise OutputError(f"{path}: is a symbolic link; shards go into a new folder")
            if found is not None and not stat.S_ISDIR(found.st_mode):
                raise OutputError(f"{path}: exists, and is not a folder")
            if found is not None and any(path.iterdir()):
                raise OutputError(f"{path}: a folder that is not empty; remove it")
            return
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise OutputError(f"{path}: is a folder; --shards N writes into one")
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise OutputError(f"{path}: exists, and is not a regular file")
        if (found is not None or os.path.islink(path)) and not self._force:
            raise OutputError(f"{path}: exists; --force replaces it once the new one is complete")

    def _check_shards(self, folder: Folder) -> None:
        ours = self.output.names
        with folder.folder(self.output.partial.name) as inside:
            for name in inside.names():
                if name not in ours:
                    raise OutputError(
                        f"{inside.path / name}: is no {self.output.unit[:-1]} of this; remove it"
                    )

    def starting_state(self, folder: Folder) -> State:
        """Return the state to start from: the beginning, or as an earlier job saved it."""
        begun = self._has_data(folder)  # asked first: a job saves its state before it writes
        found = names(folder, self.output.target)
        if begun and not found:
            raise OutputError(
                f"{self.output.partial}: exists, and is no unfinished table; remove it"
            )
        if self._force and self.part == Part() and not self._resume:
            return self.blank
        start = self.blank
        for name in found:
            own = name == self._own
            if own and self._force and not self._resume:
                continue
            saved = load_if_there(folder, name)
            if saved is not None and self._agrees(folder, name, saved, begun):
                start = saved
        return start

    def _agrees(self, folder: Folder, name: str, saved: State, begun: bool) -> bool:
        """Return whether the job goes on after a saved state; refuse one that it cannot be with."""
        path, output = folder.path / name, self.output
        own = name == self._own
        if not own and saved.part.of != self.part.of:
            raise OutputError(
                f"{output.path}: unfinished in {saved.part.of} parts, not {self.part.of}; "
                f"finish that, or remove {output.partial}*"
            )
        if not own or self._resume:
            check_same(self.blank.output, saved, path)
        if own and self._resume and begun:
            if saved.total != self.blank.total:
                raise OutputError(f"{path}: damaged; {again(output, self.part.of)}")
            return True
        if own and not self._resume and begun and saved.done:
            if self._is_taken(folder):
                raise OutputError(f"{output.partial}: another process is writing it")
            raise OutputError(
                f"{output.path}: {saved.percent} is there from an earlier job; "
                "--resume continues it, --force starts again"
            )
        if not own and saved.done and not begun and not self._has_data(folder):  # asked again
            raise OutputError(f"{path}: what it tells of is gone; remove it")
        return False

    def _is_taken(self, folder: Folder) -> bool:
        if self.output.shards is None:
            return locks.is_taken(folder, self.output.partial.name, *self.part)
        with folder.folder(self.output.partial.name) as inside:
            begin, _ = self.part.share(len(self.output.files))
            return locks.is_taken(inside, self.output.files[begin].name, 1, 1)

    def _has_data(self, folder: Folder) -> bool:
        """Return whether there is more of the output than empty files."""
        name = self.output.partial.name
        if self.output.shards is None:
            found = folder.stat(name)
            return found is not None and (found.st_size > 0 or not stat.S_ISREG(found.st_mode))
        if folder.stat(name) is None:
            return False
        with folder.folder(name) as inside:
            found = [inside.stat(file.name) for file in self.output.files]
        return any(one is not None and one.st_size > 0 for one in found)


def check_space(work: Sequence[tuple[Output, State]]) -> None:
    """Refuse jobs for which a disk has no room."""
    needed: dict[int, int] = {}
    for output, start in work:
        folder = output.target.parent
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + _needed(output, start)
        free = shutil.disk_usage(folder).free
        if needed[device] > free:
            raise OutputError(
                f"{output.path}: the disk has {free:,} bytes free; {needed[device]:,} are needed"
            )


def _needed(output: Output, start: State) -> int:
    """Return how many bytes a part has still to take from the disk."""
    if start.part != Part() or not output.partial.exists():
        return start.total - start.done
    written = sum(_allocated(output, file) for file in output.files)
    return max(sum(file.size for file in output.files) - written, 0)


def _allocated(output: Output, file: File) -> int:
    path = output.partial / file.name if file.name else output.partial
    return path.stat().st_blocks * 512 if path.exists() else 0
