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

import contextlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, FormatError, SeedbedError, brief, naming
from ..storage.atomic import refusing
from ..storage.foreign import local_path, read_small, understanding
from ..values.seeds import check_master
from ..values.seeds import derive as named_seed
from .configurations import initializer
from .job import Job, WriteOptions
from .output import Output, output_at
from .state import State, check_space
from .table import Table, table
from .writing import Summary, write_output

MAX_BYTES = 10_000_000  # of a plan
MAX_NESTED = 2000  # brackets, braces and dots: of a plan, more than that would be deep
DEFAULTS = ("initializer", "arguments", "dtype", "file", "shards")
KEYS = ("name", "shape", "seed", *DEFAULTS)


def read_plan(path: str | os.PathLike[str]) -> list[Output]:
    """Return the outputs that a plan asks for; their files are relative to the plan's folder.

    Raises
    ------
    FormatError, ArgumentError, ArgumentTypeError
        If it is not as the head of this module says; the message names the table.
    """
    with naming("tables.read_plan"):
        path = local_path(path, "plan")
    plan = _parsed(path)
    entries = plan.pop("table", [])
    if not isinstance(entries, list) or not entries:
        raise FormatError(f"{path}: has no [[table]]")
    _check_keys(plan, ("seed", *DEFAULTS), f"{path}")
    if "seed" not in plan:
        raise FormatError(f"{path}: has no seed")
    with _locating(f"{path}"):
        master = check_master(plan["seed"])
    files: dict[str, tuple[Path, list[Table], Any]] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise FormatError(f"{path}: table {number} must be a [[table]]; given {brief(entry)}")
        where = f"{path}: table {_shown(entry.get('name', number))}"
        _check_keys(entry, KEYS, where)
        merged = {**{key: plan[key] for key in DEFAULTS if key in plan}, **entry}
        for key, kind in (("name", str), ("shape", list), ("initializer", str), ("file", str)):
            if key not in merged:
                raise FormatError(f"{where}: has no {key}")
            if not isinstance(merged[key], kind):
                what = "a list of integers" if kind is list else "a string"
                raise FormatError(f"{where}: {key} must be {what}; given {brief(merged[key])}")
        asked = merged.get("shards")
        if asked is not None and type(asked) is not int:
            raise FormatError(f"{where}: shards must be an integer; given {brief(asked)}")
        with _locating(where):
            file = path.parent / local_path(merged["file"], "file")
            key = os.path.realpath(file)  # it may be spelled in several ways
            _, tables, shards = files.setdefault(key, (file, [], asked))
            if asked != shards:
                raise ArgumentError(f"shards must be equal for all tables of {merged['file']}")
            tables.append(_table(merged, master))
    outputs = []
    for file, tables, shards in files.values():
        names = ", ".join(_shown(one.name) for one in tables[:3])
        with _locating(f"{path}: table {names}"):
            outputs.append(output_at(file, tables, shards))
    return outputs


def _parsed(path: Path) -> dict[str, Any]:
    try:
        data = read_small(path, MAX_BYTES)
    except FileNotFoundError:
        raise FormatError(f"{path}: there is no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
    with understanding(path, "not a TOML file"):
        if any(line.count(mark) > MAX_NESTED for line in data.splitlines() for mark in b"[{."):
            raise FormatError("too deep")
        return tomllib.loads(data.decode("utf-8"))


def _shown(name: Any) -> str:
    return name if isinstance(name, str) and len(name) <= 100 else brief(name)


@contextlib.contextmanager
def _locating(where: str) -> Iterator[None]:
    """Say in errors which table of which plan they are about."""
    try:
        yield
    except SeedbedError as error:
        error.owner = where if error.owner is None else f"{where}: {error.owner}"
        raise


def _table(entry: dict[str, Any], master: int) -> Table:
    arguments = entry.get("arguments", {})
    if not isinstance(arguments, dict):
        raise FormatError(f"arguments must be a table of names; given {brief(arguments)}")
    if "seed" in arguments:
        raise FormatError("arguments hold no seed; it is a key of the table")
    seed = named_seed(master, entry["name"])
    init = initializer(entry["initializer"], arguments, entry.get("seed"), default_seed=seed)
    return table(init, entry["shape"], entry.get("dtype"), name=entry["name"])


def _check_keys(found: dict[str, Any], allowed: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in allowed:
            raise FormatError(f"{where}: unknown key {brief(key)}; allowed: {', '.join(allowed)}")


def write_plan(path: str | os.PathLike[str], **options: Any) -> list[Summary]:
    """Write all that a plan asks for, and return a summary of each output.

    Keyword arguments are `part`, `resume`, `force`, `check`, `progress`, `device`, `chunk_bytes`
    and `checkpoint_seconds` of `write`. All outputs are checked before the first is written.
    """
    with naming("tables.write_plan"):
        return list(write_each(path, WriteOptions(**options)))


def write_each(path: str | os.PathLike[str], options: WriteOptions) -> Iterator[Summary]:
    """Do the work of `write_plan`, output by output, as the summaries are asked for."""
    jobs = [Job(output, options) for output in read_plan(path)]
    starts: dict[int, State] = {}
    for number, job in enumerate(jobs):
        with refusing(job.output.path):
            if not job.is_finished():
                starts[number] = job.check()
    check_space([(jobs[number].output, start) for number, start in starts.items()])
    for number, job in enumerate(jobs):
        if number in starts:
            yield write_output(job.output, options)
        else:
            yield Summary(job.output, 0, 0, 0.0, job.part, [])
