"""The `seedbed` command."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

__all__ = ["main"]

_STOPS = {signal.SIGINT: b"interrupted", signal.SIGTERM: b"terminated"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: done. 1: begun and failed, or `verify` found a difference. 2: refused before any work.
    70: a fault in the program, with a traceback. 130 and 143: stopped by Ctrl-C and by SIGTERM.
    All but 0 say why on standard error, in one line but for 70.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    """
    if arguments is None:
        _stop_at_once()
    from .command import run

    return run(sys.argv[1:] if arguments is None else arguments)


def _stop_at_once() -> None:
    """Let signals end the process in a line while modules are imported: no work has begun."""
    if threading.current_thread() is threading.main_thread():
        for number, default in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
        ):
            if signal.getsignal(number) == default:  # not where it is ignored
                signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"seedbed: " + _STOPS[signal.Signals(number)] + b"\n")
    finally:
        os._exit(128 + number)
