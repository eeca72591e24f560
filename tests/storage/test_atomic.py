"""Small files that are replaced at once, names that are given once, errors that say where."""

import errno
import os
import stat

import pytest

from seedbed.errors import OutputError, StorageError
from seedbed.storage.atomic import Folder, failing, refusing, resolved


@pytest.fixture
def folder(tmp_path):
    with Folder(tmp_path) as opened:
        yield opened


def test_a_small_file_is_replaced_at_once(folder):
    folder.write_text("state", "old ü")
    folder.write_text("state", "new")
    assert (folder.path / "state").read_text() == "new"
    assert folder.names() == ["state"]


def test_what_a_killed_process_left_is_no_hindrance(folder):
    (folder.path / "victim").write_text("precious")
    os.symlink("victim", folder.path / "state.new")
    folder.write_text("state", "text")
    assert (folder.path / "victim").read_text() == "precious"
    assert not os.path.islink(folder.path / "state")
    (folder.path / "state.new").write_text("of a killed process")
    folder.write_text("state", "again")
    assert sorted(folder.names()) == ["state", "victim"]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_regular_files_are_opened(folder, kind):
    path = folder.path / "name"
    if kind == "link":
        path.symlink_to("none")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(OutputError, match=str(path)):
        folder.open("name", os.O_RDWR | os.O_CREAT)
    assert not (folder.path / "none").exists()


def test_publish_gives_a_new_name_only_once(folder):
    (folder.path / "partial").write_text("new")
    (folder.path / "final").write_text("old")
    with pytest.raises(FileExistsError):
        folder.publish("partial", "final", replace=False)
    assert (folder.path / "final").read_text() == "old"
    (folder.path / "final").chmod(0o640)
    folder.publish("partial", "final", replace=True)
    assert (folder.path / "final").read_text() == "new"
    assert stat.S_IMODE((folder.path / "final").stat().st_mode) == 0o640
    assert folder.names() == ["final"]


def test_publish_without_hard_links(folder, monkeypatch):
    def refusing_links(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refusing_links)
    (folder.path / "partial").write_text("new")
    folder.publish("partial", "final", replace=False)
    (folder.path / "partial").write_text("newer")
    with pytest.raises(FileExistsError):
        folder.publish("partial", "final", replace=False)
    assert (folder.path / "final").read_text() == "new"


def test_publish_of_a_folder(folder):
    folder.make_folder("partial")
    (folder.path / "partial" / "file").write_text("1")
    folder.make_folder("final")  # an empty one may be there
    folder.publish("partial", "final", replace=False)
    folder.make_folder("partial")
    with pytest.raises(OSError):  # noqa: PT011
        folder.publish("partial", "final", replace=False)
    assert (folder.path / "final" / "file").read_text() == "1"


def test_names_mean_what_is_in_the_folder_that_was_opened(tmp_path):
    (tmp_path / "one").mkdir()
    with Folder(tmp_path / "one") as folder:
        (tmp_path / "one").rename(tmp_path / "moved")
        (tmp_path / "one").mkdir()
        folder.write_text("state", "text")
        assert folder.stat("state").st_size == 4
    assert os.listdir(tmp_path / "one") == []
    assert os.listdir(tmp_path / "moved") == ["state"]


def test_errors_tell_the_whole_path(folder):
    path = str(folder.path / "none")
    for call in (
        lambda: folder.open("none", os.O_RDONLY),
        lambda: folder.folder("none"),
        lambda: folder.link("none", "none"),
        lambda: folder.replace("none", "none"),
    ):
        with pytest.raises(OSError, match="No such file") as caught:
            call()
        assert caught.value.filename == path
    with (
        pytest.raises(OutputError, match=f"^{path}: No such file or directory$"),
        refusing(folder.path),
    ):
        folder.open("none", os.O_RDONLY)
    with (
        pytest.raises(StorageError, match=f"^{path}: No such file or directory$"),
        failing(folder.path),
    ):
        folder.open("none", os.O_RDONLY)


def test_errors_keep_what_was_noted(tmp_path):
    error = OSError(errno.EIO, "broken")
    error.add_note("half is saved")
    with pytest.raises(StorageError, match="broken") as caught, failing(tmp_path):
        raise error
    assert caught.value.__notes__ == ["half is saved"]
    assert caught.value.errno == errno.EIO
    assert caught.value.filename == str(tmp_path)


def test_links_are_written_through(tmp_path):
    (tmp_path / "link").symlink_to("middle")
    (tmp_path / "middle").symlink_to("end")
    assert resolved(tmp_path / "link") == (tmp_path / "end").resolve()
    assert resolved(tmp_path / "plain") == tmp_path / "plain"
