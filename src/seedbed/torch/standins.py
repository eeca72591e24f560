"""Stand-ins: tensors of a full shape, without values, that write down what is done to them.

A model's own initialization runs on stand-ins for its parameters and buffers, as it would on one
device, whatever the parameters are in truth. What it did to each of them is then replayed on the
pieces that this process holds. Values are made only where an operation must read them.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .. import initializers
from ..errors import ArgumentError
from ..initializers import Initializer
from ..values.seeds import derive
from ..values.window import Window, everything
from .computed import fixed
from .steps import Copy, Draw, Operation, Step, Write, Writes, box_of, checked, is_all


class UnreadableError(ArgumentError):
    """An operation reads values that nobody has: those a parameter had before."""


class Root:
    """A full tensor and what has been done to it.

    Parameters
    ----------
    meta : torch.Tensor
        Contiguous, on ``meta``: shape and dtype; views of it are the views of the stand-in.
    device : torch.device
        Where the values are, or would be.
    master : int
        Master seed of its draws.
    name : str, optional
        Plain name of the parameter or buffer; None for what the initialization made on its way.
    """

    def __init__(
        self, meta: torch.Tensor, device: torch.device, master: int, name: str | None = None
    ) -> None:
        self.meta, self.device, self.master, self.name = meta, device, master, name
        self.steps: list[Step] = []
        self.value: torch.Tensor | None = None  # once an operation had to read it
        self.draws = 0  # since all values were last overwritten
        self.initial: Callable[[], torch.Tensor] | None = None  # the values before

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the full tensor."""
        return tuple(self.meta.shape)

    @property
    def touched(self) -> bool:
        """Whether anything has been done to it."""
        return bool(self.steps) or self.value is not None

    @property
    def complete(self) -> bool:
        """Whether all values have been set."""
        return self.value is not None or covers(self.shape, self._written())

    def _written(self) -> Iterator[Window]:
        for step in self.steps:
            if isinstance(step, Writes):
                box = box_of(step.view, self.shape)
                if is_all(step.view, self.shape):
                    yield everything(self.shape)
                elif box is not None:
                    yield box.window

    @property
    def windowed(self) -> bool:
        """Whether a window of the values can be made without the rest."""
        return self.value is None and all(step.windowed(self.shape) for step in self.steps)

    def add(self, step: Step) -> None:
        """Do something to a view of the tensor."""
        whole = isinstance(step, Writes) and is_all(step.view, self.shape)
        if whole:
            self.steps, self.value, self.draws = [], None, 0
        for draw in step.open_draws():
            if self.name is not None:
                draw.holder.seed = derive(self.master, self.named(self.draws))
            self.draws += 1
        if self.value is not None:
            step.on_whole(self.value)
        else:
            self.steps.append(step)
            folded = truncated(self.steps)
            if folded is not None:
                self.steps = folded

    def named(self, number: int) -> str:
        """Return the name that the seed of a draw follows from."""
        return f"{self.name}#{number}" if number else f"{self.name}"

    def whole(self, name: Callable[[], str]) -> torch.Tensor:
        """Return all values, kept from now on; `name` names draws that end in no parameter."""
        if self.value is None:
            for step in self.steps:
                for draw in step.open_draws():
                    draw.holder.seed = derive(self.master, name())
            self.value, self.steps = self.made(), []
        return self.value

    def made(self) -> torch.Tensor:
        """Return all values, made anew."""
        if self.value is not None:
            return self.value
        if not self.complete:
            if self.initial is None:
                raise UnreadableError(
                    f"{self.name or 'a tensor'}: is read before the initialization sets it; give "
                    "using= that does, such as seedbed.torch.as_built(…)"
                )
            value = self.initial()
        else:
            value = torch.empty(self.shape, dtype=self.meta.dtype, device=self.device)
        for step in self.steps:
            step.on_whole(value)
        return value

    def write(self, local: torch.Tensor, window: Window) -> None:
        """Write the values in a window to a tensor, which has the window's shape."""
        if self.value is not None:
            local.copy_(self.value[window])
        elif self.windowed:
            for step in self.steps:
                step.on_window(local, window, self.shape)
        else:
            local.copy_(self.made()[window])

    def frozen(self) -> "Root":
        """Return a copy that nothing is done to any more."""
        other = Root(self.meta, self.device, self.master)
        other.steps, other.initial = list(self.steps), self.initial
        other.value = None if self.value is None else self.value.clone()
        return other

    def open_draws(self) -> Iterator[Draw]:
        """Yield the draws that have no seed yet."""
        for step in self.steps:
            yield from step.open_draws()


