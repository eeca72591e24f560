"""Damaged files: an error of our family with the path, or what the official readers say, too.

Files are changed at random where readers look: `.npy` and `.safetensors` headers, those of a shard,
the index of a checkpoint, the state of an unfinished job, a plan, and files of ids.
"""

import contextlib
import io
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors

from seedbed import initializers, tables
from seedbed.errors import FormatError, SeedbedError
from seedbed.tables import state

INIT = initializers.RandomNormal(seed=21)
PART = (2000, 3)  # several pages, so that part 1 of 2 holds something
STATE = "part.npy.part-1-of-2.json"
PLAN = """seed = 7
dtype = "float16"
[[table]]
name = "user"
shape = [5, 4]
initializer = "truncated_normal"
arguments = { stddev = 0.02 }
file = "planned.safetensors"
[[table]]
name = "item"
shape = [3, 4]
initializer = "glorot_uniform"
seed = 3
file = "planned.npy"
"""
JUNK = [b"[", b"{", b'"', b"-", b"1e999", b"NaN", b"null", b"\x00", b"\xff", b"-1", b"9" * 25]
JUNK += [b"[" * 8, b"1.5", b'"a"', b"(", b")", b"~", b",", b":", b"'", b"\\", b"\\ud800", b"\n"]


def prepare() -> dict[str, bytes]:
    """Make good files of each kind in this folder; return names and bytes."""
    tables.write("a.npy", INIT, (8, 3))
    tables.write("a.safetensors", INIT, (8, 3), "bfloat16", name="w")
    tables.write("kept.safetensors", None, (12, 3), grow="a.safetensors")
    tables.write("shards", INIT, (8, 3), shards=2)
    tables.write("part.npy", INIT, PART, part=(1, 2))
    np.save("ids_old.npy", np.arange(8))
    np.save("ids_new.npy", np.arange(4, 10))
    os.mkdir("one")
    os.replace("shards/" + sorted(os.listdir("shards"))[0], "one/shard.safetensors")
    Path("plan.toml").write_text(PLAN)
    names = ("a.npy", "a.safetensors", "kept.safetensors", "one/shard.safetensors", "ids_new.npy")
    return {name: Path(name).read_bytes() for name in (*names, STATE, "plan.toml")}


def signed(body: dict) -> bytes:
    """Return a state with a checksum that fits."""
    body.pop("checksum", None)
    return json.dumps({**body, "checksum": state._checksum(body)}).encode()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes that are changed, cut or filled in at one place or several."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(min(len(changed), 900))
        kind = chance.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 20)]
        elif kind == 2:
            changed[at:at] = chance.choice(JUNK) * chance.choice([1, 1, 500])
        elif kind == 3:
            changed[at : at + 4] = chance.choice(JUNK)
        elif kind == 4:  # what stands elsewhere
            start = chance.randrange(min(len(changed), 900))
            changed[at:at] = changed[start : start + chance.randrange(1, 60)]
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


def one_line(error: SeedbedError, name: str = "") -> None:
    """Check that an error is a line, not too long, with the name of a file."""
    told = str(error)
    assert "\n" not in told, told
    assert len(told) < 2000, told
    assert name in told, told


def table(name: str, original: bytes, chance: random.Random) -> str:
    """Damage a file of values; our readers refuse what the official ones do."""
    data = mutated(original, chance)
    if name.endswith(".safetensors") and chance.random() < 0.6:  # so that it fits its length
        length = int.from_bytes(original[:8], "little") + len(data) - len(original)
        data = max(length, 0).to_bytes(8, "little") + data[8:]
    Path(name).write_bytes(data)
    try:
        tables.tensors(name)
    except FormatError as error:
        one_line(error, name)
        return "refused"
    if name == "a.npy":
        np.load(io.BytesIO(data))
    else:
        safetensors.deserialize(data)
    for call in (
        lambda: tables.describe(name),
        lambda: tables.verify(name),
        lambda: tables.verify(name, INIT),
        lambda: looked_at(name),
        lambda: tables.write("b.safetensors", INIT, (12, 3), grow=name, force=True),
    ):
        with contextlib.suppress(SeedbedError):
            call()
    return "read"


def looked_at(name: str) -> None:
    """Read the first rows of what is in a file."""
    found = tables.open(name)
    for each in found.values() if isinstance(found, Mapping) else [found]:
        each[:2]


def ids(name: str, original: bytes, chance: random.Random) -> str:
    """Damage a file of ids."""
    Path(name).write_bytes(mutated(original, chance))
    given = {"ids_old": "ids_old.npy", "ids_new": name}
    try:
        tables.grow("a.npy", "b.npy", init=INIT, force=True, **given)
    except SeedbedError as error:
        one_line(error)
        return "refused"
    assert tables.verify("b.npy", INIT, grow="a.npy", ids=("ids_old.npy", name)).ok
    return "read"


def unfinished(name: str, original: bytes, chance: random.Random) -> str:
    """Damage the state of a job; nothing is finished that is not complete."""
    data = mutated(original, chance)
    if chance.random() < 0.7:
        with contextlib.suppress(ValueError, AttributeError, RecursionError):
            data = signed(json.loads(data))
    Path(name).write_bytes(data)
    told = "read"
    for call in (
        lambda: tables.finish("part.npy"),
        lambda: tables.describe("part.npy"),
        lambda: tables.write("part.npy", INIT, PART, part=(1, 2), resume=True),
    ):
        try:
            call()
        except SeedbedError as error:
            one_line(error)
            told = "refused"
    assert not Path("part.npy").exists()
    return told


def plan(name: str, original: bytes, chance: random.Random) -> str:
    """Damage a plan: it is refused in a line, or read, and then written if it is small."""
    Path(name).write_bytes(mutated(original, chance))
    try:
        outputs = tables.read_plan(name)
        if sum(output.nbytes for output in outputs) < 10_000:
            tables.write_plan(name, force=True)
    except SeedbedError as error:
        one_line(error)
        return "refused"
    return "read"


KINDS: dict[str, Callable[[str, bytes, random.Random], str]] = {
    "a.npy": table,
    "a.safetensors": table,
    "kept.safetensors": table,
    "one/shard.safetensors": table,
    "ids_new.npy": ids,
    STATE: unfinished,
    "plan.toml": plan,
}


def damaged(chance: random.Random, count: int) -> Counter[str]:
    """Damage so many files in this folder; return what became of them."""
    originals = prepare()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        name = list(KINDS)[number % len(KINDS)]
        outcomes[f"{name} {KINDS[name](name, originals[name], chance)}"] += 1
        Path(name).write_bytes(originals[name])
    return outcomes
