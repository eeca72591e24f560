"""Many tables from one plan: a TOML file with a master seed and the tables by name.

seed = 7                              # master seed
dtype = "bfloat16"                    # any key of a table may stand here, for all of them
file = "embeddings.safetensors"

[[table]]
name = "user"
shape = [1_000_000, 64]
initializer = "truncated_normal"
arguments = { stddev = 0.02 }

[[table]]
name = "item"
shape = [250_000, 64]
initializer = "glorot_uniform"
file = "items.safetensors"            # tables of one file are written together
seed = 3                              # instead of the one derived from the name
shards = 4                            # the file is a folder of so many
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..values.seeds import check_seed
from ..values.seeds import derive as named_seed
from .checks import check_space, starting_state
from .finishing import is_finished
from .output import Output, check_part, output_at
from .table import Table, initializer, table
from .writing import Summary, write_output

DEFAULTS = ("initializer", "arguments", "dtype", "file", "shards")
KEYS = ("name", "shape", "seed", *DEFAULTS)


def read_plan(path: str | os.PathLike[str]) -> list[Output]:
    """Return the outputs that a plan asks for; their files are relative to the plan's folder.

    Raises
    ------
    ValueError, TypeError
        If it is not as the head of this module says; the message names the table.
    """
    path = Path(path)
    try:
        plan = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    entries = plan.pop("table", [])
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: has no [[table]]")
    _check_keys(plan, ("seed", *DEFAULTS), f"{path}")
    master = check_seed(plan.get("seed"), f"{path}")
    if not isinstance(master, int):
        raise ValueError(f"{path}: has no seed")
    files: dict[str, tuple[Path, list[Table], int | None]] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise TypeError(f"{path}: table {number} must be a [[table]]; given {entry!r}")
        owner = f"{path}: table {entry.get('name', number)}"
        _check_keys(entry, KEYS, owner)
        defaults = {key: plan[key] for key in DEFAULTS if key in plan}
        merged = {**defaults, **entry}
        for key in ("name", "shape", "initializer", "file"):
            if key not in merged:
                raise ValueError(f"{owner}: has no {key}")
        file, asked = merged["file"], merged.get("shards")
        if not isinstance(file, str):
            raise TypeError(f"{owner}: file must be a string; given {file!r}")
        if asked is not None and type(asked) is not int:
            raise TypeError(f"{owner}: shards must be an integer; given {asked!r}")
        place = path.parent / file  # may be spelled in several ways
        _, tables, shards = files.setdefault(os.path.realpath(place), (place, [], asked))
        if asked != shards:
            raise ValueError(f"{owner}: shards must be equal for all tables of {file}")
        tables.append(_table(merged, master, owner))
    return [output_at(place, tables, shards) for place, tables, shards in files.values()]


def _table(entry: dict[str, Any], master: int, owner: str) -> Table:
    name, kind, seed = entry["name"], entry["initializer"], entry.get("seed")
    arguments = entry.get("arguments", {})
    if not isinstance(arguments, dict):
        raise TypeError(f"{owner}: arguments must be a table of names; given {arguments!r}")
    if "seed" in arguments:
        raise ValueError(f"{owner}: arguments hold no seed; it is a key of the table")
    if not isinstance(name, str):
        raise TypeError(f"{owner}: name must be a string; given {name!r}")
    init = initializer(kind, arguments, seed, owner, default_seed=named_seed(master, name))
    return table(init, entry["shape"], entry.get("dtype"), name=name, owner=owner)


def _check_keys(found: dict[str, Any], allowed: tuple[str, ...], owner: str) -> None:
    for key in found:
        if key not in allowed:
            raise ValueError(f"{owner}: unknown key {key!r}; allowed: {', '.join(allowed)}")


def write_plan(path: str | os.PathLike[str], **options: Any) -> list[Summary]:
    """Write all that a plan asks for, and return a summary of each output.

    Keyword arguments are `part`, `resume`, `force`, `progress` and `device` of `write`. All outputs
    are checked before the first is written.
    """
    return list(write_each(path, **options))


def write_each(
    path: str | os.PathLike[str],
    *,
    part: tuple[int, int] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    device: str | None = None,
) -> Iterator[Summary]:
    """Do the work of `write_plan`, output by output, as the summaries are asked for."""
    outputs = read_plan(path)
    begun = []
    for output in outputs:
        this = check_part(part, output)
        if not (resume and is_finished(output)):
            begun.append((output, starting_state(output, this, resume=resume, force=force)))
    check_space(begun)
    for output in outputs:
        yield write_output(
            output, part=part, resume=resume, force=force, progress=progress, device=device
        )
