"""Seedbed in Dask: lazy arrays whose blocks are windows of a table, and tables that workers write.

A block is made where and when it is needed, from the initializer and its bounds alone: the graph
holds no values, and the chunks do not change the result.
"""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

try:
    import dask.array as da
    from dask.array.core import normalize_chunks
    from dask.base import compute, tokenize
    from dask.blockwise import blockwise
    from dask.delayed import delayed
    from dask.layers import ArraySliceDep
except ImportError as error:
    raise ImportError("seedbed.dask needs Dask: python -m pip install 'seedbed[dask]'") from error

from . import initializers, tables
from .errors import ArgumentError, ArgumentTypeError, as_integer, brief, naming
from .initializers import Initializer
from .locks import renewed_lock
from .storage.locks import TakenError
from .storage.objects import url_of
from .tables.job import CHECKPOINT_SECONDS, CHUNK_BYTES, Job, WriteOptions
from .tables.output import Output, Part, check_part, output_at
from .tables.table import table as make_table
from .tables.uploading import Upload
from .values.dtypes import as_dtype
from .values.request import check_shape
from .values.seeds import SeedGenerator
from .values.window import Window

PART_BYTES = 256 << 20  # of a part, unless there would be more than MOST_PARTS
MOST_PARTS = 1024
PATIENCE = 60.0  # seconds that a part waits for a lock: of a worker that is taken for dead

_turn = renewed_lock()  # a process writes one part of an output at a time


def array(
    init: Initializer | str, shape: Sequence[int], chunks: Any = "auto", dtype: Any = None
) -> da.Array:
    """Return a lazy array of an initializer's values.

    Parameters
    ----------
    init : Initializer or str
        An initializer of `seedbed.initializers`, or its name. One that draws random numbers must
        have an integer seed or a `Stream`: each worker would draw a seed of its own.
    shape : sequence of int
        The full array, which need not fit in memory.
    chunks : int, tuple, dict, str, optional
        As `dask.array.ones` takes them; ``"auto"`` by default. An initializer that is not
        `windowed` (Orthogonal) is made as one block, in one worker's memory, and cut into these.
    dtype : dtype or name, optional
        float32 by default.

    Returns
    -------
    dask.array.Array
        Equal to ``init(shape, dtype)``, bit for bit, whatever the chunks. Equal arguments give an
        equal name.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is not as said above, before any value is made.

    Examples
    --------
    >>> from seedbed import initializers
    >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    >>> table = array(init, (1000, 64), chunks=(300, 50), dtype="bfloat16")
    >>> table.numblocks, table.dtype
    ((4, 2), dtype(bfloat16))
    >>> bool((table.compute() == init((1000, 64), "bfloat16")).all())
    True
    """
    with naming("array"):
        found = _found(init)
        size, kind = check_shape(shape), as_dtype(dtype)
        bounds = _chunks(chunks, size, kind)
        _check(found, size, kind)
    made = bounds if found.windowed else tuple((length,) for length in size)
    # Of all that the initializer holds: a class of a user's may leave things out of get_config.
    name = f"{type(found).__name__.lower()}-{tokenize(found, size, kind.name, made)}"
    axes = tuple(range(len(size)))
    block = partial(_block, found, size, kind.name)
    graph = blockwise(block, name, axes, ArraySliceDep(made), axes, numblocks={})
    meta = np.empty((0,) * len(size), kind)
    # Dask declares neither what `Array` takes nor that chunks may be a tuple.
    table = da.Array(graph, name, made, meta=meta)  # pyright: ignore[reportCallIssue]
    return table if made == bounds else da.rechunk(table, bounds)  # pyright: ignore[reportArgumentType]


