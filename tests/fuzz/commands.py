"""Random commands and tables: a table as it should be, or a refusal in a line."""

import contextlib
import io
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from seedbed import cli, initializers, tables

WORDS = ("table", "verify", "show", "info", "--shape", "3x4", "0x0", "9", "--initializer", "zeros",
         "glorot_uniform", "--seed", "7", "--dtype", "float32", "--out", "t.npy", "--set", "--name",
         "stddev=1", "mean=x", "--shards", "2", "--part", "1/2", "--resume", "--force", "--plan",
         "plan.toml", "--finish", "--rows", "0:2", "--check", "all", "sample", "--grow", "old.npy",
         "--ids", "ids.npy", "--by", "key", "--hf", "--device", "cpu", "cuda", "--threads", "1",
         "", "-1", "\ud800", "x\ny", "t.safetensors", "folder", "--help", "--sample")  # fmt: skip
BASE = ("table", "--shape", "3x4", "--initializer", "zeros", "--out", "t.npy")
DTYPES = ("float16", "bfloat16", "float32", "float64")


def odd_commands(chance: random.Random, count: int) -> Counter[str]:
    """Say so many commands of random words; return how they ended."""
    outcomes: Counter[str] = Counter()
    np.save("old.npy", np.zeros((2, 4), np.float32))
    np.save("ids.npy", np.arange(2))
    Path("plan.toml").write_text('seed = 7\n[[table]]\nname = "a"\nshape = [2]\n'
                                 'initializer = "ones"\nfile = "p.npy"\n')  # fmt: skip
    for _ in range(count):
        words = [chance.choice(WORDS) for _ in range(chance.randrange(9))]
        command = [*(BASE if chance.random() < 0.6 else ()), *words]
        outcomes[f"exit {said(command)}"] += 1
    return outcomes


def said(command: list[str]) -> int:
    """Say a command; return its exit status. A refusal is one line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(command)
        except SystemExit as end:
            code = end.code
    assert code in (0, 1, 2), (command, code, err.getvalue())
    if code == 2:
        lines = [line for line in err.getvalue().splitlines() if line.startswith("seedbed: ")]
        assert len(lines) == 1, (command, err.getvalue())
    return int(code)


def written(chance: random.Random, count: int) -> Counter[str]:
    """Write so many tables in random ways; return how many of each. They hold what they should."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        folder = Path(f"written-{number}")
        folder.mkdir()
        how = chance.choice([_plain, _parts, _grown, _grown_by_ids])
        how(chance, folder)
        outcomes[how.__name__.strip("_")] += 1
        shutil.rmtree(folder)
    return outcomes


def _some(chance: random.Random, height: int) -> tuple[Any, tuple[int, ...], str]:
    names = ("RandomNormal", "RandomUniform", "TruncatedNormal", "GlorotUniform")
    kind: Any = getattr(initializers, chance.choice(names))
    inner = tuple(chance.randint(1, 40) for _ in range(chance.randint(0, 2)))
    return kind(seed=chance.getrandbits(64)), (height, *inner), chance.choice(DTYPES)


def _options(chance: random.Random) -> dict[str, Any]:
    small = chance.random() < 0.1
    return {"chunk_bytes": chance.choice([1, 100] if small else [4096, 5000, 10**6]),
            "checkpoint_seconds": 2.0 if small else chance.choice([0, 2.0]),
            "check": chance.choice(["all", "sample"])}  # fmt: skip


def _path(chance: random.Random, folder: Path, dtype: str, shards: int | None = None) -> Path:
    if shards:
        return folder / "shards"
    names = ["t.safetensors"] if dtype == "bfloat16" else ["t.npy", "t.safetensors"]
    return folder / chance.choice(names)


