"""The processes that tests start: each one ends, with all that it started, whatever fails.

Nothing else under tests/ starts a process. In all of them every signal does what it does by
default, also where the tests run with SIGINT ignored, as shells start jobs in the background. On
Linux a process is killed when the test process dies, too.
"""

import contextlib
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from llvmlite.binding import get_host_cpu_features


def _other_cpus() -> list[Any]:
    """Return processors that this one can stand for, by LLVM's names, of other instruction sets."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return ["generic", "cortex-a72"]
    if get_host_cpu_features().get("avx512f", False):
        return ["x86-64-v3", "x86-64-v2"]
    return [pytest.param("x86-64-v3", marks=pytest.mark.exhaustive), "x86-64-v2"]  # v3 is its own


OTHER_CPUS = _other_cpus()
FORK = multiprocessing.get_context("fork")  # for the queues, barriers and events of `forked`

_PROLOGUE = """
import ctypes, os, signal, sys
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_DFL)
    except OSError:  # the C library's own
        pass
signal.pthread_sigmask(signal.SIG_SETMASK, ())
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: when the parent dies
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def python(code: str, *arguments: object) -> list[str]:
    """Return the command that runs a program."""
    return [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]


@contextlib.contextmanager
def started(
    command: Sequence[object],
    environment: Mapping[str, str | None] | None = None,
    **options: Any,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a session of its own, and kill all of that session at the end.

    Parameters
    ----------
    command : sequence
        A program and its arguments: strings or paths.
    environment : mapping, optional
        What differs from the environment of this process; None removes a name.
    options
        Those of `subprocess.Popen`. By default standard output and error are pipes, of text.
    """
    changed = {**os.environ, **(environment or {})}
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROLOGUE, str(os.getpid()), *map(str, command)],
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": {name: value for name, value in changed.items() if value is not None},
            "start_new_session": True,
            **options,
        },
    )
    try:
        yield process
    finally:
        _kill_session(process.pid)
        with process:  # closes the pipes and waits
            pass


def run(
    command: Sequence[object],
    environment: Mapping[str, str | None] | None = None,
    *,
    check: bool = True,
    timeout: float = 300,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed; it must succeed if `check` is True."""
    with started(command, environment, **options) as process:
        out, err = process.communicate(timeout=timeout)
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    assert not check or done.returncode == 0, (
        f"exit {done.returncode}: {(err or out or '')[-3000:]}"
    )
    return done


def output(code: str, *arguments: object, **environment: str | None) -> str:
    """Run a program that must succeed, and return what it prints."""
    return run(python(code, *arguments), environment).stdout


@contextlib.contextmanager
def forked(*calls: Callable[[], object]) -> Iterator[list[BaseProcess]]:
    """Run calls in children forked from this process, and kill those that are left at the end."""
    children = [FORK.Process(target=_call, args=(call, os.getpid())) for call in calls]
    begun: list[BaseProcess] = []
    try:
        for child in children:
            begun.append(child)
            child.start()
        yield begun
    finally:
        for child in begun:
            if child.pid is not None:
                _kill_session(child.pid)
                child.kill()
                child.join()


def exit_codes(children: Sequence[BaseProcess], timeout: float = 120) -> list[int | None]:
    """Wait for children and return their exit codes; None for those that run after the time."""
    end = time.monotonic() + timeout
    for child in children:
        child.join(max(end - time.monotonic(), 0))
    return [child.exitcode for child in children]


def _call(call: Callable[[], object], parent: int) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # as in the prologue
    if os.getppid() == parent:
        call()


def _kill_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: all are zombies
        os.killpg(leader, signal.SIGKILL)
