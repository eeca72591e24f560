"""Plans of many tables."""

import hashlib
import os
import struct

import numpy as np
import pytest
import safetensors.numpy

from seedbed import initializers, tables
from seedbed.cli import main

PLAN = """
seed = 7
dtype = "bfloat16"
file = "embeddings.safetensors"

[[table]]
name = "user"
shape = [1_000, 64]
initializer = "truncated_normal"
arguments = { stddev = 0.02 }

[[table]]
name = "item"
shape = [250, 64]
initializer = "glorot_uniform"
dtype = "float32"

[[table]]
name = "bias"
shape = [250]
initializer = "zeros"

[[table]]
name = "word"
shape = [300, 8]
initializer = "uniform"
file = "words.npy"
dtype = "float64"
seed = 99

[[table]]
name = "shared"
shape = [300, 8]
initializer = "uniform"
file = "shared"
shards = 3
"""


def derived(master, name):
    """The seed as README and `named_seed` describe it, from that text alone."""
    text = b"seedbed.tables\x00" + struct.pack("<Q", master) + name.encode("utf-8")
    return struct.unpack("<Q", hashlib.sha256(text).digest()[:8])[0]


@pytest.mark.parametrize(
    ("master", "name", "seed"),
    [
        (7, "user", 12067601391634940634),
        (0, "", 661372189999473147),
        (2**64 - 1, "товар", 9414253048886476986),
    ],
)
def test_known_answers(master, name, seed):
    assert tables.named_seed(master, name) == seed == derived(master, name)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "tables.toml"
    path.write_text(PLAN)
    return path


def expected():
    user = initializers.TruncatedNormal(stddev=0.02, seed=derived(7, "user"))
    item = initializers.GlorotUniform(seed=derived(7, "item"))
    return {
        "user": user((1000, 64), "bfloat16"),
        "item": item((250, 64)),
        "bias": np.zeros(250, user((1,), "bfloat16").dtype),
    }


def test_writes_every_table(plan, tmp_path):
    summaries = list(tables.write_plan(plan))
    assert [summary.output.path.name for summary in summaries] == [
        "embeddings.safetensors",
        "words.npy",
        "shared",
    ]
    loaded = safetensors.numpy.load_file(tmp_path / "embeddings.safetensors")
    assert set(loaded) == {"user", "item", "bias"}
    for name, values in expected().items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].tobytes() == values.tobytes()
    words = initializers.RandomUniform(seed=99)((300, 8), "float64")
    assert np.array_equal(np.load(tmp_path / "words.npy"), words)
    assert tables.verify(tmp_path / "shared").ok


def test_a_table_more_changes_no_other(plan, tmp_path):
    first = {
        one.name: one.init.seed for one in tables.read_plan(plan)[0].tables if one.name != "bias"
    }
    more = '[[table]]\nname = "aaa"\nshape = [3]\ninitializer = "uniform"\n'
    plan.write_text(PLAN.replace("[[table]]", more + "[[table]]", 1))
    second = {
        one.name: one.init.seed for one in tables.read_plan(plan)[0].tables if one.name != "bias"
    }
    assert second.pop("aaa") == derived(7, "aaa")
    assert first == second


def test_parts_resume_and_force(plan, tmp_path):
    for number in (2, 1):
        list(tables.write_plan(plan, part=(number, 2)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(tables.OutputError, match="exists"):
        list(tables.write_plan(plan))
    assert all(summary.values == 0 for summary in tables.write_plan(plan, resume=True))
    (tmp_path / "words.npy").unlink()
    values = [summary.values for summary in tables.write_plan(plan, resume=True)]
    assert values == [0, 2400, 0]
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_everything_is_checked_before_anything_is_written(plan, tmp_path):
    (tmp_path / "words.npy").write_bytes(b"precious")
    with pytest.raises(tables.OutputError, match="words"):
        list(tables.write_plan(plan))
    assert sorted(os.listdir(tmp_path)) == ["tables.toml", "words.npy"]
    plan.write_text(PLAN.replace("[1_000, 64]", "[1_000_000_000, 64]"))
    (tmp_path / "words.npy").unlink()
    with pytest.raises(tables.OutputError, match="bytes free"):
        list(tables.write_plan(plan))
    assert os.listdir(tmp_path) == ["tables.toml"]


def test_command(plan, tmp_path, capsys):
    assert main(["table", "--plan", str(plan)]) == 0
    assert capsys.readouterr().out.count("\n") == 3
    assert main(["table", "--plan", str(plan)]) == 2
    assert main(["table", "--plan", str(plan), "--shape", "3"]) == 2
    assert "--shape has no meaning with --plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 7", "", "has no seed"),
        ("seed = 7", "seed = -7", "given -7"),
        ("seed = 7", 'seed = "7"', "given '7'"),
        ("seed = 7", "sed = 7", "unknown key 'sed'; allowed: seed"),
        ("seed = 7", "seed = ", "not a TOML file"),
        ("shape = [1_000, 64]", "", "table user: has no shape"),
        ("shape = [1_000, 64]", "shape = [-1, 64]", "table user: shape"),
        ("shape = [1_000, 64]", "shape = 64", "table user: shape"),
        ("shape = [1_000, 64]", "shapes = [1]", "table user: unknown key 'shapes'"),
        ('name = "user"', "", "table 1: has no name"),
        ('name = "user"', "name = 3", "name must be a string"),
        ('name = "user"', 'name = "item"', "names of their own"),
        ("truncated_normal", "truncated_norm", "truncated_normal"),
        ("stddev = 0.02", "stdev = 0.02", "stddev"),
        ("stddev = 0.02", "stddev = -0.02", "-0.02"),
        ("{ stddev = 0.02 }", "3", "arguments must be"),
        ('dtype = "bfloat16"', 'dtype = "bf16"', "bfloat16"),
        ('file = "words.npy"', 'file = "words.npz"', "words.npz"),
        ('file = "words.npy"', 'file = "embeddings.npy"\nshards = 2', "folder"),
        ("shards = 3", "shards = 301", "300 rows"),
        ('file = "words.npy"', 'file = "shared"', "shards must be equal"),
        ('initializer = "zeros"', 'initializer = "zeros"\nseed = 3', "takes no seed"),
        ("[[table]]", "[[tables]]", "no .*table"),
    ],
)
def test_bad_plans(plan, tmp_path, old, new, message):
    assert old in PLAN
    plan.write_text(PLAN.replace(old, new) if "[[" in old else PLAN.replace(old, new, 1))
    with pytest.raises((ValueError, TypeError), match=message):
        list(tables.write_plan(plan))
    assert os.listdir(tmp_path) == ["tables.toml"]


def test_no_plan(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        tables.read_plan(tmp_path / "tables.toml")
