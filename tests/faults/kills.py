"""Kills at random instants: no table has its name before it is right, and the work goes on.

``python -m tests.faults.kills [KILLS [MODE ...]]`` (50, all modes) kills a writer so often in each
way of writing a table, and looks after each kill.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

SHAPE = (60_000, 50)
OLD = 40_000
FAST: dict[str, Any] = {"resume": True, "chunk_bytes": 1 << 16, "checkpoint_seconds": 0}


class Mode(NamedTuple):
    """A way to write a table: into which name of a folder, how, and what must be there then."""

    name: str
    write: Callable[[Path], Any]
    expected: Callable[[Path], np.ndarray]


def _init() -> Any:
    from seedbed import initializers

    return initializers.RandomNormal(seed=9)


def _write(folder: Path, name: str, **how: Any) -> None:
    from seedbed import tables

    tables.write(folder / name, _init(), SHAPE, **how, **FAST)


def _parts(folder: Path) -> None:
    for number in (2, 3, 1):
        _write(folder, "table.npy", part=(number, 3))


def _grow(folder: Path, by: str) -> None:
    from seedbed import tables

    ids = {"ids_old": folder / "ids_old.npy", "ids_new": folder / "ids_new.npy"}
    tables.grow(folder / "old.npy", folder / "table.npy", init=_init(), by=by, **ids, **FAST)


def _plan(folder: Path) -> None:
    from seedbed import tables

    tables.write_plan(folder / "plan.toml", **FAST)


def _whole(_: Path) -> np.ndarray:
    return _init()(SHAPE)


def _longer(folder: Path) -> np.ndarray:
    made = _init()(SHAPE)
    made[:OLD] = np.load(folder / "old.npy")
    return made


def _placed(folder: Path, by: str) -> np.ndarray:
    old, new = (np.load(folder / f"ids_{which}.npy") for which in ("old", "new"))
    made = _init().keyed(new, SHAPE[1]) if by == "key" else _init()((len(new), SHAPE[1]))
    rows = {int(own): row for own, row in zip(old, np.load(folder / "old.npy"), strict=True)}
    for row, own in zip(made, new.tolist(), strict=True):
        row[:] = rows.get(own, row)
    return made


MODES = {
    "plain": Mode("table.npy", lambda folder: _write(folder, "table.npy"), _whole),
    "safetensors": Mode(
        "table.safetensors", lambda folder: _write(folder, "table.safetensors"), _whole
    ),
    "rows": Mode(
        "table.npy",
        lambda folder: _write(folder, "table.npy", rows=(7, 50_000)),
        lambda folder: _whole(folder)[7:50_000],
    ),
    "shards": Mode("shards", lambda folder: _write(folder, "shards", shards=3), _whole),
    "parts": Mode("table.npy", _parts, _whole),
    "grow": Mode(
        "table.npy", lambda folder: _write(folder, "table.npy", grow=folder / "old.npy"), _longer
    ),
    "grow by ids": Mode(
        "table.npy", lambda folder: _grow(folder, "row"), lambda folder: _placed(folder, "row")
    ),
    "grow by keys": Mode(
        "table.npy", lambda folder: _grow(folder, "key"), lambda folder: _placed(folder, "key")
    ),
    "plan": Mode("table.npy", _plan, _whole),
}
PLAN = """seed = 7
[[table]]
name = "table"
shape = [60_000, 50]
initializer = "random_normal"
seed = 9
file = "table.npy"
"""


def read(path: Path) -> np.ndarray:
    """Return what is in a file or in a folder of shards."""
    if path.suffix == ".npy":
        return np.load(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return np.concatenate([safetensors.numpy.load_file(file)["weight"] for file in files])


def prepare(folder: Path) -> None:
    """Write older rows and ids."""
    chance = np.random.default_rng(5)
    np.save(folder / "old.npy", chance.random((OLD, SHAPE[1]), np.float32))
    ids = chance.permutation(OLD) - 1000
    np.save(folder / "ids_old.npy", ids)
    new = chance.permutation(np.append(ids[3000:], np.arange(1, 20_000) * 2**40))
    np.save(folder / "ids_new.npy", new)
    (folder / "plan.toml").write_text(PLAN)


def killed(mode: Mode, kills: int) -> int:
    """Kill the writer so often; return how often the table was complete all the same."""
    completed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        path, expected = folder / mode.name, mode.expected(folder)
        older = {other: other.read_bytes() for other in folder.iterdir()}
        while kills:
            child = os.fork()
            if not child:
                try:
                    mode.write(folder)
                finally:
                    os._exit(0)
            time.sleep(random.uniform(0, random.choice([0.01, 0.15, 1.0])))
            os.kill(child, signal.SIGKILL)
            kills -= os.waitpid(child, 0)[1] == signal.SIGKILL
            if path.exists():  # complete: once more from the start
                assert read(path).tobytes() == expected.tobytes(), "a name of what is not complete"
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                completed += 1
        mode.write(folder)
        assert read(path).tobytes() == expected.tobytes(), "wrong in the end"
        assert {path, *older} == set(folder.iterdir()), "something is left"
        assert all(other.read_bytes() == data for other, data in older.items()), "harmed"
    return completed


def main(kills: int = 50, *modes: str) -> None:
    """Kill in each mode."""
    random.seed(3)
    _init()((10, 10))  # compiled before the first fork
    _init().keyed([1], 10)
    for name in modes or MODES:
        completed = killed(MODES[name], kills)
        print(f"{name}: {kills} kills, {completed} times complete, never wrong", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
