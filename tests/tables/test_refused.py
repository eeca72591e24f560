"""What is refused in one line: damaged files, odd plans, options without meaning."""

import io
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main

INIT = initializers.RandomNormal(seed=21)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables.write("a.safetensors", INIT, (8, 3))
    tables.write("a.npy", INIT, (8, 3))


def said(capsys, *arguments):
    """Return the one line on standard error of a refused command."""
    before = sorted(os.listdir())
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before
    return err


TABLE = ("table", "--initializer=random_normal", "--seed=1", "--out=b.npy", "--shape=8x3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "a.safetensors", "--seed=8"], "--seed has no meaning without --initializer"),
        (["verify", "a.safetensors", "--set=scale=9"], "--set has no meaning"),
        (["verify", "a.safetensors", "--shape=8x3"], "shape and rows have no meaning"),
        (["verify", "a.safetensors", "--rows=0:1"], "shape and rows have no meaning"),
        (["verify", "a.safetensors", "--dtype=float16"], "--dtype"),
        (["verify", "a.npy", "--initializer=truncated_normal"], "--seed must be given"),
        (
            ["table", "--grow=a.safetensors", "--shape=9x3", "--out=b.safetensors", "--seed=9"],
            "no m",
        ),
        (["table", "--grow=.", "--shape=9x3", "--out=b.safetensors"], "only one file can grow"),
        ([*TABLE, "--rows="], "--rows must be"),
        ([*TABLE, "--part="], "--part must be"),
        ([*TABLE, "--shards="], "--shards must be"),
        (["table", "--plan="], "plan must be the name of a file"),
        (["table", "--finish", "--out=none/b.npy"], "there is no folder none"),
        ([*TABLE, "--out=" + "b" * 250 + ".npy"], "at most 200 bytes"),
        ([*TABLE, "--part=1/100000000"], "n <= 99999"),
        ([*TABLE, "--out=b", "--shape=1000000000000x4", "--shards=100000000"], "at most 99,999"),
        ([*TABLE, "--out=b"], "--shards N"),
        ([*TABLE, "--out=b.safetensors", "--name=\udcff"], "valid Unicode"),
        (["verify", "unfinished.npy"], "is unfinished"),
    ],
)
def test_options(arguments, message, capsys):
    tables.write("unfinished.npy", INIT, (8, 3), part=(1, 2))
    assert message in said(capsys, *arguments)


@pytest.mark.parametrize("target", ["nothing", "folder"])
def test_shards_do_not_go_through_a_link(target, capsys):
    os.mkdir("folder")
    os.symlink(target, "link")
    assert "symbolic link" in said(capsys, *TABLE, "--out=link", "--shards=2")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{'descr'", b"{'de(cr'"),
        (b"{'descr'", b"{'descr("),
        (b"'shape': (8, 3)", b"'shape': (8, 3]"),
        (b"'shape'", b"'shane'"),
        (b"}", b" "),
    ],
)
def test_damaged_npy(old, new, capsys):
    with open("a.npy", "r+b") as file:
        data = file.read()
        assert old in data
        file.seek(0)
        file.write(data.replace(old, new, 1))
    assert "a.npy: " in said(capsys, "info", "a.npy")
    assert "a.npy: " in said(capsys, "verify", "a.npy", "--initializer=zeros")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weight.initializer", "{"),
        ("weight.initializer", "3"),
        ("weight.shape", None),
        ("weight.rows", "[1]"),
        ("weight.shape", "[[]]"),
        ("weight.dtype", 3),
    ],
)
def test_damaged_metadata(key, value, capsys):
    data = Path("a.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][key] = value
    if value is None:
        del header["__metadata__"][key]
    text = json.dumps(header).encode()
    with open("a.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert "a.safetensors: " in said(capsys, "verify", "a.safetensors")
    assert main(["info", "a.safetensors"]) in (0, 2)


def test_bytes_after_the_last_tensor(capsys):
    with open("a.safetensors", "ab") as file:
        file.write(b"\0")
    assert "1 bytes follow" in said(capsys, "verify", "a.safetensors")


def test_shards_of_two_jobs():
    for seed in (1, 2):
        tables.write(f"s{seed}", initializers.RandomNormal(seed=seed), (8, 3), shards=2)
    name = sorted(os.listdir("s1"))[1]
    os.replace(f"s2/{name}", f"s1/{name}")
    report = tables.verify("s1")
    assert not report.ok
    assert "of different jobs: initializer.config.seed 1 and 2" in str(report)


PLAN = 'seed = 7\n[[table]]\nname = "t"\nshape = [8, 3]\ninitializer = "random_normal"\n'


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("seed = 7\ntable = [1]\n", "table 1 must be"),
        (PLAN + 'file = ["x"]', "table t: file must be"),
        (PLAN + "file = 3", "table t: file must be"),
        (PLAN + 'file = "x"\nshards = "4"', "table t: shards must be"),
        (PLAN + 'file = "x"\nshards = true', "table t: shards must be"),
        (PLAN + 'file = "x.npy"\narguments = { seed = 4 }', "table t: arguments hold no seed"),
        (
            PLAN + 'file = "x.npy"\n' + PLAN[9:].replace("random_normal", "orthogonal")
            .replace("8, 3", "8") + 'file = "y.npy"',
            "rank 2 or more",
        ),
        (
            PLAN + 'file = "x.npy"\n' + PLAN[9:].replace("random_normal", "orthogonal")
            + 'dtype = "int32"\nfile = "y.npy"',
            "dtype must be one of",
        ),
    ],
)  # fmt: skip
def test_plans(plan, message, capsys):
    with open("plan.toml", "w") as file:
        file.write(plan)
    assert message in said(capsys, "table", "--plan=plan.toml")


