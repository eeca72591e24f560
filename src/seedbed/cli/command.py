"""How the `seedbed` command runs: errors as exit codes and lines, signals as exceptions."""

import _thread
import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..errors import SeedbedError, StorageError
from .options import parser

FAILED, REFUSED, FAULT, INTERRUPTED, TERMINATED = 1, 2, 70, 130, 143


class Terminated(BaseException):
    """SIGTERM came."""


class _UnwrittenError(Exception):
    """Standard output takes no more."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


def run(arguments: Sequence[str]) -> int:
    """Run the command; `main` says what it returns."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # such as × in ASCII
    options = None
    try:
        options = parser().parse_args(arguments)
        from . import commands

        with _one_line_warnings(), _stoppable():
            return commands.BY_NAME[options.command](options)
    except SeedbedError as error:
        begun = isinstance(error, StorageError) or getattr(options, "begun", False)
        return say(_text(error), FAILED if begun else REFUSED)
    except MemoryError as error:
        return say("; ".join(["not enough memory", *_notes(error)]), FAILED)
    except KeyboardInterrupt as error:
        return say("; ".join(["interrupted", *_notes(error)]), INTERRUPTED)
    except Terminated as error:
        return say("; ".join(["terminated", *_notes(error)]), TERMINATED)
    except _UnwrittenError as error:  # BrokenPipeError: after `| head` nobody wants to know
        reason = error.reason
        return FAILED if isinstance(reason, BrokenPipeError) else say(f"{reason}", FAILED)
    except Exception:
        traceback.print_exc()
        return say("a fault in seedbed: please report the lines above", FAULT)


def _text(error: SeedbedError) -> str:
    if error.owner is not None and error.owner.startswith("tables."):
        error.owner = None  # what was called is the command
    return "; ".join([str(error), *_notes(error)])


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def printable(text: str) -> str:
    """Return a line in which what is no character to be seen is escaped: it may be a file's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(line: str) -> None:
    """Print a line to standard output, if there is one."""
    if sys.stdout is None:
        return
    try:
        print(printable(line), flush=True)
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # what is left is not tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _UnwrittenError(error) from None


def say(message: str, code: int) -> int:
    """Print a line to standard error, if there is one, and return an exit code."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print("seedbed: " + printable(" ".join(message.split())), file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into exceptions, where signals may be handled."""

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = _raise_again
        signal.signal(signal.SIGTERM, terminate)
        if before[signal.SIGINT] is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _raise_again(lost: Any) -> None:
    """Stop a little later, where the exception came in a callback of C code, which drops it."""
    number = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}.get(lost.exc_type)
    if number is None:
        sys.__unraisablehook__(lost)
        return

    def stop() -> None:
        time.sleep(0.02)
        _thread.interrupt_main(number)

    _thread.start_new_thread(stop, ())


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    def show(message: Warning | str, *_: object) -> None:
        say(f"warning: {message}", 0)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
