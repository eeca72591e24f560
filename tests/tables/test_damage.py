"""Bits that flip while a table is not finished: none of them gets a final name."""

import os

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import FormatError, OutputError, StorageError
from seedbed.storage.atomic import Folder
from seedbed.tables import pipeline
from seedbed.tables.job import Job

INIT = initializers.RandomNormal(seed=9)
SHAPE = (20_000, 50)  # 4 MB
CHUNK = 65_536


class StoppedError(Exception):
    pass


def stop_after(patch, chunks):
    write_all, left = pipeline.write_all, [chunks]

    def failing(*arguments):
        if not left[0]:
            raise StoppedError
        left[0] -= 1
        write_all(*arguments)

    patch.setattr(pipeline, "write_all", failing)


def interrupted(path, monkeypatch, chunks=25, **options):
    with monkeypatch.context() as patch:
        stop_after(patch, chunks)
        with pytest.raises(StoppedError):
            tables.write(path, INIT, SHAPE, chunk_bytes=CHUNK, checkpoint_seconds=0, **options)


def flip(path, byte, bit):
    with open(path, "r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 1 << bit]))


def data_files(path):
    return sorted(path.iterdir()) if path.is_dir() else [path]


@pytest.mark.parametrize("shards", [None, 4])
def test_one_bit_of_another_part_is_found(tmp_path, shards):
    """At 50 places of what part 1 of 2 wrote: part 2 tells, part 1 mends, then it is right."""
    random, shape = np.random.default_rng(3), (2_000, 50)
    path = tmp_path / ("table" if shards else "table.npy")
    unfinished = tmp_path / (path.name + ".part")
    tables.write(path, INIT, shape, part=(1, 2), shards=shards)
    for number in range(50):
        file = data_files(unfinished)[number % 2 if shards else 0]
        begin = 4096 if shards else 128
        end = file.stat().st_size if shards else 200_000
        byte, bit = int(random.integers(begin, end)), int(random.integers(8))
        flip(file, byte, bit)
        with pytest.raises(StorageError, match=r"should be .*--part 1/2 --resume writes"):
            tables.write(path, INIT, shape, part=(2, 2), shards=shards, resume=True)
        with pytest.raises(StorageError, match="should be"):
            tables.finish(path)
        assert not path.exists()
        flip(file, byte, bit)
        if number == 49:  # and this one stays
            flip(file, byte, bit)
    with pytest.warns(UserWarning, match="1 values were not as an earlier job wrote them"):
        tables.write(path, INIT, shape, part=(1, 2), shards=shards, resume=True)
    assert tables.verify(path, *([] if shards else [INIT])).ok
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("shards", [None, 3])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_one_bit_of_what_is_resumed_is_mended(tmp_path, monkeypatch, shards, place):
    path = tmp_path / ("table" if shards else "table.safetensors")
    interrupted(path, monkeypatch, chunks=40, shards=shards)
    unfinished = tmp_path / (path.name + ".part")
    file, done = (data_files(unfinished)[0], 10 * CHUNK) if shards else (unfinished, 40 * CHUNK)
    flip(file, 4096 + int(place * done), 5)
    with pytest.warns(UserWarning, match=r"weight\[\d+, \d+\] is .*, should be "):
        summary = tables.write(path, INIT, SHAPE, resume=True, shards=shards)
    assert tables.verify(path).ok
    assert summary.nbytes > 4_000_000 - 40 * CHUNK


def test_one_bit_of_a_finished_file_is_told(tmp_path):
    path = tmp_path / "table.npy"
    tables.write(path, INIT, SHAPE)
    assert tables.write(path, INIT, SHAPE, resume=True).values == 0
    flip(path, 128 + 2_345_678, 0)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"exists, but weight\[.*\] is .*; --force replaces it"):
        tables.write(path, INIT, SHAPE, resume=True)
    assert path.read_bytes() == before
    tables.write(path, INIT, SHAPE, resume=True, force=True)
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_a_part_looks_at_its_own_share_of_a_finished_file(tmp_path):
    path = tmp_path / "table.npy"
    for number in (1, 2):
        tables.write(path, INIT, SHAPE, part=(number, 2))
    flip(path, 128 + 3_000_000, 0)
    assert tables.write(path, INIT, SHAPE, part=(1, 2), resume=True).values == 0
    with pytest.raises(OutputError, match="exists, but"):
        tables.write(path, INIT, SHAPE, part=(2, 2), resume=True)


def test_kept_rows_are_compared_with_the_older_file(tmp_path, monkeypatch):
    old, new = tmp_path / "old.npy", tmp_path / "new.npy"
    trained = np.random.default_rng(1).normal(size=(10_000, 50)).astype("float32")
    np.save(old, trained)
    interrupted(new, monkeypatch, chunks=20, grow=old)
    flip(tmp_path / "new.npy.part", 128 + 500_000, 3)
    with pytest.warns(UserWarning, match="1 values"):
        tables.write(new, INIT, SHAPE, grow=old, resume=True)
    loaded = np.load(new)
    assert loaded[:10_000].tobytes() == trained.tobytes()
    assert np.array_equal(loaded[10_000:], INIT(SHAPE)[10_000:])


def test_a_sample_is_a_choice(tmp_path):
    """Which finds what many values show, and says nothing of one value."""
    path = tmp_path / "table.npy"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    unfinished = tmp_path / "table.npy.part"
    with open(unfinished, "r+b") as file:
        file.seek(4096)
        file.write(bytes(1_900_000))
    with pytest.raises(StorageError, match="should be"):
        tables.write(path, INIT, SHAPE, part=(2, 2), check="sample")
    with pytest.warns(UserWarning, match="values were not as"):
        tables.write(path, INIT, SHAPE, part=(1, 2), resume=True, check="sample")
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.mark.parametrize("command", [["--resume"], ["--finish"]])
def test_the_command_checks_a_sample_only_if_asked(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    options = ["table", "--out=table.npy"]
    values = ["--shape=20000x50", "--initializer=random_normal", "--seed=9"]
    for number in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(Job, "_finish", lambda job: [])
            assert main([*options, *values, f"--part={number}/2"]) == 0
    compared = []
    monkeypatch.setattr(Folder, "publish", lambda *_, **__: compared.append("published"))
    flip("table.npy.part", 128 + 4 * 33_333, 0)
    part = [*values, "--part=2/2"] if command == ["--resume"] else []
    assert main([*options, *command, *part]) == 1
    assert compared == []
    main([*options, *command, *part, "--check=sample"])
    assert compared == ["published"]
    assert main([*options, *command, *part, "--check=some"]) == 2


def test_a_state_that_is_damaged_says_so(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    interrupted(path, monkeypatch)
    flip(tmp_path / "table.npy.part.json", 300, 1)
    with pytest.raises(FormatError, match="damaged"):
        tables.write(path, INIT, SHAPE, resume=True)