def rows(
    init: Initializer | str, ids: da.Array, shape: Sequence[int], dtype: Any = None
) -> da.Array:
    """Return a lazy array of the rows of a table that an array of numbers chooses.

    Parameters
    ----------
    init : Initializer or str
        As `array` takes it, and `windowed`.
    ids : dask.array.Array
        Numbers of rows in [0, shape[0]), of integers and of any shape; repeated or not. They are
        checked where a block is made.
    shape : sequence of int
        The full table, of rank 1 or more.
    dtype : dtype or name, optional
        float32 by default.

    Returns
    -------
    dask.array.Array
        Equal to ``init(shape, dtype)[ids]``, of shape ``ids.shape + shape[1:]``; in chunks as those
        of `ids`, of whole rows.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is not as said above, before any value is made.

    Examples
    --------
    >>> import dask.array
    >>> from seedbed import initializers
    >>> init = initializers.RandomUniform(seed=7)
    >>> ids = dask.array.from_array([5 * 10**11, 3, 7], chunks=2)
    >>> chosen = rows(init, ids, (10**12, 128), "bfloat16")
    >>> chosen.shape, chosen.chunks
    ((3, 128), ((2, 1), (128,)))
    >>> bool((chosen.compute()[1] == init((10**12, 128), "bfloat16", rows=[3])[0]).all())
    True
    """
    with naming("rows"):
        found = _found(init)
        if not found.windowed:
            raise ArgumentError(
                "init must make rows without the whole table; take array(...)[ids] for "
                f"{type(found).__name__}"
            )
        if not isinstance(ids, da.Array) or ids.dtype.kind not in "iu":
            given = f"one of {ids.dtype}" if isinstance(ids, da.Array) else brief(ids)
            raise ArgumentTypeError(f"ids must be a dask array of integers; given {given}")
        size, kind = check_shape(shape), as_dtype(dtype)
        if not size:
            raise ArgumentError("shape must have rank 1 or more; given ()")
        _check(found, size, kind)
    rank = ids.ndim + len(size) - 1
    return da.blockwise(
        partial(_rows, found, size, kind.name),
        tuple(range(rank)),
        ids,
        tuple(range(ids.ndim)),
        new_axes=dict(enumerate(size[1:], ids.ndim)),
        name=f"rows-{tokenize(found, ids, size, kind.name)}",
        meta=np.empty((0,) * rank, kind),
    )


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
        path, init = url_of(path) or os.path.abspath(path), _found(init)
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


def _block(init: Initializer, shape: tuple[int, ...], dtype: str, window: Window) -> np.ndarray:
    return init(shape, dtype, window=window) if init.windowed else init(shape, dtype)


def _rows(init: Initializer, shape: tuple[int, ...], dtype: str, ids: Any) -> np.ndarray:
    return init(shape, dtype, rows=ids)


def _found(init: Any) -> Initializer:
    found = initializers.get(init) if isinstance(init, str) else init
    if not isinstance(found, Initializer):
        raise ArgumentTypeError(
            f"init must be a Seedbed initializer or its name; given {brief(init)}"
        )
    if not found.seeded or isinstance(getattr(found, "seed", None), SeedGenerator):
        raise ArgumentError(
            f"init must have an integer seed or a Stream, for all workers; given {brief(init)}"
        )
    return found


def _chunks(chunks: Any, shape: tuple[int, ...], dtype: np.dtype) -> tuple[tuple[int, ...], ...]:
    """Return the lengths of the chunks along each axis."""
    try:
        found = normalize_chunks(chunks, shape, dtype=dtype)
    except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise ArgumentError(f"chunks do not fit {shape}; given {brief(chunks)}: {error}") from None
    for lengths, length in zip(found, shape, strict=True):
        if sum(lengths) != length or min(lengths, default=0) < 0:
            raise ArgumentError(f"chunks do not fit {shape}; given {brief(chunks)}")
    return found


def _check(init: Initializer, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what the initializer cannot make, without making anything."""
    if type(init).recipe is not Initializer.recipe:  # a user's class may have a call only
        init.recipe(shape).check(shape, dtype)
