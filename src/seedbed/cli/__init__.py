"""The `seedbed` command.

Hardly anything is imported here: until signals are answered, Ctrl-C would be a traceback.
"""

import _signal as signal  # its built-in part: at once  # pyright: ignore[reportMissingImports]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the command; return its exit code.

    0: done. 1: begun and failed, or `verify` found a difference. 2: refused before any work.
    70: a fault in the program, with a traceback. 130 and 143: stopped by Ctrl-C and by SIGTERM.
    All but 0 say why on standard error, in one line but for 70.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    """
    if arguments is not None:
        from .command import run

        return run(arguments)
    _open_standard_files()
    _stop_at_once()
    from .command import INTERRUPTED, run

    code = run(sys.argv[1:])
    if code == INTERRUPTED:  # Python would send itself the signal if it passed through an exec()
        os._exit(code)
    return code


def _open_standard_files() -> None:
    """Open what was closed at the start: else a table gets its number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _stop_at_once() -> None:
    """Let signals end the process in a line while modules are imported: no work has begun."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    try:
        for number, default in defaults.items():
            if signal.getsignal(number) == default:  # not where it is ignored
                signal.signal(number, _stop)
    except ValueError:  # not in the main thread
        pass


def _stop(number: int, _: object) -> None:
    for other in _STOPS:
        signal.signal(other, signal.SIG_IGN)  # one line, however many signals come
    try:
        os.write(2, f"seedbed: {_STOPS[number]}\n".encode())
    finally:
        os._exit(128 + number)
