"""How far a run is: a small JSON file beside what is not complete yet.

It counts only what is flushed to the disk. It has a checksum, so that a damaged one is not
believed, and says what the run writes, so that nothing else continues it.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..storage.atomic import OutputError, write_text
from .output import Output, Part

ABOUT = "Progress of an unfinished seedbed table. --resume continues it, --force starts again."


class State(NamedTuple):
    """Progress of a part.

    Parameters
    ----------
    run : dict
        `Output.describe` of what is written.
    part : Part
        Which part of it.
    done, total : int
        Bytes of the part's data that are on the disk, and all of them.
    complete : bool
        Whether the part has nothing left to do: said last, once and for all.
    """

    run: dict[str, Any]
    part: Part
    done: int
    total: int
    complete: bool = False

    @property
    def percent(self) -> str:
        """How much of the part is done, for messages."""
        return f"{100 * self.done / max(self.total, 1):.0f} %"

    def save(self, path: Path) -> None:
        """Write the file."""
        number, of = self.part
        body = {
            "about": ABOUT,
            "run": self.run,
            "part": [number, of],
            "done": self.done,
            "total": self.total,
            "complete": self.complete,
        }
        write_text(path, json.dumps({**body, "checksum": _checksum(body)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "State":
        """Read the file.

        Raises
        ------
        OutputError
            If it is damaged.
        """
        try:
            body = json.loads(path.read_bytes())
            checksum = body.pop("checksum")
            if checksum != _checksum(body):
                raise ValueError("checksum")
            part = Part(*body["part"])
            return cls(body["run"], part, body["done"], body["total"], body["complete"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise OutputError(f"{path}: damaged; {_without(path)}") from None


def load_if_there(path: Path) -> State | None:
    """Return a state, or None where there is none: another part may have finished."""
    try:
        return State.load(path)
    except FileNotFoundError:
        return None


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def place(output: Output, part: Part) -> Path:
    """Return where the state of a part is."""
    suffix = "" if part.of == 1 else f"-{part.number}-of-{part.of}"
    return output.partial.with_name(f"{output.partial.name}{suffix}.json")


def places(output: Output) -> list[Path]:
    """Return where there are states of any part of an output."""
    return places_at(output.path)


def places_at(path: Path) -> list[Path]:
    """Return where there are states of any part of the output of that name."""
    name = re.compile(re.escape(path.name) + r"\.part(-\d+-of-\d+)?\.json")
    return sorted(place for place in path.parent.iterdir() if name.fullmatch(place.name))


def again(output: Output, parts: int) -> str:
    """Return how to start again, for messages."""
    return "--force starts again" if parts == 1 else f"to start again remove {output.partial}*"


def _without(place: Path) -> str:
    """Return how to start again without a state that is of no use."""
    partial, _, part = place.name.rpartition(".part")
    if part == ".json":
        return "--force starts again without it"
    return f"to start again remove {place.with_name(partial)}.part*"


def check_same(run: dict[str, Any], state: State, path: Path) -> None:
    """Refuse a state of another run, and say what differs."""
    for key, here, there in differences(run, state.run):
        raise OutputError(
            f"{path}: of another run: {key} is {there!r} there, {here!r} here; {_without(path)}"
        )


def differences(here: Any, there: Any, key: str = "") -> Any:
    """Yield where two JSON values differ: key, value here, value there."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in dict.fromkeys((*here, *there)):
            inner = f"{key}.{name}" if key else name
            yield from differences(here.get(name), there.get(name), inner)
    elif json.dumps(here) != json.dumps(there):  # a NaN is equal to itself there
        yield key, here, there
