"""The one door to the kernels: every value of every initializer comes through `fill`.

A call goes: a `Request` is checked, the recipe is checked against it, the random stream is drawn,
and `fill` has the request's array filled. Whatever is refused is refused before the draw.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

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
from .window import Window, everything, runs


def sample(
    recipe: Recipe,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    stream: Stream | None = None,
    window: Window | None = None,
    out: Any = None,
    device: str | None = None,
) -> Any:
    """Return an array of values of a recipe, or the part of it inside a window.

    Parameters
    ----------
    recipe : one of the classes of `recipes`
        What the values are. The random ones need a floating `dtype` and a `stream`.
    shape, dtype, window, out, device
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
    request = Request(shape, dtype, window=window, out=out, device=device)
    recipe.check(request.shape, request.dtype)
    return fill(recipe, request, stream)


def fill(recipe: Recipe, request: Request, stream: Stream | None) -> Any:
    """Return the array of a request, filled with the values of a recipe that has been checked."""
    target = request.target
    if request.size and 0 in request.size:
        return request.result
    FILLS[type(recipe)](recipe, request, target, stream)
    target.settle()
    return request.result


def _random(recipe: Any, request: Request, target: Any, stream: Stream) -> None:
    target.random(recipe, runs(request.shape, request.window), stream)


def _constant(recipe: Constant, request: Request, target: Any, _: Any) -> None:
    values = np.asarray(recipe.value)
    if values.ndim == 0:
        target.constant(recipe.item(request.dtype))
    else:
        target.copy(recipe.chosen(request.shape, request.window))


def _computed(recipe: Computed, request: Request, target: Any, _: Any) -> None:
    target.copy(recipe.compute(request.window or everything(request.shape), request.dtype))


def _diagonal(recipe: Diagonal, request: Request, target: Any, _: Any) -> None:
    from .host import HostArray

    values = target.host()
    HostArray(values).constant(False)
    rows, columns = request.window or everything(request.shape)
    first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
    if first < last:
        width = columns.stop - columns.start
        begin = (first - rows.start) * width + first - columns.start
        gain = Constant(recipe.gain).item(request.dtype)
        values.reshape(-1)[begin :: width + 1][: last - first] = gain
    target.copy(values)


def _haar(recipe: Haar, request: Request, target: Any, stream: Stream) -> None:
    _matrix(recipe.gain, target, request.shape, request.window, stream)


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
