"""Names in folders that others may write: links, pipes, permissions, folders that move."""

import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import SeedbedError
from seedbed.storage import locks
from seedbed.storage.atomic import Folder
from seedbed.tables import pipeline
from seedbed.tables.job import Job
from tests import processes

INIT = initializers.RandomNormal(seed=9)
SHAPE = (2_000, 50)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(
    "name", ["table.npy.part", "table.npy.part.json", "table.npy.part.json.new"]
)
@pytest.mark.parametrize("how", [{}, {"force": True}, {"resume": True}, {"part": (1, 1)}])
@pytest.mark.parametrize("forged", [False, True])
def test_links_in_the_place_of_temporary_files_are_not_followed(name, how, forged):
    victim = Path("victim")
    victim.write_bytes(b"precious")
    if forged:  # as if a job had begun here
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Job, "_finish", lambda job: [])
            tables.write("table.npy", INIT, SHAPE)
    Path(name).unlink(missing_ok=True)
    os.symlink(victim, name)
    said = ""
    try:
        tables.write("table.npy", INIT, SHAPE, **how)
    except SeedbedError as error:
        said = str(error)
    assert not said or any(word in said for word in ("link", "unfinished", "there from")), said
    assert said or np.array_equal(np.load("table.npy"), INIT(SHAPE))
    assert victim.read_bytes() == b"precious"


def test_a_link_in_the_place_of_a_folder_of_shards_is_not_followed():
    os.mkdir("elsewhere")
    os.symlink("elsewhere", "table.part")
    for how in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(SeedbedError):
            tables.write("table", INIT, SHAPE, shards=2, **how)
    assert os.listdir("elsewhere") == []
    os.unlink("table.part")
    os.mkdir("table.part")
    victim = Path("victim")
    victim.write_bytes(b"precious")
    os.symlink("../victim", "table.part/shard-00001-model-00001-of-00001.safetensors")
    for how in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(SeedbedError):
            tables.write("table", INIT, SHAPE, shards=2, **how)
    assert victim.read_bytes() == b"precious"


def test_force_writes_through_a_link():
    os.mkdir("store")
    Path("store/blob").write_bytes(b"old")
    os.symlink("store/blob", "table.npy")
    with pytest.raises(tables.OutputError, match=r"table\.npy: exists"):
        tables.write("table.npy", INIT, SHAPE)
    summary = tables.write("table.npy", INIT, SHAPE, force=True)
    assert str(summary).startswith("table.npy: ")
    assert os.path.islink("table.npy")
    assert np.array_equal(np.load("store/blob"), INIT(SHAPE))
    assert os.listdir("store") == ["blob"]
    assert tables.write("table.npy", INIT, SHAPE, resume=True).values == 0


