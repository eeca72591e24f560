"""A lock that no interrupt leaves behind."""

import _thread
from typing import Any

_Lock: Any = _thread.RLock  # can be a base, whatever its stub says


class Lock(_Lock):
    """A lock for ``with`` blocks; the thread that has it may take it again.

    Since Python 3.14 an interrupt may come after a lock is taken and before its block begins, and
    then nobody gives it back. Here it comes before this method returns, or in the block.
    """

    def __enter__(self) -> bool:
        try:
            return self.acquire()
        except BaseException:
            try:  # noqa: SIM105  another call could be interrupted before
                self.release()
            except RuntimeError:  # it was not taken yet
                pass
            raise
