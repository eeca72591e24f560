"""Calls that tracing compilers leave alone."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make `torch.compile` call a function as it is, with a graph break, and not trace it.

    Traced, it would lead Dynamo through Numba and LLVM. PyTorch is not imported here: whoever
    compiles has done so.
    """

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        torch = sys.modules.get("torch")
        if torch is None or not torch.compiler.is_dynamo_compiling():
            return function(*args, **kwargs)
        return torch.compiler.disable(function)(*args, **kwargs)

    return call
