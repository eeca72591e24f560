"""A plain model while it is built: its draws, named once the parameters have names."""

import contextlib
import gc
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as hooks

from ..errors import ArgumentError, naming
from ..initializers import Initializer
from ..values.seeds import check_master
from .layouts import has_values
from .names import Member, members
from .recording import POINTWISE, Recording, is_pointwise, kept, numbers_only
from .standins import Root, afresh
from .steps import EXACT, Copy, Draw, Fill, Operation, Step, Write
from .tensors import write


@contextlib.contextmanager
def seeded(seed: int, *, allow_foreign: bool = False) -> Iterator[None]:
    """Draw the random numbers of a model that is built inside from Seedbed, by name.

    Whatever the constructors draw, on a parameter or on what becomes one, has the seed
    ``derive(seed, name)`` as in `init_module_`, and not of the order. Values are there, but for the
    names, while the model is built, and final when the context ends.

    Take `init_module_` for a model on ``meta``, a sharded one, or one that has methods for its
    initialization: it needs memory for the pieces of a process only. Take this for a plain model
    that is initialized in its constructors.

    Parameters
    ----------
    seed : int
        Master seed, in [0, 2**64).
    allow_foreign : bool
        Let PyTorch's generator draw what Seedbed has no counterpart for.

    Raises
    ------
    ArgumentError
        If more than one model has been built: names are those in one.

    Notes
    -----
    Layers that are copies of each other, as in `torch.nn.TransformerEncoder`, have names and so
    values of their own. Draws that end in no parameter, or by way of operations between several
    tensors, are numbered in their order.

    Examples
    --------
    >>> with seeded(7):
    ...     model = torch.nn.Linear(8, 4)
    >>> from seedbed.torch import init_module_
    >>> bool((model.weight == init_module_(torch.nn.Linear(8, 4), seed=7).weight).all())
    True
    """
    with naming("seeded"):
        master = check_master(seed)
        building = Building(master, allow_foreign=allow_foreign)
        seen: dict[int, weakref.ref[torch.nn.Module]] = {}  # a layer that was copied may be gone

        def note(module: torch.nn.Module, name: str, value: Any) -> None:
            seen[id(module)] = weakref.ref(module)

        handles = [
            hooks.register_module_parameter_registration_hook(note),
            hooks.register_module_buffer_registration_hook(note),
            hooks.register_module_module_registration_hook(note),
        ]
        try:
            with building.on():
                yield
        finally:
            for handle in handles:
                handle.remove()
        building.name(_model(seen.values()))


def _model(seen: Iterable[weakref.ref[torch.nn.Module]]) -> torch.nn.Module | None:
    """Return the model that modules are parts of."""
    tops = _tops(seen)
    if len(tops) > 1:
        gc.collect()
        tops = _tops(seen)
    if len(tops) > 1:
        kinds = ", ".join(sorted(type(top).__name__ for top in tops))
        raise ArgumentError(f"one model must be built at a time; given {kinds}")
    return tops[0] if tops else None


def _tops(seen: Iterable[weakref.ref[torch.nn.Module]]) -> list[torch.nn.Module]:
    """Return the modules that have parameters and are part of no other."""
    modules = [module for one in seen if (module := one()) is not None]
    inner = {id(child) for module in modules for child in module.modules() if child is not module}
    own = (module for module in modules if id(module) not in inner)
    return [module for module in own if next(module.parameters(), None) is not None]


