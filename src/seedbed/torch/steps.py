"""What is done to a tensor, step by step, to be replayed on all of it or on a window."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .. import initializers
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.window import Window, everything
from .arrays import write_window
from .computed import Complex, Pairs

if TYPE_CHECKING:
    from .standins import Root

# Operations of IEEE arithmetic on each value: the same for a window as for all, on any machine.
EXACT = {"mul_", "div_", "add_", "sub_", "neg_", "abs_", "clamp_", "clamp_min_", "clamp_max_"}
# Initializers whose values depend on their numbers in C order, and not on the shape.
NUMBERED = (
    initializers.RandomNormal,
    initializers.RandomUniform,
    initializers.TruncatedNormal,
    initializers.Constant,
    initializers.Zeros,
    initializers.Ones,
    Pairs,
)


class Box(NamedTuple):
    """A view that is a window of the full tensor, in its order: but for axes of length 1."""

    window: Window

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of the axes of the full tensor in the window."""
        return tuple(part.stop - part.start for part in self.window)

    def common(self, window: Window) -> tuple[Window, Window] | None:
        """Return what another window shares, counted from its own start and from the box's."""
        there, here = [], []
        for part, own in zip(window, self.window, strict=True):
            start, stop = max(part.start, own.start), min(part.stop, own.stop)
            if start >= stop:
                return None
            there.append(slice(start - part.start, stop - part.start))
            here.append(slice(start - own.start, stop - own.start))
        return tuple(there), tuple(here)


