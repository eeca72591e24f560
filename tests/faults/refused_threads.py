"""Threads that cannot start: arrays and tables are right, or there is a clear error; none is wrong.

``python -m tests.faults.refused_threads [ARRAYS [TABLES]]`` (200 and 100) makes so many of each

- with 2, 4 and 6 threads, where one thread, or every one from some on, cannot be started;
- with 6 threads, as a user who may have 0 to 6 threads more (who is not root: 0).
"""

import contextlib
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

NOBODY = 51_966  # a user without processes
SHAPE = (1 << 16, 24)  # six chunks
DTYPES = {"uniform": "float32", "truncated": "float32", "normal": "bfloat16"}


def make(arrays: int, tables: int, expected: dict[str, bytes], folder: Path) -> Counter[str]:
    """Return how many outcomes there were of each kind."""
    from seedbed import initializers
    from seedbed import tables as disk
    from seedbed.values import pool

    inits = {
        "uniform": initializers.RandomUniform(seed=1),
        "truncated": initializers.TruncatedNormal(seed=2),
        "normal": initializers.RandomNormal(seed=3),
    }

    def array(kind: str) -> bytes:
        return inits[kind](
            SHAPE, DTYPES[kind]
        ).tobytes()  # at once: what is written late is missing

    def table(kind: str) -> bytes:
        path = folder / f"{os.getpid()}.safetensors"
        disk.write(path, inits[kind], SHAPE, DTYPES[kind], chunk_bytes=1 << 20, force=True)
        return path.read_bytes()[-len(expected[kind]) :]

    outcomes: Counter[str] = Counter()
    for number in range(arrays + tables):
        what: Callable[[str], bytes] = array if number < arrays else table
        kind = list(DTYPES)[number % len(DTYPES)]
        pool._pool.close()
        pool._start_afresh()  # no thread yet
        try:
            found = what(kind)
            right = found == expected.setdefault(kind, found)
            outcomes[f"{what.__name__}s {'right' if right else 'wrong'}"] += 1
        except (OSError, MemoryError, RuntimeError) as error:
            outcomes[f"{what.__name__}s: {type(error).__name__}: {error}"] += 1
    return outcomes


@contextlib.contextmanager
def refused(which: Callable[[int], bool]) -> Iterator[None]:
    """Refuse the starts, numbered from 0 for each pool, that a function chooses."""
    from seedbed.values import pool

    real, number = pool.start_new_thread, [0]
    afresh = pool._start_afresh

    def start(*arguments: object) -> int:
        number[0] += 1
        if which(number[0] - 1):
            raise RuntimeError("can't start new thread")
        return real(*arguments)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def start_afresh() -> None:
        number[0] = 0
        afresh()

    with (
        mock.patch.object(pool, "start_new_thread", start),
        mock.patch.object(pool, "_start_afresh", start_afresh),
    ):
        yield


def limited(more: int, folder: Path, *arguments: object) -> None:
    """Become a user who may start so many threads more, if this is root's process."""
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    limit = 1 + more if os.getuid() == NOBODY else 0
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


def in_a_child(report: str, call: Callable[[], Counter[str]]) -> bool:
    """Report what a call counts in a forked child; return whether all is right or refused."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 2
        try:
            outcomes = call()
            print(report, dict(outcomes), flush=True)
            code = int(any(name.endswith("wrong") for name in outcomes))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main(arrays: int = 200, tables: int = 100) -> int:
    """Run everything; return how many cases went wrong."""
    os.environ["NUMBA_NUM_THREADS"] = "6"
    import numba

    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name), {}
        folder.chmod(0o755)
        with refused(lambda number: True):  # compiles and imports everything, too
            assert make(3, 3, expected, folder) == {"arrays right": 3, "tables right": 3}
        for threads in (2, 4, 6):
            for first in range(threads):
                for rule, which in (
                    ("only", lambda number, first=first: number == first),
                    ("all from", lambda number, first=first: number >= first),
                ):

                    def injected(
                        threads: int = threads, which: Callable[[int], bool] = which
                    ) -> Counter[str]:
                        numba.set_num_threads(threads)
                        with refused(which):
                            return make(arrays, tables, expected, folder)

                    case = f"{threads} threads, refused: {rule} start {first}:"
                    wrong += not in_a_child(case, injected)
        for more in range(7) if os.getuid() == 0 else (0,):

            def as_another(more: int = more) -> Counter[str]:
                limited(more, folder)
                return make(arrays, tables, expected, folder)

            wrong += not in_a_child(f"6 threads, {more} more allowed:", as_another)
    print(wrong, "cases wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