class Building(Recording):
    """Does all operations in truth, and writes down what made the values of each storage."""

    def __init__(self, master: int, *, allow_foreign: bool = False) -> None:
        super().__init__(master, allow_foreign=allow_foreign)
        self._logs: dict[int, tuple[StorageWeakRef, list[Step]]] = {}

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._random(func, args, kwargs)
        out = func(*args, **kwargs)
        if args and isinstance(args[0], torch.Tensor):
            self._note(func, args, kwargs, out)
        return out

    def draw(self, tensor: torch.Tensor, init: Initializer) -> torch.Tensor:
        """Fill a tensor, and write down that it was a draw."""
        if has_values(tensor):
            write(tensor, init.with_seed(self._seed_here()))
            self._add(tensor, Draw(_geometry(tensor), init))
        return tensor

    def fill(self, tensor: torch.Tensor, init: Initializer) -> torch.Tensor:
        """Fill a tensor with values that are not random."""
        write(tensor, init)
        if self._log(tensor) is not None:
            self._add(tensor, Write(_geometry(tensor), init))
        return tensor

    @torch.no_grad()
    def name(self, model: torch.nn.Module | None) -> None:
        """Make the values of a model's parameters and buffers anew, by their names."""
        found: dict[str, Member] = {} if model is None else members(model)
        for one in found.values():
            tensor = one.tensor
            steps = self._log(tensor) if one.layout.pieces and not one.layout.sharded else None
            if steps is None or not _covers_storage(tensor):
                continue
            root = Root(_geometry(tensor), tensor.device, self.master, one.name)
            root.initial = tensor.detach().clone
            for step in steps:
                root.add(afresh(step))
            for local, window in one.layout.pieces:
                root.write(local.detach(), window)

    def _new(self, meta: torch.Tensor, device: torch.device) -> Any:
        return torch.empty(meta.shape, dtype=meta.dtype, device=device)

    def _log(self, tensor: torch.Tensor) -> list[Step] | None:
        """Return what made the values of a tensor's storage, if that began with a draw."""
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not has_values(tensor):
            return None
        found = self._logs.get(tensor.untyped_storage()._cdata)
        return None if found is None or found[0].expired() else found[1]

    def _add(self, tensor: torch.Tensor, step: Step) -> None:
        storage = tensor.untyped_storage()
        steps = self._log(tensor)
        if steps is None or (_covers_storage(tensor) and not isinstance(step, Operation)):
            steps = []
            self._logs[storage._cdata] = StorageWeakRef(storage), steps
        steps.append(step)

    def _forget(self, tensor: torch.Tensor) -> None:
        self._logs.pop(tensor.untyped_storage()._cdata, None)

    def _note(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Write down what an operation has done to values that began with a draw."""
        base, first = func._schema.name.partition("::")[2], args[0]
        steps, rest = self._log(first), args[1:]
        source = self._log(rest[0]) if rest and isinstance(rest[0], torch.Tensor) else None
        if func._schema.is_mutable:
            if base == "copy_" and source is not None and _covers_storage(rest[0]):
                self._add(first, Copy(_geometry(first), self._frozen(rest[0], source)))
            elif steps is None:
                return
            elif base == "copy_":
                self._add(first, Copy(_geometry(first), rest[0].detach().clone()))
            elif base in ("fill_", "zero_") and numbers_only(rest, kwargs):
                self._add(first, Fill(_geometry(first), func, *kept(rest, kwargs)))
            elif is_pointwise(func, base) and numbers_only(rest, kwargs):
                self._add(first, Operation(_geometry(first), func, *kept(rest, kwargs)))
            else:
                self._forget(first)
        elif steps is not None and _covers_storage(first) and isinstance(out, torch.Tensor):
            same = base in ("clone", "_to_copy")
            known = same or f"{base}_" in EXACT or base in POINTWISE
            if func.is_view or not known or not numbers_only(rest, kwargs):
                return
            if not has_values(out) or not _covers_storage(out):
                return
            self._add(out, Copy(_geometry(out), self._frozen(first, steps)))
            if not same and out.dtype == first.dtype:
                in_place = getattr(getattr(torch.ops.aten, f"{base}_"), func._overloadname)
                self._add(out, Operation(_geometry(out), in_place, *kept(rest, kwargs)))
            elif not same:
                self._forget(out)

    def _frozen(self, tensor: torch.Tensor, steps: list[Step]) -> Root:
        root = Root(_geometry(tensor), tensor.device, self.master)
        root.steps = list(steps)
        root.initial = tensor.detach().clone
        return root


def _geometry(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor on ``meta`` of the same shape, strides and offset."""
    shape, strides, offset = tensor.shape, tensor.stride(), tensor.storage_offset()
    base = torch.empty((), dtype=tensor.dtype, device="meta")
    return base.as_strided(shape, strides, offset)


def _covers_storage(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is all of its storage, in C order."""
    nbytes = tensor.numel() * tensor.element_size()
    return tensor.is_contiguous() and nbytes == tensor.untyped_storage().nbytes()
