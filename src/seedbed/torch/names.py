"""What a model consists of: its parameters and buffers by their plain names, and which are tied.

Plain names are those without what wrappers put before or between. A tensor that has several names
goes by the first in the order of registration, whether it is tied or should be.
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from ..errors import ArgumentError, warn
from .layouts import Layout, is_placeholder, layout
from .wrappers import known_layouts

# Attributes under which wrappers keep what they wrap.
WRAPPED = (
    "_orig_mod",  # torch.compile
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_dmp_wrapped_module",  # TorchRec
)
ENGINES = ("DataParallel", "DistributedDataParallel", "DeepSpeedEngine")  # that call it `module`


class Place(NamedTuple):
    """Where a tensor is registered: in a module, under an attribute."""

    name: str
    module: torch.nn.Module
    attribute: str
    buffer: bool

    @property
    def registered(self) -> dict[str, Any]:
        """The module's parameters or buffers, by their attributes."""
        return self.module._buffers if self.buffer else self.module._parameters


@dataclass
class Member:
    """A parameter or buffer of a model.

    Parameters
    ----------
    name : str
        Its plain name: the first, where it has several.
    tensor : torch.Tensor
        What is registered.
    layout : Layout
        How it lies.
    places : list of Place
        Where it is registered.
    tied_to : str, optional
        The first name of what the model declares it tied to, if it is a tensor of its own.
    """

    name: str
    tensor: torch.Tensor
    layout: Layout
    places: list[Place] = field(default_factory=list)
    tied_to: str | None = None

    @property
    def buffer(self) -> bool:
        """Whether it is a buffer."""
        return self.places[0].buffer


def members(model: torch.nn.Module, prefix: str = "") -> dict[str, Member]:
    """Return the parameters and buffers of a model by their plain names, each of them once.

    Parameters
    ----------
    model : torch.nn.Module
        Wrapped and sharded in any way.
    prefix : str
        Goes before all names: that of a pipeline stage in its model.
    """
    found: dict[int, Member] = {}
    known_before = known_layouts(model)
    for place, tensor in registered(model, prefix):
        known = found.get(id(tensor))
        if known is None:
            with_name = f"{place.name}: "
            if not place.buffer and id(tensor) not in known_before and is_placeholder(tensor):
                raise ArgumentError(
                    f"{with_name}a parameter of shape (0,) stands for values that are elsewhere; "
                    "initialize the model before it is wrapped, or sharded by fully_shard"
                )
            try:
                lies = known_before.get(id(tensor)) or layout(tensor)
            except ArgumentError as error:
                raise ArgumentError(with_name + str(error)) from None
            known = found[id(tensor)] = Member(place.name, tensor, lies)
        known.places.append(place)
    by_name = {member.name: member for member in found.values()}
    _mark_ties(model, prefix, by_name)
    return by_name


def plain_modules(
    model: torch.nn.Module, prefix: str = ""
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the modules of a model with their plain names, children before their parents."""
    yield from _modules(model, prefix, set())


def _modules(
    module: torch.nn.Module, prefix: str, seen: set[int]
) -> Iterator[tuple[str, torch.nn.Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    for name, child in module._modules.items():
        if child is not None:
            inner = prefix if _is_wrapping(module, name) else f"{prefix}{name}."
            yield from _modules(child, inner, seen)
    yield prefix.rstrip("."), module


def registered(module: torch.nn.Module, prefix: str) -> Iterator[tuple[Place, torch.Tensor]]:
    """Yield the parameters and buffers of a model at every place where they are registered."""
    for buffer, tensors in ((False, module._parameters), (True, module._buffers)):
        for name, tensor in tensors.items():
            if tensor is not None:
                yield Place(prefix + name, module, name, buffer), tensor
    for name, child in module._modules.items():
        if child is not None:
            inner = prefix if _is_wrapping(module, name) else f"{prefix}{name}."
            yield from registered(child, inner)


def _is_wrapping(module: torch.nn.Module, name: str) -> bool:
    if name in WRAPPED:
        return True
    return name == "module" and any(kind.__name__ in ENGINES for kind in type(module).__mro__)


def _mark_ties(model: torch.nn.Module, prefix: str, by_name: dict[str, Member]) -> None:
    """Say of each tensor what it should be tied to, and is not."""
    first = {place.name: one.name for one in by_name.values() for place in one.places}
    for target, source in declared_ties(model, prefix).items():
        if target in first and source in first and first[target] != first[source]:
            by_name[first[target]].tied_to = first[source]
    for one in by_name.values():
        while one.tied_to is not None and by_name[one.tied_to].tied_to is not None:
            one.tied_to = by_name[one.tied_to].tied_to


def declared_ties(model: torch.nn.Module, prefix: str = "") -> dict[str, str]:
    """Return which weights a model declares to be tied, as Hugging Face's do: to which others."""
    found: dict[str, str] = {}
    for name, module in plain_modules(model, prefix):
        expanded = getattr(type(module), "get_expanded_tied_weights_keys", None)
        if expanded is not None:
            ties = expanded(module, all_submodels=False)
        elif is_hugging_face(module):
            ties = _ties_of_release_4(module)
        else:
            continue
        start = f"{name}." if name else ""
        found |= {f"{start}{key}": f"{start}{value}" for key, value in ties.items()}
    return found


def is_hugging_face(module: torch.nn.Module) -> bool:
    """Return whether a module is a model of Hugging Face."""
    kind = type(module)
    return hasattr(kind, "_initialize_weights") and hasattr(kind, "_init_weights")


def plain_class(module: torch.nn.Module) -> Any:
    """Return the class that a model had before `fully_shard` gave it one of its own."""
    return next(kind for kind in type(module).__mro__ if not kind.__module__.startswith("torch."))


def _ties_of_release_4(module: Any) -> dict[str, str]:
    """Return which weights of a model of transformers 4 are tied, and to which others.

    It names those that are, but not to what: the model itself shows it or, if `to_empty` has torn
    all of them off, another one of its configuration.
    """
    ties = _shared(module)
    if not ties and getattr(module, "_tied_weights_keys", None):
        with contextlib.suppress(Exception), torch.device("meta"):
            ties = _shared(plain_class(module)._from_config(copy.deepcopy(module.config)))
    return ties


def _shared(module: torch.nn.Module) -> dict[str, str]:
    """Return the places of tensors that are registered elsewhere, too, and where that is first."""
    first: dict[int, Place] = {}
    found = {}
    for place, tensor in registered(module, ""):
        source = first.setdefault(id(tensor), place)
        if (source.module, source.attribute) != (place.module, place.attribute):
            found[place.name] = source.name
    return found


def tie(model: torch.nn.Module, prefix: str, by_name: dict[str, Member]) -> dict[str, Member]:
    """Tie again what the model declares tied, or say that it is not.

    `to_empty` makes a parameter of each place where a tied one was registered.
    """
    broken = {one.name: one.tied_to for one in by_name.values() if one.tied_to is not None}
    if not broken:
        return by_name
    whole = not any(one.layout.sharded for one in by_name.values() if not one.buffer)
    if whole:
        for name, source in broken.items():
            for place in by_name[name].places:
                place.registered[place.attribute] = by_name[source].tensor
        return members(model, prefix)
    told = ", ".join(f"{name} to {source}" for name, source in broken.items())
    warn(
        f"init_module_: the model declares {told} tied, but they are parameters of their own; they "
        "get equal values, and will be trained apart: tie them before the model is sharded"
    )
    return by_name