class StandIn(torch.Tensor):
    """A view of a `Root`, all of it to begin with; looks like a tensor of that device."""

    root: Root
    meta: torch.Tensor

    @staticmethod
    def __new__(cls, root: Root, meta: torch.Tensor | None = None) -> "StandIn":
        """Make a view; all of the tensor unless `meta` is a view of the root's."""
        meta = root.meta if meta is None else meta
        one = torch.Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=root.device,
        )
        one.root, one.meta = root, meta
        return one

    def __init__(self, root: Root, meta: torch.Tensor | None = None) -> None:
        pass

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand an operation to the recording of this thread."""
        from .recording import active

        return active().operation(func, args, kwargs or {})

    @property
    def data(self) -> torch.Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The same values, without autograd; what is assigned is copied."""
        return self.detach()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        """Copy."""
        if value.shape != self.shape:
            raise ArgumentError(
                f"{self.root.name}: its data must keep shape {tuple(self.shape)}; "
                f"given {tuple(value.shape)}"
            )
        with torch.no_grad():
            self.detach().copy_(value)

    def numpy(self, *, force: bool = False) -> Any:
        """Return the values as an array."""
        return self._values().numpy(force=force)

    def tolist(self) -> Any:
        """Return the values as a list."""
        return self._values().tolist()

    def _values(self) -> torch.Tensor:
        from .recording import active

        return active().value(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"StandIn({self.root.name}, shape={tuple(self.shape)}, dtype={self.dtype})"


def written(tensor: torch.Tensor, init: Initializer) -> None:
    """Write down that a stand-in is filled with an initializer's values."""
    assert isinstance(tensor, StandIn)
    meta = tensor.meta
    tensor.root.add(Write(meta, fixed(checked(meta, init))))


def afresh(step: Step) -> Step:
    """Return a step whose draws have no seed yet: copies of a layer have names of their own."""
    if isinstance(step, Draw):
        return Draw(step.view, step.init)
    if isinstance(step, Copy) and isinstance(step.source, Root):
        source = Root(step.source.meta, step.source.device, step.source.master)
        source.initial = step.source.initial
        source.steps = [afresh(one) for one in step.source.steps]
        return Copy(step.view, source)
    return step


def covers(shape: tuple[int, ...], windows: Iterator[Window]) -> bool:
    """Return whether windows together are all of a shape."""
    kept = [window for window in windows if all(part.start < part.stop for part in window)]
    if 0 in shape or everything(shape) in kept:
        return True
    edges = [
        sorted({0, size, *(bound for w in kept for bound in (w[axis].start, w[axis].stop))})
        for axis, size in enumerate(shape)
    ]
    cells = math.prod(len(bounds) - 1 for bounds in edges)
    if not kept or cells > 1_000_000:
        return False
    for cell in itertools.product(*(bounds[:-1] for bounds in edges)):
        if not any(
            all(part.start <= at < part.stop for part, at in zip(window, cell, strict=True))
            for window in kept
        ):
            return False
    return True


def truncated(steps: list[Step]) -> list[Step] | None:
    """Return steps of which the last five, if they are a truncated normal, have become one draw.

    Older releases of PyTorch, and who has copied from them, draw it as uniform values between
    erf(lower / sqrt 2) and erf(upper / sqrt 2), of which they take the inverse error function,
    which differs between machines.
    """
    if len(steps) < 5 or not isinstance(steps[-1], Operation) or "clamp" not in steps[-1].name:
        return None
    draw, inverse, times, plus, clamp = steps[-5:]
    if not (isinstance(draw, Draw) and isinstance(draw.init, initializers.RandomUniform)):
        return None
    names = [step.name for step in (inverse, times, plus) if isinstance(step, Operation)]
    if names != ["erfinv_", "mul_", "add_"] or len({_view(s) for s in steps[-5:]}) > 1:
        return None
    try:
        scale, mean = (float(step.number) for step in (times, plus))  # pyright: ignore
        low, high = clamp.bounds  # pyright: ignore[reportAttributeAccessIssue]
    except (TypeError, ValueError):
        return None
    for bound, uniform in ((low, draw.init.minval), (high, draw.init.maxval)):
        if abs(math.erf((bound - mean) / scale) - uniform) > 1e-6:
            return None
    std = scale / math.sqrt(2.0)
    return [*steps[:-5], Draw(draw.view, truncated_normal(mean, std, low, high), draw.holder)]


def truncated_normal(mean: float, std: float, a: float, b: float) -> Initializer:
    """Return the initializer of a normal distribution restricted to [a, b]."""
    lower, upper = (a - mean) / std, (b - mean) / std
    for _ in range(8):  # rounding must not lead outside
        lower = math.nextafter(lower, math.inf) if mean + lower * std < a else lower
        upper = math.nextafter(upper, -math.inf) if mean + upper * std > b else upper
    return initializers.TruncatedNormal(mean, std, None, lower, upper)


def _view(step: Step) -> tuple[Any, ...]:
    return tuple(step.view.shape), step.view.stride(), step.view.storage_offset()
