"""Writers that meet: none spoils what another writes, and what each leaves can be gone on with."""

import os
from functools import partial

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.errors import FormatError
from seedbed.storage.atomic import Folder
from seedbed.tables import pipeline
from seedbed.tables.job import Job
from seedbed.tables.state import State
from tests import processes

INIT = initializers.TruncatedNormal(seed=5)
SHAPE = (10_007, 33)


def in_a_process_of_its_own(call):
    """Return what a call said there: None, or the text of its exception."""
    here, there = processes.FORK.Pipe()

    def run():
        try:
            call()
            there.send(None)
        except Exception as error:
            there.send(str(error))

    with processes.forked(run) as children:
        assert processes.exit_codes(children) == [0]
    return here.recv()


@pytest.mark.parametrize("by_finish", [False, True])
@pytest.mark.parametrize("shards", [None, 3])
def test_nobody_else_writes_until_the_name_is_given(tmp_path, monkeypatch, shards, by_finish):
    path = tmp_path / ("shards" if shards else "table.npy")
    said = []
    publish = Folder.publish

    def second():
        monkeypatch.setattr(pipeline, "write_all", None)  # dies when it has begun
        tables.write(path, INIT, SHAPE, shards=shards, force=True)

    def late(*arguments, **options):
        said.append(in_a_process_of_its_own(second))
        publish(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "publish", late)
        if by_finish:
            with monkeypatch.context() as unfinished:
                unfinished.setattr(Job, "_finish", lambda job: [])
                tables.write(path, INIT, SHAPE, shards=shards)
            tables.finish(path)
        else:
            tables.write(path, INIT, SHAPE, shards=shards)
    assert len(said) == 1
    assert "another process is writing it" in str(said[0])
    if shards:
        assert tables.verify(path).ok
    else:
        assert np.array_equal(np.load(path), INIT(SHAPE))


def start(path, barrier, results):
    barrier.wait(60)
    try:
        tables.write(path, INIT, (300, 33))
        results.put("written")
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def test_two_starts_at_once(tmp_path):
    """One of them writes; the other is told so, or that it is there."""
    INIT((10, 10))
    for number in range(30):
        path = tmp_path / str(number) / "table.npy"
        path.parent.mkdir()
        barrier, results = processes.FORK.Barrier(2), processes.FORK.Queue()
        call = partial(start, path, barrier, results)
        with processes.forked(call, call) as children:
            said = sorted(results.get(timeout=60) for _ in children)
            assert processes.exit_codes(children) == [0, 0]
        assert said[1] == "written"
        assert "TakenError" in said[0]
        assert os.listdir(path.parent) == ["table.npy"]


def test_a_state_of_a_job_that_starts_is_not_replaced(tmp_path, monkeypatch):
    """Another job begins between the first look and the lock; it is there to be resumed."""
    path = tmp_path / "table.npy"
    real = Job._locked
    other = initializers.RandomNormal(seed=1)

    def late(*arguments):
        monkeypatch.setattr(Job, "_locked", real)
        tables.write(path, other, SHAPE, part=(1, 2))
        return real(*arguments)

    monkeypatch.setattr(Job, "_locked", late)
    with pytest.raises(tables.OutputError, match="in 2 parts"):
        tables.write(path, INIT, SHAPE)
    tables.write(path, other, SHAPE, part=(2, 2))
    assert np.array_equal(np.load(path), other(SHAPE))


def test_a_refused_part_leaves_the_file_of_another(tmp_path, monkeypatch):
    """Two parts of different jobs: one has saved its state, but written nothing yet."""
    path = tmp_path / "table.npy"
    other = initializers.RandomNormal(seed=1)
    said = []

    def second():
        monkeypatch.setattr(Job, "check", lambda job: job.blank)  # the look before the lock
        tables.write(path, other, SHAPE, part=(2, 2))

    def save(*arguments, real=State.save):
        real(*arguments)
        if not said:
            said.append(in_a_process_of_its_own(second))

    monkeypatch.setattr(State, "save", save)
    tables.write(path, INIT, SHAPE, part=(1, 2))
    assert "of another job" in said[0]
    tables.write(path, INIT, SHAPE, part=(2, 2))
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_a_part_starts_again_by_force_whatever_its_state(tmp_path):
    path, place = tmp_path / "table.npy", tmp_path / "table.npy.part-1-of-2.json"
    tables.write(path, INIT, SHAPE, part=(1, 2))
    place.write_text("{")
    with pytest.raises(FormatError, match=r"damaged.*; to start again remove .*npy\.part\*"):
        tables.write(path, INIT, SHAPE, part=(1, 2), resume=True)
    tables.write(path, INIT, SHAPE, part=(1, 2), force=True)
    before = place.read_bytes()
    with pytest.raises(tables.OutputError, match=r"to start again remove .*npy\.part\*"):
        tables.write(path, INIT, (10_008, 33), part=(1, 2), force=True)
    assert place.read_bytes() == before
    tables.write(path, INIT, SHAPE, part=(2, 2))
    assert np.array_equal(np.load(path), INIT(SHAPE))


def test_finish_of_what_is_finished(tmp_path, monkeypatch):
    path = tmp_path / "table.npy"
    for number in (1, 2):
        tables.write(path, INIT, SHAPE, part=(number, 2))
    assert tables.finish(path) is None
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_finish", lambda job: [])
        for number in (1, 2):
            tables.write(path, INIT, SHAPE, part=(number, 2))
    os.link(tmp_path / "table.npy.part", path)  # killed then
    assert tables.finish(path) is None
    assert os.listdir(tmp_path) == ["table.npy"]
    assert np.array_equal(np.load(path), INIT(SHAPE))


@pytest.mark.parametrize("shards", [None, 3])
def test_resume_cleans_up_after_a_finished_output(tmp_path, monkeypatch, shards):
    """Killed once the final name was given."""
    path = tmp_path / ("shards" if shards else "table.npy")

    def killed(folder, partial, final, **_):
        call = os.rename if shards else os.link
        call(folder.path / partial, folder.path / final)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            tables.write(path, INIT, SHAPE, shards=shards)
    assert len(os.listdir(tmp_path)) > 1
    assert tables.write(path, INIT, SHAPE, shards=shards, resume=True).values == 0
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_is_no_writer():
    code = (
        "import os\nfrom seedbed.storage import locks\nlocks._writing['table.npy'] = None\n"
        "child = os.fork()\nif not child: os._exit(len(locks._writing))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(locks._writing))"
    )
    assert processes.output(code).split() == ["0", "1"]
