"""The dispatch mode under which an initialization runs: its random numbers come from Seedbed."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import ArgumentError
from ..initializers import Initializer
from ..values.seeds import derive
from . import draws, named
from .arrays import write_window
from .standins import Root, StandIn
from .steps import EXACT, Copy, Draw, Fill, Operation, Write, checked
from .tensors import write

_here = threading.local()
# Operations on each value that have a form in place, but for those of EXACT.
POINTWISE = {"erfinv", "exp", "log", "sqrt", "tanh", "sigmoid", "pow", "relu", "expm1", "log1p"}


def active() -> "Recording":
    """Return the recording of this thread."""
    found = getattr(_here, "recording", None)
    if found is None:
        raise ArgumentError(
            "a stand-in for a parameter was used after its initialization; keep no reference to it"
        )
    return found


class Recording(TorchDispatchMode):
    """Operations on stand-ins are written down, random ones drawn from streams of a master seed.

    Parameters
    ----------
    master : int
        Master seed.
    names : mapping
        Plain names of modules by their ids: a draw that ends in no parameter has the name of the
        module whose initialization runs, and a number.
    allow_foreign : bool
        Whether PyTorch's generator may draw what has no counterpart here.
    """

    def __init__(
        self, master: int, names: dict[int, str] | None = None, *, allow_foreign: bool = False
    ) -> None:
        super().__init__()
        self.master, self.allow_foreign = master, allow_foreign
        self._names = names or {}
        self._counts: dict[str, int] = {}

    @contextlib.contextmanager
    def on(self) -> Iterator["Recording"]:
        """Record what this thread does."""
        before = getattr(_here, "recording", None)
        _here.recording = self
        try:
            with named.redirected(self), self:
                yield self
        finally:
            _here.recording = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation."""
        return self.operation(func, args, kwargs or {})

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation: in truth, or by writing it down."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._random(func, args, kwargs)
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(leaf, StandIn) for leaf in leaves):
            return func(*args, **kwargs)
        base = func._schema.name.partition("::")[2]
        first = args[0] if args else None
        if func.is_view and isinstance(first, StandIn):
            return self._view(func, first, args, kwargs)
        if torch.Tag.inplace_view in func.tags and isinstance(first, StandIn):
            raise ArgumentError(f"{base} changes the shape of {first.root.name or 'a tensor'}")
        if base == "empty_like" and isinstance(first, StandIn):
            return self._empty_like(func, first, kwargs)
        if base.endswith("_like") or base.startswith("new_"):
            return func(*tree_map(_hollow, args), **kwargs)
        if func._schema.is_mutable and base.endswith("_") and isinstance(first, StandIn):
            return self._in_place(func, base, first, args, kwargs)
        if isinstance(first, StandIn) and not func._schema.is_mutable:
            made = self._lazily(func, base, first, args, kwargs)
            if made is not None:
                return made
        return self._really(func, args, kwargs)

    def draw(self, tensor: torch.Tensor, init: Initializer) -> torch.Tensor:
        """Fill a tensor with the next draw on it."""
        if isinstance(tensor, StandIn):
            with self._naming(tensor):
                tensor.root.add(Draw(tensor.meta, checked(tensor.meta, init)))
        else:
            write(tensor, init.with_seed(self._seed_here()))
        return tensor

    def fill(self, tensor: torch.Tensor, init: Initializer) -> torch.Tensor:
        """Fill a tensor with values that are not random."""
        if isinstance(tensor, StandIn):
            tensor.root.add(Write(tensor.meta, init))
        else:
            write(tensor, init)
        return tensor

    def value(self, one: StandIn) -> torch.Tensor:
        """Return the values of a stand-in: from now on its tensor has them all."""
        whole = one.root.whole(self._name_here)
        return whole.as_strided(one.meta.shape, one.meta.stride(), one.meta.storage_offset())

    def name_of(self, tensor: Any) -> str:
        """Return what errors call a tensor."""
        if isinstance(tensor, StandIn) and tensor.root.name is not None:
            return tensor.root.name
        scope = self._scope()
        return f"a tensor in {scope}" if scope else "a tensor of the model"

    # Kinds of operations

    def _view(self, func: Any, first: StandIn, args: Any, kwargs: Any) -> Any:
        out = func(first.meta, *args[1:], **kwargs)
        if any(leaf.dtype != first.meta.dtype for leaf in tree_leaves(out)):
            return self._really(func, args, kwargs)
        return tree_map(lambda meta: StandIn(first.root, meta), out)

    def _empty_like(self, func: Any, first: StandIn, kwargs: Any) -> torch.Tensor:
        meta = func(first.meta, **{**kwargs, "device": torch.device("meta"), "pin_memory": False})
        device = kwargs.get("device") or first.root.device
        if device.type == "meta":
            return meta
        return self._new(meta, device)

    def _new(self, meta: torch.Tensor, device: torch.device) -> StandIn:
        empty = torch.empty(meta.shape, dtype=meta.dtype, device="meta")
        return StandIn(Root(empty, device, self.master))

    def _in_place(self, func: Any, base: str, first: StandIn, args: Any, kwargs: Any) -> Any:
        rest = args[1:]
        if base == "copy_":
            self.copy(first, rest[0])
        elif base in ("fill_", "zero_") and numbers_only(rest, kwargs):
            first.root.add(Fill(first.meta, func, *kept(rest, kwargs)))
        elif is_pointwise(func, base) and numbers_only(rest, kwargs) and first.root.value is None:
            first.root.add(Operation(first.meta, func, *kept(rest, kwargs)))
        else:
            self._really(func, args, kwargs)
        return first

    def copy(self, first: StandIn, source: torch.Tensor) -> None:
        """Write down that a stand-in has the values of another tensor."""
        root = first.root
        if not isinstance(source, StandIn):
            root.add(Copy(first.meta, source.detach().clone()))
            return
        if source.root is root:
            root.add(Copy(first.meta, self.value(source).clone()))
            return
        same = tuple(source.meta.shape) == source.root.shape
        if not same or not source.root.complete or first.meta.shape != source.meta.shape:
            root.add(Copy(first.meta, self.value(source).clone()))
            return
        frozen = source.root.frozen()
        root.add(Copy(first.meta, frozen))

    def _lazily(self, func: Any, base: str, first: StandIn, args: Any, kwargs: Any) -> Any:
        """Return a new tensor to which the same is done as to another, and an operation."""
        whole = tuple(first.meta.shape) == first.root.shape and first.meta.is_contiguous()
        known = base in ("clone", "_to_copy") or f"{base}_" in EXACT or base in POINTWISE
        if not (whole and known and numbers_only(args[1:], kwargs)):
            return None
        if first.root.value is not None or not first.root.complete:
            return None
        meta = func(first.meta, *args[1:], **_on_meta(kwargs))
        device = kwargs.get("device") or first.root.device
        if device.type == "meta":
            return meta
        other = self._new(meta, device)
        if base in ("clone", "_to_copy"):
            other.root.add(Copy(other.meta, first.root.frozen()))
            return other
        if meta.dtype != first.meta.dtype:
            return None
        in_place = getattr(getattr(torch.ops.aten, f"{base}_"), func._overloadname)
        other.root.add(Copy(other.meta, first.root.frozen()))
        other.root.add(Operation(other.meta, in_place, *kept(args[1:], kwargs)))
        return other

    def _really(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation on values."""

        def given(leaf: Any) -> Any:
            if not isinstance(leaf, StandIn):
                return leaf
            with self._naming(leaf):
                return self.value(leaf)

        out = func(*tree_map(given, args), **tree_map(given, kwargs))
        if func._schema.is_mutable:
            written = kwargs.get("out", args[0] if args else None)
            return written if isinstance(written, StandIn) else out
        return out

    def _random(self, func: Any, args: Any, kwargs: Any) -> Any:
        base = func._schema.name.partition("::")[2]
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
        if first is not None and base.endswith("_"):
            init = draws.in_place(base, first, args[1:], kwargs)
            if init is not None:
                return self.draw(first, init)
        elif base == "randperm":
            return draws.permutation(args[0], self._seed_here(), kwargs)
        else:
            init = draws.factory(base, func, args, kwargs)
            if init is not None:
                return self._made(func, init, args, kwargs)
        if not self.allow_foreign:
            raise ArgumentError(
                f"{self.name_of(first)}: {base} draws random numbers for which Seedbed has no "
                "counterpart; take another, or allow_foreign=True for PyTorch's own generator"
            )
        return self._really(func, args, kwargs)

    def _made(self, func: Any, init: Initializer, args: Any, kwargs: Any) -> torch.Tensor:
        """Return a new tensor of random values."""
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        meta = func(*tree_map(_as_meta, args), **_on_meta(kwargs))
        device = kwargs.get("device")
        if device is None:
            device = torch.get_default_device() if first is None else first.device
        device = torch.device(device)
        if device.type == "meta":
            return meta
        if meta.is_floating_point() or meta.is_complex():
            one = self._new(meta, device)
            return self.draw(one, init)
        value = torch.empty(meta.shape, dtype=meta.dtype, device=device)
        write_window(value, init.with_seed(self._seed_here()), tuple(meta.shape), None)
        return value

    # Names of draws that end in no parameter

    def _seed_here(self) -> int:
        return derive(self.master, self._name_here())

    def _name_here(self) -> str:
        scope = self._scope()
        number = self._counts.get(scope, 0)
        self._counts[scope] = number + 1
        return f"{scope}~{number}"

    def _scope(self) -> str:
        """Return the name of the module that the innermost call with one for an argument is on."""
        frame = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            for name in reversed(code.co_varnames[: code.co_argcount]):
                found = self._names.get(id(frame.f_locals.get(name)))
                if found is not None:
                    return found
            frame = frame.f_back
        return ""

    @contextlib.contextmanager
    def _naming(self, one: StandIn) -> Iterator[None]:
        """Have errors name the parameter."""
        try:
            yield
        except (ValueError, TypeError) as error:
            if one.root.name is not None and one.root.name not in str(error):
                raise ArgumentError(f"{one.root.name}: {error}") from error
            raise


def is_pointwise(func: Any, base: str) -> bool:
    """Return whether an operation does the same to each value by itself."""
    return torch.Tag.pointwise in func.tags or base in EXACT


def numbers_only(args: Any, kwargs: Any) -> bool:
    """Return whether arguments are numbers and options, or tensors of one number."""
    return all(
        not isinstance(leaf, torch.Tensor) or (leaf.ndim == 0 and not isinstance(leaf, StandIn))
        for leaf in tree_leaves((args, kwargs))
    )


def kept(args: Any, kwargs: Any) -> Any:
    """Return arguments that stay as they are, whatever becomes of tensors among them."""
    return tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (args, kwargs))


def _hollow(leaf: Any) -> Any:
    """Return a tensor of a stand-in's shape that takes no memory."""
    if not isinstance(leaf, StandIn):
        return leaf
    return torch.empty((), dtype=leaf.dtype, device=leaf.root.device).expand(leaf.meta.shape)


def _as_meta(leaf: Any) -> Any:
    if isinstance(leaf, StandIn):
        return leaf.meta
    return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf


def _on_meta(kwargs: Any) -> dict[str, Any]:
    """Return options that make a tensor on ``meta``."""
    changed = {"device": torch.device("meta")} if "device" in kwargs else {}
    return {**kwargs, **changed, **({"pin_memory": False} if "pin_memory" in kwargs else {})}
