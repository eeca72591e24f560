"""The one door to the kernels: every value of every initializer comes through `fill`.

A call goes: a `Request` is checked, the recipe is checked against it, the random stream is drawn,
and `fill` has the request's array filled. Whatever is refused is refused before the draw.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dtypes import quiet
from .host import GRAIN, HostArray
from .recipes import (
    Computed,
    Constant,
    Delta,
    Diagonal,
    Haar,
    Normal,
    Recipe,
    TruncatedNormal,
    Uniform,
)
from .request import Request
from .seeds import Stream
from .window import Window, everything, windows


def sample(
    recipe: Recipe,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    stream: Stream | None = None,
    **request: Any,
) -> Any:
    """Return an array of values of a recipe, or the part of it that is asked for.

    Parameters
    ----------
    recipe : one of the classes of `recipes`
        What the values are. The random ones need a floating `dtype` and a `stream`.
    shape, dtype, **request
        As `Request` takes them.
    stream : Stream, optional
        Which random numbers.

    Returns
    -------
    array
        Equal, bit for bit, to ``sample(recipe, shape, ...)[window]``. A new array on a GPU is a
        `seedbed.gpu.DeviceArray`.

    Raises
    ------
    ArgumentError, ArgumentTypeError, DeviceError
        If an argument is not as said above, or a GPU is asked for and something is missing; before
        any work.

    Examples
    --------
    >>> whole = sample(Normal(0.0, 1.0), (1000, 64), stream=Stream(7))
    >>> window = (slice(8, 9), slice(4))
    >>> part = sample(Normal(0.0, 1.0), (1000, 64), stream=Stream(7), window=window)
    >>> bool((part == whole[8:9, :4]).all())
    True
    """
    asked = Request(shape, dtype, **request)
    asked.check(recipe)
    return fill(recipe, asked, stream)


def fill(recipe: Recipe, request: Request, stream: Stream | None) -> Any:
    """Return the array of a request, filled with the values of a recipe that has been checked."""
    target = request.target
    if 0 not in request.size:
        FILLS[type(recipe)](recipe, request, target, stream)
        target.settle()
    return target.result if request.out is None else request.out


def _random(recipe: Any, request: Request, target: Any, stream: Stream) -> None:
    target.random(recipe, request.selection, stream)


def _constant(recipe: Constant, request: Request, target: Any, _: Any) -> None:
    if np.ndim(recipe.value) == 0:
        target.constant(recipe.item(request.dtype))
        request.mark()
        return
    values = recipe.chosen(request.shape, request.window, _index(request))
    target.copy(np.broadcast_to(values, request.size))


@quiet
def _computed(recipe: Computed, request: Request, target: Any, _: Any) -> None:
    window = request.window or everything(request.shape)
    if request.rows is None and not recipe.cut:
        target.copy(recipe.compute(window, request.dtype))
        return
    values = target.host()
    if request.rows is None:
        for begin in range(0, values.size, GRAIN):
            for part in windows(request.size, begin, min(begin + GRAIN, values.size)):
                axes = zip(part, window, strict=True)
                inside = tuple([slice(p.start + w.start, p.stop + w.start) for p, w in axes])
                values[part] = recipe.compute(inside, request.dtype)
        target.copy(values)
        return
    ids = _index(request).reshape(-1)
    order = np.argsort(ids, kind="stable")
    cuts = np.flatnonzero(np.diff(ids[order]) > 1) + 1
    rows = values.reshape(-1, *values.shape[len(request.size) - len(window) + 1 :])
    for part in np.split(order, cuts):  # rows that follow each other, each as often as it is asked
        first, last = int(ids[part[0]]), int(ids[part[-1]])
        made = recipe.compute((slice(first, last + 1), *window[1:]), request.dtype)
        rows[part] = made[ids[part] - first]
    target.copy(rows.reshape(values.shape))


def _diagonal(recipe: Diagonal, request: Request, target: Any, _: Any) -> None:
    values = target.host()
    gain = Constant(recipe.gain).item(request.dtype)
    HostArray(values).constant(gain.dtype.type(0))
    down, columns = request.window or everything(request.shape)
    if request.rows is not None:
        ids = np.atleast_1d(_index(request))
        rows = values if values.ndim > 1 else values[None]
        inside = (ids >= columns.start) & (ids < columns.stop)
        rows[(*np.nonzero(inside), (ids[inside] - columns.start).astype(np.int64))] = gain
    elif (first := max(down.start, columns.start)) < (last := min(down.stop, columns.stop)):
        width = columns.stop - columns.start
        begin = (first - down.start) * width + first - columns.start
        values.reshape(-1)[begin :: width + 1][: last - first] = gain
    target.copy(values)


def _index(request: Request) -> Any:
    """Return the row numbers that are asked for, in the shape in which they were given."""
    if request.rows is None:
        return None
    outer = len(request.size) - len(request.shape) + 1
    if isinstance(request.rows, range):
        steps = np.arange(len(request.rows), dtype=np.int64) * request.rows.step
        return steps + request.rows.start
    return request.rows.reshape(request.size[:outer])


def _haar(recipe: Haar, request: Request, target: Any, stream: Stream) -> None:
    if request.rows is not None:
        _indexed(recipe, request, target, stream)
    else:
        _matrix(recipe.gain, target, request.shape, request.window, stream)


def _indexed(recipe: Recipe, request: Request, target: Any, stream: Stream) -> None:
    """Make all rows, on the host, and take those that are asked for."""
    assert request.window is not None
    window = (slice(0, request.shape[0]), *request.window[1:])
    whole = sample(recipe, request.shape, request.dtype, stream=stream, window=window)
    target.copy(whole[_index(request)])


def _matrix(
    gain: float, target: Any, shape: tuple[int, ...], window: Window | None, stream: Stream
) -> None:
    """Fill an array with a window of an orthogonal matrix whose rows are all axes but the last."""
    if gain == 0.0:
        target.constant(False)
        return
    *outer, columns = shape
    *touched, across = window or everything(shape)
    # The rows from the first to the last that the window touches.
    first, last = (
        int(np.ravel_multi_index(corner, outer))
        for corner in ([part.start for part in touched], [part.stop - 1 for part in touched])
    )
    size = last - first + 1, across.stop - across.start
    whole = math.prod(part.stop - part.start for part in touched) == size[0]
    rows = None if whole else np.ravel_multi_index(np.ogrid[tuple(touched)], outer) - first
    target.matrix((first, across.start), size, (math.prod(outer), columns), stream, gain, rows)


def _delta(recipe: Delta, request: Request, target: Any, stream: Stream) -> None:
    if request.rows is not None:
        _indexed(recipe, request, target, stream)
        return
    target.constant(False)
    *outer, rows, columns = request.window or everything(request.shape)
    centre = [(size - 1) // 2 for size in request.shape[:-2]]
    if all(part.start <= i < part.stop for i, part in zip(centre, outer, strict=True)):
        number = 0
        for i, part in zip(centre, outer, strict=True):
            number = number * (part.stop - part.start) + i - part.start
        matrix = target.matrix_at(number)
        _matrix(recipe.gain, matrix, request.shape[-2:], (rows, columns), stream)


FILLS: dict[type, Callable[..., None]] = {
    Uniform: _random,
    Normal: _random,
    TruncatedNormal: _random,
    Haar: _haar,
    Delta: _delta,
    Constant: _constant,
    Diagonal: _diagonal,
    Computed: _computed,
}
