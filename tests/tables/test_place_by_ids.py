"""Growing by ids: known ids keep their rows wherever they stood, new ones are drawn."""

import os

import numpy as np
import pytest
import safetensors.numpy

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import ArgumentError, StorageError
from seedbed.tables import pipeline, placing
from tests import processes

INIT = initializers.RandomNormal(seed=21)
IDS = np.random.default_rng(3).permutation(np.arange(-500, 4500, dtype=np.int64)) * 2**40
NEW = np.random.default_rng(4).permutation(
    np.concatenate([IDS[700:], np.arange(1, 2001, dtype=np.int64)])
)
TRAINED = np.random.default_rng(5).integers(0, 2**16, (5000, 20), np.uint16).view(np.float16)


@pytest.fixture
def files(tmp_path):
    safetensors.numpy.save_file({"weight": TRAINED}, tmp_path / "old.safetensors")
    np.save(tmp_path / "old.npy", IDS)
    np.save(tmp_path / "new.npy", NEW)
    return tmp_path


def arguments(folder, **others):
    ids = {"ids_old": folder / "old.npy", "ids_new": folder / "new.npy"}
    return {"old": folder / "old.safetensors", "init": INIT, **ids, **others}


def expected(width, by):
    """By a dictionary and a loop."""
    rows = dict(zip(IDS.tolist(), TRAINED, strict=True))
    shape = len(NEW), width
    made = INIT.keyed(NEW, width, "float16") if by == "key" else INIT(shape, "float16")
    for row, own_id in zip(made, NEW.tolist(), strict=True):
        if own_id in rows:
            row[:20] = rows[own_id]
    return made


@pytest.mark.parametrize("by", ["row", "key"])
@pytest.mark.parametrize("width", [20, 33])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_known_ids_keep_their_rows(files, by, width, suffix):
    path = files / f"grown{suffix}"
    tables.grow(path=path, **arguments(files, width=width, by=by), chunk_bytes=7_777)
    right = expected(width, by)
    assert path.read_bytes()[-right.nbytes :] == right.tobytes()
    given = {"grow": files / "old.safetensors", "ids": (files / "old.npy", files / "new.npy")}
    if suffix == ".npy":
        given |= {"init": INIT, "by": by}
    report = tables.verify(path, **given)
    assert (report.ok, report.checked, report.kept) == (True, right.size, 0)
    data = bytearray(path.read_bytes())
    data[-right.nbytes + 2 * width * int(np.isin(NEW, IDS).argmax())] ^= 1  # of an older row
    path.write_bytes(data)
    assert tables.verify(path, **given).wrong == 1


def test_shards_parts_and_the_command(files, capsys):
    right = expected(24, "key")
    tables.grow(path=files / "shards", **arguments(files, width=24, by="key"), shards=3)
    shards = sorted((files / "shards").glob("*.safetensors"))
    loaded = [safetensors.numpy.load_file(path)["weight"] for path in shards]
    assert np.concatenate(loaded).tobytes() == right.tobytes()
    grow = [f"--grow={files / 'old.safetensors'}", "--by=key"]
    grow += ["--ids", str(files / "old.npy"), str(files / "new.npy")]
    out = files / "grown.safetensors"
    for number in (2, 1):
        values = ["--initializer=random_normal", "--seed=21", f"--shape={len(NEW)}x24"]
        assert main(["table", *values, f"--out={out}", f"--part={number}/2", *grow]) == 0
    assert out.read_bytes()[-right.nbytes :] == right.tobytes()
    assert main(["info", str(out)]) == 0
    assert "4,300 rows kept by their ids from an older file, new ones drawn by key" in (
        capsys.readouterr().out
    )
    assert main(["verify", str(out)]) == 2
    assert "were placed by ids; give grow and ids" in capsys.readouterr().err
    assert main(["verify", str(out), *grow]) == 0


