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
    compiles has imported its compiler.
    """
    eager: list[Callable[Arguments, Result]] = []

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo is None:
            return function(*args, **kwargs)
        if not eager:
            eager.append(dynamo.disable(function))
        return eager[0](*args, **kwargs)

    return call