def test_an_interrupted_table_behind_a_link_is_beside_its_target(monkeypatch):
    os.mkdir("store")
    Path("store/blob").write_bytes(b"old")
    os.symlink("store/blob", "table.npy")

    def stopped(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", stopped)
        with pytest.raises(RuntimeError):
            tables.write("table.npy", INIT, SHAPE, force=True)
    assert sorted(os.listdir("store")) == ["blob", "blob.part", "blob.part.json"]
    assert Path("store/blob").read_bytes() == b"old"
    tables.write("table.npy", INIT, SHAPE, force=True, resume=True)
    assert np.array_equal(np.load("table.npy"), INIT(SHAPE))


def test_room_is_looked_for_where_a_link_leads(monkeypatch):
    os.mkdir("store")
    os.symlink("store/new", "table.npy")
    asked = []
    usage = tables.state.shutil.disk_usage
    monkeypatch.setattr(
        tables.state.shutil, "disk_usage", lambda path: (asked.append(str(path)), usage(path))[1]
    )
    with pytest.raises(tables.OutputError, match="exists"):  # a link that leads nowhere, too
        tables.write("table.npy", INIT, SHAPE)
    tables.write("table.npy", INIT, SHAPE, force=True)
    assert {Path(path).name for path in asked} == {"store"}
    assert np.array_equal(np.load("store/new"), INIT(SHAPE))


def test_finish_behind_a_link(monkeypatch):
    os.mkdir("store")
    os.symlink("store/new.npy", "table.npy")
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_finish", lambda job: [])
        for number in (1, 2):
            tables.write("table.npy", INIT, SHAPE, part=(number, 2), force=True)
    assert tables.finish("table.npy") is not None
    assert np.array_equal(np.load("store/new.npy"), INIT(SHAPE))


@pytest.mark.parametrize("bits", [0o600, 0o644, 0o664, 0o400])
@pytest.mark.parametrize("command", ["table", "show"])
def test_force_keeps_the_permissions(bits, command):
    if command == "show":
        pytest.importorskip("matplotlib")
    name = {"table": "a.npy", "show": "a.svg"}[command]
    Path(name).write_bytes(b"old")
    os.chmod(name, bits)
    options = ["--shape=9x9", "--initializer=random_normal", "--seed=1", f"--out={name}", "--force"]
    assert main([command, *options]) == 0
    assert mode(name) == bits
    assert os.path.getsize(name) > 100


def test_a_new_file_has_the_permissions_of_new_files():
    tables.write("a.npy", INIT, SHAPE)
    Path("b").touch()
    assert mode("a.npy") == mode("b")


def test_show_writes_through_a_link():
    pytest.importorskip("matplotlib")
    os.symlink("b.svg", "a.svg")
    options = ["--shape=9x9", "--initializer=random_normal", "--seed=1", "--out=a.svg"]
    assert main(["show", *options]) == 2
    assert main(["show", *options, "--force"]) == 0
    assert os.path.islink("a.svg")
    assert Path("b.svg").read_text().startswith("<?xml")


def test_a_folder_that_gets_another_name_meanwhile(monkeypatch):
    """The table is finished where it was begun, and nothing comes into the new folder."""
    os.mkdir("folder")
    write_all = pipeline.write_all

    def moving(*arguments):
        if os.path.exists("folder/table.npy.part") and not os.path.exists("moved"):
            os.rename("folder", "moved")
            os.mkdir("folder")
        write_all(*arguments)

    monkeypatch.setattr(pipeline, "write_all", moving)
    tables.write("folder/table.npy", INIT, SHAPE)
    assert os.listdir("folder") == []
    assert np.array_equal(np.load("moved/table.npy"), INIT(SHAPE))


def test_a_folder_that_is_removed_meanwhile_is_told_with_its_path(monkeypatch):
    os.mkdir("folder")
    write_all = pipeline.write_all

    def removing(*arguments):
        write_all(*arguments)
        for name in os.listdir("folder"):
            os.unlink(f"folder/{name}")
        os.rmdir("folder")

    monkeypatch.setattr(pipeline, "write_all", removing)
    with pytest.raises(
        OSError, match=r"^tables\.write: folder/table\.npy.*: No such file"
    ) as caught:
        tables.write("folder/table.npy", INIT, SHAPE)
    assert isinstance(caught.value, SeedbedError)


def test_who_loses_a_race_is_told_so(monkeypatch):
    """Another process writes the same table: at the first look, and a moment later."""
    INIT((10, 10))
    ready, go = processes.FORK.Event(), processes.FORK.Event()
    publish = Folder.publish

    def other():
        def waiting(*arguments, **options):
            ready.set()
            go.wait(60)
            publish(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Folder, "publish", waiting)
            tables.write("table.npy", INIT, SHAPE)

    with processes.forked(other) as children:
        assert ready.wait(60)
        with pytest.raises(tables.OutputError, match="another process is writing it"):
            tables.write("table.npy", INIT, SHAPE)
        real = Job.check

        def late(job):
            go.set()
            assert processes.exit_codes(children) == [0]
            return job.blank

        monkeypatch.setattr(Job, "check", late)
        with pytest.raises(tables.OutputError, match="another job has just finished it"):
            tables.write("table.npy", INIT, SHAPE)
        monkeypatch.setattr(Job, "check", real)
    assert np.array_equal(np.load("table.npy"), INIT(SHAPE))
    assert os.listdir() == ["table.npy"]


def test_a_table_of_no_rows_was_not_complete(capsys):
    options = ["--shape=0x3", "--initializer=zeros", "--out=empty.npy"]
    assert main(["table", *options]) == 0
    assert re.search(r": 0 B in [\d.]+ s", capsys.readouterr().out)
    assert np.load("empty.npy").shape == (0, 3)


def test_verify_chooses_a_table_of_several(capsys):
    Path("plan.toml").write_text(
        'seed = 7\nfile = "both.safetensors"\ninitializer = "random_normal"\n'
        '[[table]]\nname = "user"\nshape = [80, 3]\n[[table]]\nname = "item"\nshape = [50, 3]\n'
    )
    tables.write_plan("plan.toml")
    assert tables.verify("both.safetensors").checked == 390
    assert tables.verify("both.safetensors", name="item").checked == 150
    assert main(["verify", "both.safetensors", "--name=user"]) == 0
    assert "all 240 values" in capsys.readouterr().out
    assert main(["verify", "both.safetensors", "--name=users"]) == 2
    assert "'users'" in capsys.readouterr().err


def test_a_lock_is_on_the_file_and_not_on_its_name():
    os.mkdir("folder")
    os.symlink("folder", "link")
    with (
        Folder(Path("folder")) as one,
        Folder(Path("link")) as other,
        locks.locked(one, "table.npy.part", 1, 1),
    ):
        assert locks.is_taken(other, "table.npy.part", 1, 1)
    assert not locks.is_taken(Folder(Path("folder")), "table.npy.part", 1, 1)