def _read(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return np.concatenate([safetensors.numpy.load_file(file)["weight"] for file in files])


def _check(path: Path, expected: np.ndarray, init: Any = None, **how: Any) -> None:
    found = _read(path)
    assert found.shape == expected.shape, (path, found.shape, expected.shape)
    assert found.tobytes() == expected.tobytes(), path
    report = tables.verify(path, init, **how) if path.suffix == ".npy" else tables.verify(path)
    assert report.ok, str(report)


def _plain(chance: random.Random, folder: Path) -> None:
    """A whole table, or rows of it; in shards or not."""
    init, shape, dtype = _some(chance, chance.randint(1, 300))
    shards = chance.choice([None, None, chance.randint(1, shape[0])])
    start = chance.randint(0, shape[0] - 1)
    rows = None if shards or chance.random() < 0.5 else (start, chance.randint(start + 1, shape[0]))
    path = _path(chance, folder, dtype, shards)
    tables.write(path, init, shape, dtype, shards=shards, rows=rows, **_options(chance))
    expected = init(shape, dtype)[slice(*rows) if rows else ...]
    _check(path, expected, init, **({"shape": shape, "rows": rows} if rows else {}))


def _parts(chance: random.Random, folder: Path) -> None:
    """All parts of a table, in any order."""
    init, shape, dtype = _some(chance, chance.randint(1, 300))
    shards = chance.choice([None, chance.randint(1, min(shape[0], 5))])
    of, path = chance.randint(1, shards or 5), _path(chance, folder, dtype, shards)
    for part in chance.sample(range(1, of + 1), of):
        assert not path.exists()
        how = {"part": (part, of), "resume": chance.random() < 0.5, **_options(chance)}
        tables.write(path, init, shape, dtype, shards=shards, **how)
    _check(path, init(shape, dtype), init)


def _trained(chance: random.Random, folder: Path, shape: tuple[int, ...], dtype: str) -> Any:
    """Write an older file of other values."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = np.frombuffer(chance.randbytes(int(np.prod(shape)) * kind.itemsize), kind)
    old = folder / chance.choice(["old.npy", "old.safetensors"])
    if dtype == "bfloat16" or old.suffix == ".safetensors":
        old = folder / "old.safetensors"
        safetensors.numpy.save_file({"weight": values.reshape(shape)}, old)
    else:
        np.save(old, values.reshape(shape))
    return old, values.reshape(shape)


def _grown(chance: random.Random, folder: Path) -> None:
    """A taller table that keeps the rows of an older file."""
    init, shape, dtype = _some(chance, chance.randint(1, 300))
    old, values = _trained(chance, folder, (chance.randint(1, shape[0]), *shape[1:]), dtype)
    path = _path(chance, folder, dtype)
    tables.write(path, init, shape, dtype, grow=old, **_options(chance))
    expected = init(shape, dtype)
    expected[: len(values)] = values
    assert _read(path).tobytes() == expected.tobytes()


def _grown_by_ids(chance: random.Random, folder: Path) -> None:
    """A table whose rows of known ids are those of an older file."""
    width = chance.randint(1, 20)
    known = chance.sample(range(-(2**61), 2**61), chance.randint(1, 60))
    new = chance.sample(known, chance.randint(0, len(known)))
    new += chance.sample(range(2**62, 2**62 + 2**61), chance.randint(0 if new else 1, 60))
    chance.shuffle(new)
    dtype, by = chance.choice(DTYPES), chance.choice(["row", "key"])
    init = initializers.RandomNormal(seed=chance.getrandbits(64))
    old, values = _trained(chance, folder, (len(known), chance.randint(1, width)), dtype)
    np.save(folder / "ids_old.npy", known)
    np.save(folder / "ids_new.npy", new)
    ids = {"ids_old": folder / "ids_old.npy", "ids_new": folder / "ids_new.npy"}
    path = _path(chance, folder, dtype)
    tables.grow(old, path, init=init, by=by, width=width, **ids, **_options(chance))
    made = init.keyed(new, width, dtype) if by == "key" else init((len(new), width), dtype)
    rows = dict(zip(known, values, strict=True))
    for row, own in zip(made, new, strict=True):
        if own in rows:
            row[: values.shape[1]] = rows[own]
    assert _read(path).tobytes() == made.tobytes()
    how: dict[str, Any] = {"by": by} if path.suffix == ".npy" else {}
    given = init if path.suffix == ".npy" else None
    report = tables.verify(path, given, grow=old, ids=tuple(ids.values()), **how)
    assert report.ok, str(report)
