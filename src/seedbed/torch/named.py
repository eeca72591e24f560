"""The functions of torch.nn.init that are more than one operation, drawn directly.

Whoever has imported one of them holds the same function object, so that it is the function's code
that is exchanged, for as long as a recording lasts; calls of other threads go on as before.
"""

import contextlib
import inspect
import threading
import types
from collections.abc import Iterator
from typing import Any

import torch

from .. import initializers
from ..errors import ArgumentError
from ..locks import renewed_lock
from .computed import Dirac, Matrix, Sparse
from .standins import truncated_normal

NAMES = ("trunc_normal_", "orthogonal_", "sparse_", "eye_", "dirac_")
_originals: dict[str, Any] = {}
_recordings = threading.local()
_lock = renewed_lock()
_entered = 0


def _redirection(name: str) -> Any:
    """Return code that any of these functions can have: it sees their globals, not ours."""
    source = (
        "def redirected(*args, **kwargs):\n"
        "    from seedbed.torch import named\n"
        f"    return named.call({name!r}, args, kwargs)\n"
    )
    space: dict[str, Any] = {}
    exec(source, space)
    return space["redirected"].__code__


def call(name: str, args: Any, kwargs: Any) -> Any:
    """Call a function of torch.nn.init: as it was, or by the recording of this thread."""
    original = _originals[name]
    recording = getattr(_recordings, "active", None)
    if recording is None:
        return original(*args, **kwargs)
    given = inspect.signature(original).bind(*args, **kwargs)
    given.apply_defaults()
    given.arguments.pop("generator", None)
    tensor = given.arguments.pop("tensor")
    with torch.no_grad():
        init, seeded = BY_NAME[name](tensor, **given.arguments)
        (recording.draw if seeded else recording.fill)(tensor, init)
    return tensor


@contextlib.contextmanager
def redirected(recording: Any) -> Iterator[None]:
    """Have the functions call `recording.draw` or `recording.fill` in this thread."""
    global _entered
    before = getattr(_recordings, "active", None)
    with _lock:
        if not _entered:
            for name in NAMES:
                _exchange(name)
        _entered += 1
    _recordings.active = recording
    try:
        yield
    finally:
        _recordings.active = before
        with _lock:
            _entered -= 1
            if not _entered:
                for name in NAMES:
                    _restore(name)


def _exchange(name: str) -> None:
    function: Any = getattr(torch.nn.init, name)
    original = types.FunctionType(
        function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__
    _originals[name] = original
    function.__defaults__, function.__code__ = None, _redirection(name)


def _restore(name: str) -> None:
    function: Any = getattr(torch.nn.init, name)
    original = _originals[name]
    function.__code__, function.__defaults__ = original.__code__, original.__defaults__


def _trunc_normal_(tensor: torch.Tensor, mean: float, std: float, a: float, b: float) -> Any:
    mean, std, a, b = (float(x) for x in (mean, std, a, b))
    if not (a < b and std > 0):
        raise ArgumentError(
            f"trunc_normal_: a must be below b, and std positive; given {a}, {b}, {std}"
        )
    return truncated_normal(mean, std, a, b), True


def _orthogonal_(tensor: torch.Tensor, gain: float) -> Any:
    check_matrix(tensor)
    init = initializers.Orthogonal(float(gain)) if tensor.ndim == 2 else Matrix(float(gain))
    return init, True


def _sparse_(tensor: torch.Tensor, sparsity: float, std: float) -> Any:
    check_rank(tensor, (2,), "sparse_")
    check_sparsity(sparsity)
    return Sparse(sparsity, std), True


def _eye_(tensor: torch.Tensor) -> Any:
    check_rank(tensor, (2,), "eye_")
    return initializers.Identity(), False


def _dirac_(tensor: torch.Tensor, groups: int) -> Any:
    check_rank(tensor, (3, 4, 5), "dirac_")
    check_groups(tensor, groups)
    return Dirac(groups), False


def check_rank(tensor: torch.Tensor, ranks: tuple[int, ...], owner: str) -> None:
    """Refuse a tensor of another rank."""
    if tensor.ndim not in ranks:
        raise ArgumentError(
            f"tensor must have rank {' or '.join(map(str, ranks))}; given {tensor.ndim}"
        ).named(owner)


def check_groups(tensor: torch.Tensor, groups: object) -> None:
    """Refuse groups that do not divide the outputs."""
    if not isinstance(groups, int) or groups < 1 or tensor.shape[0] % groups:
        raise ArgumentError(
            f"groups must divide the outputs, {tensor.shape[0]}; given {groups!r}"
        ).named("dirac_")


def check_matrix(tensor: torch.Tensor) -> None:
    """Refuse what cannot have orthonormal rows or columns."""
    if tensor.ndim < 2:
        raise ArgumentError(f"tensor must have rank 2 or more; given {tensor.ndim}").named(
            "orthogonal_"
        )


def check_sparsity(sparsity: float) -> None:
    """Refuse what is no fraction."""
    if not 0 <= sparsity <= 1:
        raise ArgumentError(f"sparsity must be in [0, 1]; given {sparsity!r}").named("sparse_")


BY_NAME = {
    "trunc_normal_": _trunc_normal_,
    "orthogonal_": _orthogonal_,
    "sparse_": _sparse_,
    "eye_": _eye_,
    "dirac_": _dirac_,
}
