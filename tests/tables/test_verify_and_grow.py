"""`verify` finds what is wrong; `grow` keeps what was there; both read files of others, too."""

import functools
import json
import os

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from seedbed import initializers, tables
from seedbed.cli import main

INIT = initializers.RandomNormal(seed=21)
SHAPE = (5000, 20)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.safetensors"
    tables.write(path, INIT, SHAPE, "float16")
    return path


def data_offset(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def flip(path, byte, bit=0):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("element", [0, 1, 4096, 50_003, 99_999])
def test_every_flipped_bit_is_found(table, element):
    report = tables.verify(table)
    assert (report.ok, report.checked, report.wrong) == (True, 100_000, 0)
    flip(table, data_offset(table) + 2 * element + 1, bit=7)  # the sign
    report = tables.verify(table)
    assert (report.ok, report.checked, report.wrong) == (False, 100_000, 1)
    row, column = divmod(element, 20)
    value = INIT(SHAPE, "float16")[row, column]
    assert f"weight[{row}, {column}] is {-value}, should be {value}" in str(report)


def test_samples(table):
    assert tables.verify(table, sample=7).checked == 7 * 4096
    assert tables.verify(table, sample=10**9).checked == 100_000  # all, which is less work
    data = bytearray(table.read_bytes())
    half = data_offset(table) + 100_000
    data[half:] = bytes(len(data) - half)
    table.write_bytes(data)
    assert not tables.verify(table, sample=100).ok  # all miss the half: less than 2**-90
    with pytest.raises(ValueError, match="given 0"):
        tables.verify(table, sample=0)


def test_zero_signs_and_nans_are_bits(tmp_path):
    path = tmp_path / "table.npy"
    tables.write(path, initializers.Zeros(), (10,))
    flip(path, path.stat().st_size - 1, bit=7)
    assert np.array_equal(np.load(path), np.zeros(10))
    assert not tables.verify(path, initializers.Zeros()).ok


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int8", "bool"])
def test_npy_needs_to_be_told(tmp_path, dtype):
    path = tmp_path / "table.npy"
    init = INIT if dtype.startswith("float") else initializers.Ones()
    tables.write(path, init, SHAPE, dtype, rows=(7, 4000))
    with pytest.raises(ValueError, match="give the initializer and its seed"):
        tables.verify(path)
    with pytest.raises(ValueError, match="holds"):
        tables.verify(path, init, SHAPE)
    assert tables.verify(path, init, SHAPE, rows=(7, 4000)).ok
    if init is INIT:
        assert not tables.verify(path, init, SHAPE, rows=(8, 4001)).ok
        assert not tables.verify(path, initializers.RandomNormal(seed=22), SHAPE, rows=(7, 4000)).ok


@pytest.mark.parametrize("options", [{"shards": 3}, {"rows": (7, 70)}])
def test_an_initializer_that_is_given_made_the_full_table_of_which_a_file_tells(tmp_path, options):
    path = tmp_path / ("folder" if "shards" in options else "a.safetensors")
    tables.write(path, INIT, SHAPE, **options)
    report = tables.verify(path, INIT)
    assert report.ok, report
    assert not tables.verify(path, initializers.RandomNormal(seed=22)).ok


def test_folder_with_a_shard_missing_or_swapped(tmp_path):
    folder = tmp_path / "shards"
    tables.write(folder, INIT, SHAPE, shards=4)
    shards = sorted(folder.iterdir())
    shards[0].rename(tmp_path / "aside")
    assert "rows 0 to 1250 of weight are missing" in str(tables.verify(folder))
    (tmp_path / "aside").rename(shards[0])
    shards[3].rename(tmp_path / "aside")
    assert "rows 3750 to 5000 of weight are missing" in str(tables.verify(folder))
    shards[2].rename(shards[3])
    assert "rows 2500 to 3750" not in str(tables.verify(folder))
    assert not tables.verify(folder).ok


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends within its header"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "ends within its header"),
        (b"\xff" * 16, "ends within its header"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "not a .safetensors"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00}{", "not a .safetensors"),
        (b'\x0d\x00\x00\x00\x00\x00\x00\x00{"a":{"b":1}}', "not a .safetensors"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "table.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        tables.verify(path)
    (tmp_path / "table.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"not a \.npy"):
        tables.verify(tmp_path / "table.npy", INIT)


def test_truncated_files(table, tmp_path):
    os.truncate(table, table.stat().st_size - 1)
    with pytest.raises(ValueError, match="does not fit"):
        tables.verify(table)
    tables.write(tmp_path / "table.npy", INIT, SHAPE)
    os.truncate(tmp_path / "table.npy", 1000)
    with pytest.raises(ValueError, match="does not hold"):
        tables.verify(tmp_path / "table.npy", INIT)


def test_other_stream_versions_are_refused(table):
    data = table.read_bytes()
    table.write_bytes(data.replace(b'"stream_version":"1"', b'"stream_version":"2"'))
    with pytest.raises(ValueError, match="stream version 2; this is version 1"):
        tables.verify(table)


def test_verify_command(table, capsys):
    assert main(["verify", str(table)]) == 0
    assert "all 100,000 values compared are right" in capsys.readouterr().out
    assert main(["verify", str(table), "--sample", "10"]) == 0
    flip(table, data_offset(table))
    assert main(["verify", str(table)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "1 of 100,000 values are wrong" in err
    assert main(["verify", "nothing.npy"]) == 2
    arguments = ["--initializer=random_normal", "--seed=21", "--shape=5000x20"]
    assert main(["verify", str(table), *arguments]) == 1
    flip(table, data_offset(table))
    assert main(["verify", str(table), *arguments]) == 0


def test_info_command(table, tmp_path, capsys):
    assert main(["info", str(table)]) == 0
    out = capsys.readouterr().out
    assert "204 kB" in out
    assert "stream version 1" in out
    assert "weight: 5,000 × 20 float16, RandomNormal(seed=21, mean=0.0, stddev=0.05)" in out
    tables.write(tmp_path / "rows.safetensors", INIT, SHAPE, rows=(10, 2000), name="some")
    assert main(["info", str(tmp_path / "rows.safetensors")]) == 0
    assert "rows 10:2,000 of 5,000" in capsys.readouterr().out
    np.save(tmp_path / "other.npy", np.zeros((3, 4), "int8"))
    assert main(["info", str(tmp_path / "other.npy")]) == 0
    assert "array: 3 × 4 int8" in capsys.readouterr().out
    tables.write(tmp_path / "parts.npy", INIT, SHAPE, part=(2, 3))
    assert main(["info", str(tmp_path / "parts.npy")]) == 0
    assert "part 2/3 complete" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "nothing.npy")]) == 2
    assert main(["info", str(tmp_path / "nothing" / "nothing.npy")]) == 2


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("rows", [5000, 5001, 8000])
def test_growing_keeps_trained_rows(tmp_path, suffix, rows):
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    tables.write(old, INIT, SHAPE)
    data = bytearray(old.read_bytes())
    trained = np.random.default_rng(1).integers(0, 256, 400_000, np.uint8).tobytes()  # NaNs, too
    data[-400_000:] = trained
    old.write_bytes(data)
    init = INIT if suffix == ".npy" else None
    tables.write(new, init, (rows, 20), grow=old, chunk_bytes=7_777)
    grown = new.read_bytes()[-rows * 80 :]
    assert grown[:400_000] == trained
    assert grown[400_000:] == INIT((rows, 20))[5000:].tobytes()
    assert old.read_bytes() == data
    if suffix == ".safetensors":
        report = tables.verify(new)
        assert report.ok
        assert (report.checked, report.kept) == ((rows - 5000) * 20, 100_000)
        with safetensors.safe_open(new, "np") as file:
            assert json.loads(file.metadata()["weight.kept_rows"]) == 5000
        assert "the first 5,000 rows kept" in tables.describe(new)[1]


def test_growing_in_place_by_force(table):
    tables.write(table, None, (6000, 20), grow=table, force=True)
    loaded = safetensors.numpy.load_file(table)["weight"]
    assert (
        loaded.tobytes() == INIT((6000, 20), "float16").tobytes()
    )  # here rows do not depend on it


def test_growing_shards_parts_and_the_command(table, tmp_path):
    tables.write(tmp_path / "shards", None, (9000, 20), grow=table, shards=4)
    whole = INIT((9000, 20), "float16")
    loaded = [
        safetensors.numpy.load_file(path)["weight"]
        for path in sorted((tmp_path / "shards").iterdir())
    ]
    assert np.concatenate(loaded).tobytes() == whole.tobytes()
    for number in (1, 2, 3):
        arguments = [
            "--shape=9000x20",
            f"--out={tmp_path / 'new.safetensors'}",
            f"--part={number}/3",
        ]
        assert main(["table", f"--grow={table}", *arguments]) == 0
    loaded = safetensors.numpy.load_file(tmp_path / "new.safetensors")["weight"]
    assert loaded.tobytes() == whole.tobytes()


def test_growing_one_of_several_written_by_others(tmp_path):
    old = tmp_path / "old.safetensors"
    trained = np.arange(12, dtype=ml_dtypes.bfloat16).reshape(4, 3)
    safetensors.numpy.save_file({"a": np.zeros(3), "b": trained}, old)
    new = tmp_path / "new.safetensors"
    with pytest.raises(ValueError, match="choose one by its name"):
        tables.write(new, INIT, (6, 3), grow=old)
    with pytest.raises(ValueError, match="does not say how it was made"):
        tables.write(new, None, (6, 3), grow=old, name="b")
    tables.write(new, INIT, (6, 3), grow=old, name="b")
    loaded = safetensors.numpy.load_file(new)["b"]
    assert loaded[:4].tobytes() == trained.tobytes()
    assert loaded[4:].tobytes() == INIT((6, 3), "bfloat16")[4:].tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4999, 20)}, "have more rows; given"),
        ({"shape": (6000, 21)}, "have more rows; given"),
        ({"shape": (6000,)}, "have more rows; given"),
        ({"dtype": "float32"}, "dtype must be that of"),
        ({"dtype": "bfloat16"}, "dtype must be that of .*, float16; given bfloat16"),
        ({"rows": (0, 5)}, "grow writes all rows"),
        ({"name": "other"}, "choose one"),
        ({"grow": "missing.safetensors"}, "no such file"),
    ],
)
def test_growing_refuses(table, tmp_path, arguments, message):
    new = tmp_path / "new.safetensors"
    given = {"shape": (6000, 20), "grow": table, **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        tables.write(new, None, given.pop("shape"), given.pop("dtype", None), **given)
    assert os.listdir(tmp_path) == [table.name]


def test_growing_resumes_only_from_the_same_file(table, tmp_path, monkeypatch):
    from seedbed.tables import pipeline

    new = tmp_path / "new.safetensors"
    write_all, left = pipeline.write_all, [4]

    def failing(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write_all(*arguments)

    options = {"grow": table, "chunk_bytes": 30_000, "checkpoint_seconds": 0}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", failing)
        with pytest.raises(KeyboardInterrupt):
            tables.write(new, None, (6000, 20), **options)
    before = table.read_bytes()
    os.utime(table, ns=(0, 0))
    with pytest.raises(tables.OutputError, match="modified_ns"):
        tables.write(new, None, (6000, 20), resume=True, **options)
    assert table.read_bytes() == before
    tables.write(new, None, (6000, 20), force=True, **options)
    assert tables.verify(new).ok


@pytest.mark.parametrize("how", ["in place", "by rename", "before finish"])
def test_growing_from_a_file_that_changes_meanwhile(table, tmp_path, monkeypatch, how):
    from seedbed.tables import pipeline
    from seedbed.tables.job import Job

    new = tmp_path / "new.safetensors"
    write_all = pipeline.write_all

    def change():
        if how == "by rename":
            (tmp_path / "other").write_bytes(bytes(table.stat().st_size))
            os.replace(tmp_path / "other", table)
        else:
            flip(table, table.stat().st_size - 1)
        os.utime(table, ns=(5, 5))

    def changing(*arguments):
        if how != "before finish":
            change()
        write_all(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", changing)
        if how == "before finish":
            patch.setattr(Job, "_finish", lambda job: [])
            tables.write(new, None, (6000, 20), grow=table)
            change()
            last = functools.partial(tables.finish, new)
        else:
            last = functools.partial(tables.write, new, None, (6000, 20), grow=table)
        with pytest.raises(OSError, match="changed while its rows were copied"):
            last()
    assert not new.exists()


def test_growing_reads_one_file(table, tmp_path, monkeypatch):
    """Whatever its name means later."""
    from seedbed.tables.growing import grown

    one = grown(table, (6000, 20))
    out = np.empty(100_000, "float16")
    one.fill(out[:1000], 0)
    (tmp_path / "other").write_bytes(bytes(table.stat().st_size))
    os.replace(tmp_path / "other", table)
    one.fill(out[1000:], 1000)
    assert out.tobytes() == INIT(SHAPE, "float16").tobytes()
