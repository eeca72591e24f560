"""How far a job is: a small JSON file beside what is not complete yet.

It counts only what is flushed to the disk. It has a checksum, so that a damaged one is not
believed, and says what is written, so that no other job continues it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, OutputError
from ..storage.atomic import Folder
from ..storage.foreign import mapping, natural, naturals, parse_json, read_small, understanding
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
            f"{path}: of another job: {key} is {there!r} there, {here!r} here; {_without(path)}"
        )


def differences(here: Any, there: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two JSON values differ: key, value here, value there."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in dict.fromkeys((*here, *there)):
            inner = f"{key}.{name}" if key else name
            yield from differences(here.get(name), there.get(name), inner)
    elif json.dumps(here) != json.dumps(there):  # a NaN is equal to itself there
        yield key, here, there
