"""Classes of users whose call makes whole tables only: parts are cut from them."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, SeedbedError
from ..values.fill import fill
from ..values.recipes import Constant
from ..values.request import Request
from .arguments import as_array


def makes_parts(call: Callable[..., Any]) -> bool:
    """Return whether a call takes a window by name, and an array to fill by name or among others.

    Others alone do not tell: classes of Keras' documents take and ignore them.
    """
    parameters = inspect.signature(call).parameters
    others = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return "window" in parameters and ("out" in parameters or others)


def cutting(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call of an initializer that makes parts: of each table the whole, then cut."""

    @functools.wraps(call)
    def __call__(  # noqa: N807
        self: Any,
        shape: Sequence[int],
        *arguments: Any,
        window: Any = None,
        rows: Any = None,
        out: Any = None,
        device: Any = None,
        **others: Any,
    ) -> Any:
        if window is None and rows is None and out is None and device is None:
            return call(self, shape, *arguments, **others)
        dtype = arguments[0] if arguments else others.get("dtype")
        try:
            request = Request(shape, dtype, window=window, rows=rows, out=out, device=device)
            values = as_array(call(self, request.shape, request.dtype.name))
            if values.shape != request.shape:
                raise ArgumentError(
                    f"__call__ must return an array of shape {request.shape}; given {values.shape}"
                )
            recipe = Constant(values)
            request.check(recipe)
            return fill(recipe, request, None)
        except SeedbedError as error:
            error.named(type(self).__name__)
            raise

    return __call__