def box_of(view: torch.Tensor, shape: Sequence[int]) -> Box | None:
    """Return a strided view of a contiguous tensor as a window, or None if it is none.

    Parameters
    ----------
    view : torch.Tensor
        Its shape, strides and offset count.
    shape : sequence of int
        Of the contiguous tensor.

    Examples
    --------
    >>> full = torch.empty(6, 4, device="meta")
    >>> box_of(full[2:4, 1], (6, 4))
    Box(window=(slice(2, 4, None), slice(1, 2, None)))
    """
    count, offset = view.numel(), view.storage_offset()
    if count == math.prod(shape) and offset == 0 and view.is_contiguous():
        return Box(everything(tuple(shape)))
    if count == 0:
        return Box(tuple(slice(0, 0) for _ in shape))
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    starts = []
    for stride in strides:
        starts.append(offset // stride)
        offset %= stride
    lengths, axis = [1] * len(shape), 0
    for size, stride in zip(view.shape, view.stride(), strict=True):
        if size == 1:
            continue
        while axis < len(shape) and (strides[axis] != stride or shape[axis] == 1):
            axis += 1
        if axis == len(shape) or starts[axis] + size > shape[axis]:
            return None
        lengths[axis] = size
        axis += 1
    return Box(tuple(slice(a, a + n) for a, n in zip(starts, lengths, strict=True)))


def is_all(view: torch.Tensor, shape: Sequence[int]) -> bool:
    """Return whether a view has all elements of a contiguous tensor, in whatever order of axes."""
    if view.numel() != math.prod(shape) or view.storage_offset():
        return False
    axes = sorted(range(view.ndim), key=lambda axis: (-view.stride(axis), -view.shape[axis]))
    return view.permute(axes).is_contiguous()


class Step:
    """Something done in place to a view of a tensor."""

    def __init__(self, view: torch.Tensor) -> None:
        self.view = view

    def windowed(self, shape: tuple[int, ...]) -> bool:
        """Return whether it can be done to a window of the tensor without the rest."""
        raise NotImplementedError

    def on_whole(self, value: torch.Tensor) -> None:
        """Do it to all of the tensor."""
        self.apply(self.of(value))

    def on_window(self, local: torch.Tensor, window: Window, shape: tuple[int, ...]) -> None:
        """Do it to what a tensor of the window's shape holds of the full shape."""
        box = box_of(self.view, shape)
        assert box is not None
        shared = box.common(window)
        if shared is not None:
            there, here = shared
            self.apply_part(local[there], here, box.lengths)

    def of(self, value: torch.Tensor) -> torch.Tensor:
        """Return the view of a tensor of the full shape."""
        return value.as_strided(self.view.shape, self.view.stride(), self.view.storage_offset())

    def apply(self, target: torch.Tensor) -> None:
        """Do it to a tensor of the view's shape."""
        raise NotImplementedError

    def apply_part(self, target: torch.Tensor, part: Window, lengths: tuple[int, ...]) -> None:
        """Do it to part of a tensor of the view's shape, which is `lengths` with axes of 1."""
        raise NotImplementedError

    def open_draws(self) -> Iterator["Draw"]:
        """Yield the draws in it that have no seed yet."""
        yield from ()


class Writes(Step):
    """A step that sets all values of its view, whatever they were."""


class Operation(Step):
    """An operation on each value: of PyTorch, in place, with numbers for its other arguments."""

    def __init__(self, view: torch.Tensor, func: Any, args: Any, kwargs: Any) -> None:
        super().__init__(view)
        self.func, self.args, self.kwargs = func, args, kwargs

    @property
    def name(self) -> str:
        """The operation's name: ``"mul_"``."""
        return self.func._schema.name.partition("::")[2]

    @property
    def number(self) -> Any:
        """The only argument, if there is only one."""
        return self.args[0] if len(self.args) == 1 and not self.kwargs else None

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The bounds of a ``clamp_``."""
        given = dict(zip(("min", "max"), self.args, strict=False)) | self.kwargs
        return given["min"], given["max"]

    def windowed(self, shape: tuple[int, ...]) -> bool:
        """Return whether it can be done to a window of the tensor without the rest."""
        return self.name in EXACT and box_of(self.view, shape) is not None

    def apply(self, target: torch.Tensor) -> None:
        """Do it to a tensor of the view's shape."""
        self.func(target, *self.args, **self.kwargs)

    def apply_part(self, target: torch.Tensor, part: Window, lengths: tuple[int, ...]) -> None:
        """Do it to part of a tensor of the view's shape."""
        self.func(target, *self.args, **self.kwargs)


class Fill(Operation, Writes):
    """``fill_`` and ``zero_``."""

    def windowed(self, shape: tuple[int, ...]) -> bool:
        """Return whether it can be done to a window of the tensor without the rest."""
        return box_of(self.view, shape) is not None


class Write(Writes):
    """Values of an initializer."""

    def __init__(self, view: torch.Tensor, init: Initializer) -> None:
        super().__init__(view)
        self.init = init

    @property
    def seeded(self) -> Initializer:
        """The initializer with its seed."""
        return self.init

    def windowed(self, shape: tuple[int, ...]) -> bool:
        """Return whether it can be done to a window of the tensor without the rest."""
        box = box_of(self.view, shape)
        if box is None or not self.init.windowed:
            return False
        return box.lengths == tuple(self.view.shape) or is_numbered(self.init)

    def apply(self, target: torch.Tensor) -> None:
        """Do it to a tensor of the view's shape."""
        write_window(target, self.seeded, tuple(target.shape), None)

    def apply_part(self, target: torch.Tensor, part: Window, lengths: tuple[int, ...]) -> None:
        """Do it to part of a tensor of the view's shape."""
        write_window(target, self.seeded, lengths, part)


class Holder:
    """The seed of a draw, once it is known in which parameter it ends."""

    seed: int | None = None


class Draw(Write):
    """Values of an initializer whose seed follows from a name."""

    def __init__(self, view: torch.Tensor, init: Initializer, holder: Holder | None = None) -> None:
        super().__init__(view, init)
        self.holder = Holder() if holder is None else holder

    @property
    def seeded(self) -> Initializer:
        """The initializer with its seed."""
        assert self.holder.seed is not None
        return self.init.with_seed(self.holder.seed)

    def open_draws(self) -> Iterator["Draw"]:
        """Yield itself if it has no seed yet."""
        if self.holder.seed is None:
            yield self


class Copy(Writes):
    """Values of another tensor, or of what has been done to another one so far."""

    def __init__(self, view: torch.Tensor, source: "torch.Tensor | Root") -> None:
        super().__init__(view)
        self.source = source

    def windowed(self, shape: tuple[int, ...]) -> bool:
        """Return whether it can be done to a window of the tensor without the rest."""
        box = box_of(self.view, shape)
        if box is None or isinstance(self.source, torch.Tensor):
            return box is not None
        return self.source.windowed and box.lengths == self.source.shape

    def apply(self, target: torch.Tensor) -> None:
        """Do it to a tensor of the view's shape."""
        source = self.source if isinstance(self.source, torch.Tensor) else self.source.made()
        target.copy_(source)

    def apply_part(self, target: torch.Tensor, part: Window, lengths: tuple[int, ...]) -> None:
        """Do it to part of a tensor of the view's shape."""
        if isinstance(self.source, torch.Tensor):
            target.copy_(self.source.expand(self.view.shape).reshape(lengths)[part])
            return
        made = torch.empty(target.shape, dtype=self.source.meta.dtype, device=target.device)
        self.source.write(made, part)
        target.copy_(made)

    def open_draws(self) -> Iterator[Draw]:
        """Yield the draws in the other tensor that have no seed yet."""
        if not isinstance(self.source, torch.Tensor):
            yield from self.source.open_draws()


def is_numbered(init: Initializer) -> bool:
    """Return whether values depend on their numbers in C order, and not on the shape."""
    real = init.real if isinstance(init, Complex) else init
    if isinstance(real, initializers.Constant):
        return getattr(real.value, "ndim", 0) == 0 and not isinstance(real.value, (list, tuple))
    return isinstance(real, NUMBERED)


def checked(view: torch.Tensor, init: Initializer) -> Initializer:
    """Return an initializer that fits a view, or refuse it."""
    nothing = tuple(slice(0, 0) for _ in view.shape)
    init.with_seed(0)(tuple(view.shape), as_dtype(view.dtype), window=nothing)
    return init
