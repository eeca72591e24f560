"""The progress bar: where it shows, what it leaves behind, and closed standard files."""

import io
import os
import sys
import threading
import types

import numpy as np
import pytest

from seedbed import initializers, tables
from tests import processes

INIT = initializers.RandomNormal(seed=3)
SHAPE = (1000, 30)
TABLE = [sys.executable, "-m", "seedbed", "table", "--shape=1000x30", "--initializer=random_normal"]
TABLE += ["--seed=3", "--out=table.npy"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_leave_no_threads(tmp_path, monkeypatch):
    terminal, path = Terminal(), tmp_path / "table.npy"
    monkeypatch.setattr(sys, "stderr", terminal)
    tables.write(path, INIT, SHAPE, progress=True)
    before = threading.active_count()
    for _ in range(10):
        tables.write(path, INIT, SHAPE, progress=True, force=True)
        assert tables.verify(path, INIT, progress=True).ok
    assert threading.active_count() == before
    assert terminal.getvalue().count("100%") >= 21


def test_no_bar_in_a_file(tmp_path, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    tables.write(tmp_path / "table.npy", INIT, SHAPE, progress=True)
    assert shown.getvalue() == ""


@pytest.mark.parametrize("closed", [True, False])
def test_without_standard_error(tmp_path, monkeypatch, closed):
    gone = Terminal()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone if closed else None)
    tables.write(tmp_path / "table.npy", INIT, SHAPE, progress=True)
    assert np.array_equal(np.load(tmp_path / "table.npy"), INIT(SHAPE))


@pytest.mark.parametrize("closing", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_the_command_with_standard_files_closed(tmp_path, closing):
    """A file of the table must not get their numbers, and a refusal goes nowhere else."""
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", *TABLE]
    done = processes.run(command, cwd=tmp_path)
    assert (done.stdout != "") == (">&-" not in closing.replace("2>&-", ""))
    assert done.stderr == ""
    assert np.array_equal(np.load(tmp_path / "table.npy"), INIT(SHAPE))
    again = processes.run(command, cwd=tmp_path, check=False)
    assert again.returncode == 2
    assert again.stdout == ""
    assert ("--force" in again.stderr) == ("2>&-" not in closing)
    assert np.array_equal(np.load(tmp_path / "table.npy"), INIT(SHAPE))


def test_a_notebook_shows_a_bar(tmp_path, monkeypatch):
    """Of text, where the packages of widgets are missing; tqdm chooses."""
    shown = io.StringIO()  # as in a notebook, no terminal
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("zmqshell"))
    tables.write(tmp_path / "table.npy", INIT, SHAPE, progress=True)
    assert "100%" in shown.getvalue()


WIDGETS = """
import sys, types
class Widget:
    def __init__(self, *children, **traits):
        self.layout, self.style = types.SimpleNamespace(), types.SimpleNamespace()
        self.bar_style = None
        self.__dict__.update(traits)
    def close(self): pass
shown = []
for name, attributes in {
    "ipywidgets": dict(FloatProgress=Widget, HBox=Widget, HTML=Widget),
    "IPython": dict(get_ipython=lambda: types.SimpleNamespace(config=["IPKernelApp"])),
    "IPython.display": dict(display=shown.append),
    "ipykernel.zmqshell": {},
}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(attributes, __version__="8.1")
from seedbed import initializers, tables
tables.write(sys.argv[1], initializers.RandomNormal(seed=3), (1000, 30), progress=True)
left, bar, right = shown[0].children
print(len(shown), bar.value, bar.max, right.value)
"""


def test_a_notebook_with_widgets_shows_one(tmp_path):
    said = processes.output(WIDGETS, tmp_path / "table.npy").split()
    assert said[:3] == ["1", "120000", "120000"]
    assert "GB/s," in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_a_bar_is_drawn_draws_its_own(monkeypatch, tmp_path):
    from tqdm.std import TqdmDefaultWriteLock

    monkeypatch.setattr(sys, "stderr", Terminal())
    tables.write(tmp_path / "table.npy", INIT, SHAPE, progress=True)
    held, forked = threading.Event(), threading.Event()

    def hold():
        with TqdmDefaultWriteLock.th_lock:
            held.set()
            forked.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    try:
        with processes.forked(
            lambda: tables.write(tmp_path / "other.npy", INIT, SHAPE, progress=True)
        ) as children:
            assert processes.exit_codes(children, timeout=30) == [0]
    finally:
        forked.set()
        thread.join()