def test_a_file_spelled_in_two_ways(tmp_path):
    other = PLAN[9:].replace('"t"', '"u"')
    with open("plan.toml", "w") as file:
        file.write(
            f'{PLAN}file = "x.safetensors"\n{other}file = "../{tmp_path.name}/x.safetensors"'
        )
    (summary,) = tables.write_plan("plan.toml")
    assert {table.name for table in summary.output.tables} == {"t", "u"}
    assert tables.verify("x.safetensors").checked == 48


def test_nan_in_parts():
    for number in (1, 2):
        tables.write("n.npy", initializers.Constant(float("nan")), (3000, 3), part=(number, 2))
    assert np.isnan(np.load("n.npy")).all()


def test_many_missing_parts_are_not_all_listed():
    text = str(tables.write("b.npy", INIT, (8, 3), part=(1, 1000)))
    assert text.endswith("and 994 more")


def test_a_summary_in_ascii(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(TABLE) == 0


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("seedbed ")


def test_help_lists_the_initializers(capsys):
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "glorot_uniform, he_normal" in out
    assert "Example: seedbed table" in out


def test_a_part_says_which_it_is():
    assert ", part 1/2: " in str(tables.write("b.npy", INIT, (8, 3), part=(1, 2)))
    assert "part" not in str(tables.write("c.npy", INIT, (8, 3)))


def test_an_interrupted_plan_says_what_is_saved(monkeypatch, capsys):
    from seedbed.tables import pipeline

    write_all, left = pipeline.write_all, [3]

    def stopping(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write_all(*arguments)

    monkeypatch.setattr(pipeline, "write_all", stopping)
    Path("plan.toml").write_text(PLAN.replace("8, 3", "3_000_000, 8") + 'file = "x.npy"')
    clock = types.SimpleNamespace(monotonic=iter(range(0, 10**6, 9)).__next__)
    monkeypatch.setattr(pipeline, "time", clock)  # every chunk is a checkpoint
    assert main(["table", "--plan=plan.toml"]) == 130
    assert "of x.npy is saved, --resume continues it" in capsys.readouterr().err


def test_a_part_makes_the_headers_of_its_own_shards(monkeypatch):
    """And that of the first, which the format may refuse."""
    from seedbed.tables.formats import safetensors

    header, made = safetensors.header, []

    def counted(*arguments, **options):
        made.append(arguments)
        return header(*arguments, **options)

    monkeypatch.setattr(safetensors, "header", counted)
    tables.write("s", INIT, (8, 3), shards=8, part=(4, 4))
    assert len(made) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*TABLE[:-1], f"--shape=1{'0' * 400}x4"],
            "shape must have at most 2**66 elements; given (1000",
        ),
        ([*TABLE[:-1], f"--shape={'9' * 5000}x4"], "--shape must be sizes joined by x"),
        ([*TABLE, f"--set=stddev=1{'0' * 400}"], "RandomNormal: stddev must be a finite number"),
        (["table", "--initializer=initializer", "--out=b.npy", "--shape=2"], "must implement"),
        (
            ["table", "--initializer=constant", "--set=value={}", "--out=b.npy", "--shape=2"],
            "Constant: value must be a number",
        ),
    ],
)
def test_what_used_to_be_a_traceback(capsys, arguments, message):
    assert message in said(capsys, *arguments)


@pytest.mark.matplotlib
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--initializer=initializer"], "seedbed: show: Initializer must"),
        (["--initializer=constant", "--set=value=1e999"], "finite values"),
    ],
)
def test_pictures_that_used_to_be_a_traceback(capsys, arguments, message):
    assert message in said(capsys, "show", "--shape=8x3", *arguments)


def test_seeds_with_leading_zeros():
    assert main([*TABLE[:2], "--seed=07", "--out=seven.npy", "--shape=8x3"]) == 0
    expected = initializers.RandomNormal(seed=7)((8, 3))
    np.testing.assert_array_equal(np.load("seven.npy"), expected)


def test_complex_constants_are_saved_and_verified(capsys):
    options = ["--initializer=constant", "--set=value=1-2j", "--dtype=complex64", "--shape=4x3"]
    assert main(["table", *options, "--out=c.safetensors"]) == 0
    assert main(["verify", "c.safetensors"]) == 0
    assert "all 12 values compared are right" in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
def test_bounds_beyond_float32_are_as_good_as_none():
    far = initializers.TruncatedNormal(lower=-1e39, upper=1e39, seed=7)
    none = initializers.TruncatedNormal(lower=-float("inf"), upper=float("inf"), seed=7)
    np.testing.assert_array_equal(far((99,)), none((99,)))
