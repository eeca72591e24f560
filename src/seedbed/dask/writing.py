"""Tables that workers write, each its parts."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

from dask.base import compute
from dask.delayed import delayed

from .. import tables
from ..errors import as_integer, naming
from ..initializers import Initializer
from ..locks import renewed_lock
from ..storage.locks import TakenError
from ..storage.objects import url_of
from ..tables.job import CHECKPOINT_SECONDS, CHUNK_BYTES, Job, WriteOptions
from ..tables.output import Output, Part, check_part, output_at
from ..tables.table import table as make_table
from ..tables.uploading import Upload
from .arrays import seeded

PART_BYTES = 256 << 20  # of a part, unless there would be more than MOST_PARTS
MOST_PARTS = 1024
PATIENCE = 60.0  # seconds that a part waits for a lock: of a worker that is taken for dead

_turn = renewed_lock()  # a process writes one part of an output at a time


def write(
    path: str | os.PathLike[str],
    init: Initializer | str,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    parts: int | None = None,
    resume: bool = False,
    name: str | None = None,
    shards: int | None = None,
    chunk_rows: int | None = None,
    shard_rows: int | None = None,
    check: Literal["all", "sample"] = "all",
    chunk_bytes: int = CHUNK_BYTES,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> tables.Summary:
    """Have Dask's workers write a table into one file or folder that all of them see.

    It is written in parts, as by as many calls of `seedbed.tables.write`: with their locks, states
    and checks. Where Dask runs a part again, because its worker was lost, the part goes on where
    the lost one had saved it. The scheduler holds a few lines for each part, and no values.

    Parameters
    ----------
    path : path
        ``.npy``, ``.safetensors``, ``.zarr``, or with `shards` the name of a folder: on a disk that
        all workers share. Or a URL, as `seedbed.tables.write` takes it.
    init : Initializer or str
        As `array` takes it.
    shape, dtype
        The full table, and its elements; float32 by default.
    parts : int, optional
        More than there are workers let fast ones do more. By default one for each 256 MiB, at most
        1024; in a folder at most one for each file.
    resume : bool
        Continue an earlier call that failed; with the same number of parts.
    name, shards, chunk_rows, shard_rows, check, chunk_bytes, checkpoint_seconds : optional
        As `seedbed.tables.write` takes them.

    Returns
    -------
    seedbed.tables.Summary
        Of all parts together.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is not as said above, before any work.
    OutputError
        If the output exists, or is unfinished and `resume` is False, before any work.
    StorageError
        If the disk fails, or values on it are damaged. `resume` goes on from there.

    Examples
    --------
    >>> import tempfile
    >>> from seedbed import initializers
    >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    >>> path = tempfile.mkdtemp() + "/t.safetensors"
    >>> write(path, init, (1000, 64), "bfloat16", parts=3).nbytes
    128000
    >>> tables.verify(path).ok
    True
    """
    start = time.perf_counter()
    with naming("write"):
        name = "weight" if name is None else name
        path, init = url_of(path) or os.path.abspath(path), seeded(init)
        what = {"shards": shards, "chunk_rows": chunk_rows, "shard_rows": shard_rows}
        output = _output(path, init, shape, dtype, name, what)
        count = _count(output) if parts is None else as_integer(parts, "parts")
        check_part((1, count), output)
        options = {
            "check": check,
            "chunk_bytes": chunk_bytes,
            "checkpoint_seconds": checkpoint_seconds,
        }
        WriteOptions(**options)
        table = path, init, tuple(shape), output.tables[0].dtype.name, name, what
        if not resume:  # apart: were it run again later, it would find what the parts wrote
            compute(delayed(_check_new, pure=False)(*table))
        part = delayed(_write_part, pure=False)
        every = [
            part(*table, {"part": (number, count), **options}) for number in range(1, count + 1)
        ]
        values, nbytes, missing = map(list, zip(*compute(*every), strict=True))
        if all(missing):  # the last ones did not see each other's end
            compute(every[-1])
    seconds = time.perf_counter() - start
    return tables.Summary(output, sum(values), sum(nbytes), seconds, Part(), [])


def _count(output: Output) -> int:
    if any(one.whole is not None for one in output.tables):
        return 1
    most = MOST_PARTS if output.shards is None else min(MOST_PARTS, output.shards)
    return min(max(output.nbytes // PART_BYTES, 1), most)


def _output(
    path: str, init: Any, shape: Any, dtype: Any, name: str, what: dict[str, Any]
) -> Output:
    return output_at(path, [make_table(init, shape, dtype, name=name)], *what.values())


def _check_new(*table: Any) -> None:
    """Refuse an output that is there already, or unfinished."""
    output = _output(*table)
    if output.url is None:
        Job(output, WriteOptions()).check()
    else:
        Upload(output, WriteOptions()).begin()


def _write_part(
    path: str,
    init: Initializer,
    shape: tuple[int, ...],
    dtype: str,
    name: str,
    what: dict[str, Any],
    options: dict[str, Any],
) -> tuple[int, int, list[str]]:
    """Write a part on a worker; return values and bytes written, and which parts are missing."""
    end = time.monotonic() + PATIENCE
    with _turn:
        _use_own_threads()
        while True:
            try:
                done = tables.write(
                    path, init, shape, dtype, name=name, resume=True, **what, **options
                )
                return done.values, done.nbytes, done.missing
            except TakenError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


def _use_own_threads() -> None:
    """Use as many threads as a worker of a cluster has, which may have neighbours."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return
    try:
        count = distributed.get_worker().state.nthreads
    except ValueError:  # not on a worker
        return
    import numba
    from numba.core import config

    most = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    numba.set_num_threads(max(min(count, most), 1))
