"""The tests' own processes: a test that fails leaves none, and signals reach those that run."""

import ast
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests import processes

HERE = Path(__file__).parent
FAILING = """
import os, sys, time
import pytest
from tests import processes

PROGRAM = '''
import os, sys, time
if len(sys.argv) > 1:
    os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)
os.fork()
os.write(1, b"%d\\\\n" % os.getpid())
while True:
    time.sleep(0.01)
'''

def note(process):
    for _ in range(2):
        with open({pids!r}, "a") as file:
            file.write(process.stdout.readline())

def test_started():
    with processes.started(processes.python(PROGRAM)) as process:
        note(process)
        pytest.fail("here")

def test_run():
    processes.run(processes.python(PROGRAM, {pids!r}), timeout=4)

def spin():
    os.fork()
    with open({pids!r}, "a") as file:
        file.write("%d\\n" % os.getpid())
    while True:
        time.sleep(0.01)

def test_forked():
    with processes.forked(spin, spin) as children:
        while len(open({pids!r}).readlines()) < 8:
            time.sleep(0.01)
        assert processes.exit_codes(children, timeout=0) == [0, 0]

def test_the_test_process_dies():
    with processes.started(processes.python("import time; print(1); time.sleep(1000)")) as process:
        with open({pids!r}, "a") as file:
            print(process.pid, file=file)
        os.kill(os.getpid(), 9)
"""


def alive(pid):
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tests_that_fail_leave_no_process(tmp_path):
    pids = tmp_path / "pids"
    file = tmp_path / "test_failing.py"
    file.write_text(FAILING.format(pids=str(pids)))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["-o", "console_output_style=classic", file]
    done = processes.run(
        command, {"PYTHONPATH": str(HERE.parent)}, check=False, cwd=HERE.parent, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert "FFF" in done.stdout
    left = {int(pid) for pid in pids.read_text().split()}
    assert len(left) == 2 + 2 + 4 + 1
    end = time.monotonic() + 10  # the kernel takes its time
    while any(map(alive, left)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [pid for pid in left if alive(pid)]


def test_signals_are_not_ignored_where_the_tests_run_in_the_background():
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from tests import processes
print(processes.output("import signal; print(signal.getsignal(2) is signal.default_int_handler)"))
def child():
    assert signal.getsignal(2) is signal.default_int_handler
with processes.forked(child) as children:
    print(processes.exit_codes(children))
"""
    said = processes.run(processes.python(code), cwd=HERE.parent).stdout
    assert said.split() == ["True", "[0]"]


def test_no_test_starts_a_process_in_another_way():
    """But for programs that tests run, whose children end with them."""
    allowed = {HERE / "processes.py", *HERE.glob("faults/*.py"), *HERE.glob("arm/*.py")}
    found = []
    for path in set(HERE.rglob("*.py")) - allowed:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            starts = ("subprocess", "multiprocessing", "os.fork", "os.posix_spawn", "os.system")
            found += [
                f"{path.name}: {name}"
                for name in names
                if name.startswith(starts) and not name.endswith(("TimeoutExpired", "PIPE"))
            ]
    assert not found, found
