"""Lazy arrays: of an initializer's values, of rows of them, of stored tables."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.blockwise import blockwise
from dask.layers import ArraySliceDep

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, brief, naming
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.request import check_shape
from ..values.seeds import SeedGenerator
from ..values.window import Window


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
        found = seeded(init)
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
        found = seeded(init)
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


def from_table(table: Any, chunks: Any) -> da.Array:
    """Return a lazy array of a `seedbed.tables.StoredTable`; see its `to_dask`."""
    with naming("to_dask"):
        whole = ("auto", *(-1 for _ in table.shape[1:])) if table.shape else ()
        bounds = _chunks(whole if chunks == "auto" else chunks, table.shape, table.dtype)
    meta = np.empty((0,) * table.ndim, table.dtype)
    name = f"table-{tokenize(table.identity)}"
    return da.from_array(table, bounds, name=name, meta=meta)  # pyright: ignore[reportArgumentType]


def _block(init: Initializer, shape: tuple[int, ...], dtype: str, window: Window) -> np.ndarray:
    return init(shape, dtype, window=window) if init.windowed else init(shape, dtype)


def _rows(init: Initializer, shape: tuple[int, ...], dtype: str, ids: Any) -> np.ndarray:
    return init(shape, dtype, rows=ids)


def seeded(init: Any) -> Initializer:
    """Return an initializer, or that of a name; it must give all workers the same values."""
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