def test_a_grown_file_grows_again(files):
    path = files / "grown.safetensors"
    tables.grow(path=path, **arguments(files, by="key"))
    np.save(files / "last.npy", NEW[::-3])
    ids = {"ids_old": files / "new.npy", "ids_new": files / "last.npy"}
    tables.grow(path, files / "last.safetensors", **ids)  # the file says how it was made
    loaded = safetensors.numpy.load_file(files / "last.safetensors")["weight"]
    assert loaded.tobytes() == expected(20, "key")[::-3].tobytes()


def stopped(files, monkeypatch, **more):
    """Stop a job after four chunks; return the path it writes, and its options."""
    path, write_all, left = files / "grown.safetensors", pipeline.write_all, [4]

    def failing(*given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write_all(*given)

    options = {"chunk_bytes": 30_000, "checkpoint_seconds": 0}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", failing)
        with pytest.raises(KeyboardInterrupt):
            tables.grow(path=path, **arguments(files, **more), **options)
    return path, options


def test_a_resumed_job_goes_on_with_the_same_files_only(files, monkeypatch):
    path, options = stopped(files, monkeypatch)
    changed = NEW.copy()
    changed[[0, 1]] = changed[[1, 0]]
    np.save(files / "new.npy", changed)
    with pytest.raises(tables.OutputError, match="of another job"):
        tables.grow(path=path, **arguments(files), resume=True, **options)
    np.save(files / "new.npy", NEW)
    before = (files / "grown.safetensors.part").stat().st_size
    with pytest.raises(tables.OutputError, match="modified_ns"):
        tables.grow(path=path, **arguments(files), resume=True, **options)
    assert (files / "grown.safetensors.part").stat().st_size == before
    tables.grow(path=path, **arguments(files), force=True, **options)
    assert path.read_bytes()[-len(NEW) * 40 :] == expected(20, "row").tobytes()


@pytest.mark.parametrize("name", ["old.safetensors", "old.npy", "new.npy"])
def test_files_that_change_meanwhile_are_told_of(files, monkeypatch, name):
    path, write_all = files / "grown.safetensors", pipeline.write_all

    def changing(*given):
        os.utime(files / name, ns=(5, 5))
        write_all(*given)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", changing)
        with pytest.raises(StorageError, match="or its ids, changed while its rows were"):
            tables.grow(path=path, **arguments(files))
    assert not path.exists()


def test_a_killed_job_is_resumed(files, monkeypatch):
    path, options = stopped(files, monkeypatch, by="key")
    done = tables.grow(path=path, **arguments(files, by="key"), resume=True, **options)
    assert 0 < done.nbytes < len(NEW) * 40
    assert path.read_bytes()[-len(NEW) * 40 :] == expected(20, "key").tobytes()


def refused(files):
    """Yield ids, or other arguments, and what is said of them."""
    repeated, short = IDS.copy(), IDS[1:]
    repeated[4321] = repeated[17]
    yield {"old": repeated}, {}, rf"old.npy must not repeat an id; given {IDS[17]} at places 17 and"
    yield {"new": np.append(NEW, NEW[3])}, {}, r"new.npy must not repeat an id; given .* places 3 a"
    yield {"old": short}, {}, r"an id for each of the 5,000 rows of .*old.npy has 4,999"
    yield {"new": NEW.astype(float)}, {}, r"new.npy: .*one axis of integers"
    yield {"new": NEW[None]}, {}, r"new.npy: .*one axis of integers"
    yield {"old": b"\x93NUMPY"}, {}, r"old.npy: not a .npy file of ids"
    yield {"new": np.array([1, None])}, {}, r"new.npy: not a .npy file of ids"
    yield {}, {"width": 19}, r"tables\.grow: width must be at least 20, .*; given 19"
    yield {}, {"width": 20.5}, r"tables\.grow: width must be an integer; given 20\.5"
    yield {}, {"by": "id"}, r"by must be 'row' or 'key'; given 'id'"
    yield {}, {"by": "key", "init": initializers.Orthogonal(seed=3)}, r"has no rows of keys"
    yield {}, {"ids_new": files / "none.npy"}, r"[Nn]o such file"
    yield {}, {"dtype": "float32"}, r"tables\.grow: options are part, .*; given dtype"


@pytest.mark.parametrize("number", range(13))
def test_what_is_refused(files, number):
    ids, others, message = list(refused(files))[number]
    for name, values in ids.items():
        if isinstance(values, bytes):
            (files / f"{name}.npy").write_bytes(values)
        else:
            np.save(files / f"{name}.npy", values)
    before = sorted(files.iterdir())
    with pytest.raises((ValueError, TypeError, OSError), match=message) as caught:
        tables.grow(path=files / "grown.npy", **arguments(files, **others))
    assert "\n" not in str(caught.value)
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("at", range(9))
def test_an_id_is_refused_wherever_it_is_repeated(files, monkeypatch, at):
    """Ids are looked at some at a time: equal ones may lie on both sides of an end."""
    monkeypatch.setattr(placing, "AT_ONCE", 3)
    ids = np.arange(10)
    ids[at + 1] = ids[at]
    np.save(files / "new.npy", ids)
    with pytest.raises(ArgumentError, match=f"given {at} at places {at} and {at + 1}"):
        tables.grow(path=files / "grown.npy", **arguments(files))


def test_errors_name_what_was_called(files):
    np.save(files / "plain.npy", np.float16(3))
    given = {**arguments(files), "old": files / "plain.npy", "path": files / "grown.npy"}
    with pytest.raises(ArgumentError, match=r"^tables\.grow: .* must have two axes; has \(\)"):
        tables.grow(**given)
    ids, old = (files / "old.npy", files / "new.npy"), files / "old.safetensors"
    with pytest.raises(ArgumentError, match=r"^tables\.write: .* at least the 20 columns of"):
        tables.write(files / "b.npy", INIT, (len(NEW), 19), "float16", grow=old, ids=ids)


PROGRAM = """
import sys, threading, time
import numpy as np
from seedbed import initializers, tables

folder, rows = sys.argv[1], int(sys.argv[2])
peak, over = [0], threading.Event()
def watch():
    while not over.wait(0.005):
        with open("/proc/self/status") as status:
            found = [int(line.split()[1]) for line in status if line.startswith("RssAnon")]
        peak[0] = max(peak[0], *found)
thread = threading.Thread(target=watch)
thread.start()
ids = {"ids_old": f"{folder}/old.npy", "ids_new": f"{folder}/new.npy"}
init = initializers.RandomNormal(seed=21)
tables.grow(f"{folder}/table.npy", f"{folder}/grown.npy", init=init, by="key", **ids)
over.set()
thread.join()
print("peak", peak[0] // 1000)
"""


def test_memory_is_bounded(tmp_path):
    """``python -m tests.tables.test_place_by_ids`` takes 10**7 rows."""
    assert peak_of_growing(tmp_path, 1_000_000) < 300


def peak_of_growing(tmp_path, rows):
    """Return MB of anonymous memory, after a look at every row."""
    generator = np.random.default_rng(6)
    old = generator.permutation(rows).astype(np.int64)
    new = generator.permutation(rows + rows // 10).astype(np.int64)
    trained = generator.integers(0, 2**16, (rows, 16), np.uint16)
    np.save(tmp_path / "old.npy", old)
    np.save(tmp_path / "new.npy", new)
    np.save(tmp_path / "table.npy", trained.view(np.float16))
    said = processes.output(PROGRAM, str(tmp_path), str(rows))
    peak = int(said.split("peak ")[1])
    grown = np.load(tmp_path / "grown.npy").view(np.uint16)
    at = np.empty(len(new), np.int64)
    at[new] = np.arange(len(new))
    assert np.array_equal(grown[at[old]], trained)
    drawn = new >= rows
    made = INIT.keyed(new[drawn], 16, "float16").view(np.uint16)
    assert np.array_equal(grown[drawn], made)
    return peak


if __name__ == "__main__":
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(peak_of_growing(pathlib.Path(folder), 10**7), "MB of anonymous memory")
