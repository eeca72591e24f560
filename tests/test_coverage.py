"""The measure of coverage tells what was run and what was not."""

import os
import sys
import textwrap
from pathlib import Path

from tests import processes
from tests.coverage.__main__ import ranges, wanted
from tests.coverage.start import sitecustomize
from tests.coverage.start.sitecustomize import INTO, PAST, RUN

HERE = Path(__file__).parent
PROGRAM = """
    '''A docstring.'''
    from __future__ import annotations

    import os


    class Kind:
        '''One.'''

        size = 3

        def odd(self, n):
            if n % 2:
                return True
            elif n > 100:
                return None
            return False


    def loop(numbers):
        for number in numbers:
            if number < 0:
                break
        while True:
            return 5
        raise NotImplementedError


    def never():  # pragma: no cover
        return os


    try:
        Kind().odd(3), Kind().odd(2), loop([1, 2])
        missing
    except NameError:
        done = True
    finally:
        done = done and True
"""


def test_statements_and_branches(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM).lstrip("\n"))
    monkeypatch.setattr(sitecustomize, "FILES", [path])
    marks = bytearray(sitecustomize.LINES * 4)
    monkeypatch.setattr(sys, "__coverage__", marks, raising=False)
    exec(sitecustomize.marked(path.read_bytes(), path), {})
    found = {at for at in wanted(path) if marks[sitecustomize.place(path, *at)]}
    lines = path.read_text().splitlines()
    missing = {(lines[line - 1].strip(), kind) for line, kind in {*wanted(path)} - found}
    assert missing == {
        ("elif n > 100:", INTO),
        ("return None", RUN),
        ("if number < 0:", INTO),
        ("break", RUN),
    }
    kinds = [kind for _, kind in {*wanted(path)}]
    assert (kinds.count(RUN), kinds.count(INTO), kinds.count(PAST)) == (20, 5, 4)
    assert ranges([(3, RUN), (4, RUN), (7, INTO), (9, RUN), (9, PAST)]) == "3-4, 9, 7 never true"


def test_killed_and_forked_processes_and_threads_of_all_kinds_count(tmp_path):
    code = """
        import os, signal, _thread, time
        from seedbed import locks
        from seedbed.values import untraced, window
        if not os.fork():
            locks.renewed_lock()
            os._exit(0)
        os.wait()
        _thread.start_new_thread(untraced.untraced, (print,))
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    start = Path(sitecustomize.__file__).parent
    given = {"PYTHONPATH": str(start), "SEEDBED_COVERAGE": str(tmp_path)}
    command = processes.python(textwrap.dedent(code))
    assert processes.run(command, given, check=False).returncode == -9
    marks = (tmp_path / "marks").read_bytes()
    for file, word in (("locks.py", "return renewed"), ("values/untraced.py", "return call")):
        path = sitecustomize.SOURCE / file
        (line,) = (n for n, text in enumerate(path.read_text().split("\n"), 1) if word in text)
        assert marks[sitecustomize.place(path, line, RUN)]
        assert not marks[sitecustomize.place(path, line, INTO)]
    assert os.path.getsize(tmp_path / "marks") == sitecustomize.SIZE
