"""One initialization of a model: on stand-ins first, then on the pieces that this process holds."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..errors import ArgumentError, SeedbedError, warn
from . import constructors
from .layouts import Layout, has_values, note_change
from .names import Member, Place, declared_ties, members, plain_modules, tie
from .recording import Recording
from .standins import Root, StandIn
from .steps import Fill

# What other libraries keep on parameters is not copied to stand-ins.
PRIVATE = ("ds_", "_local_tensor", "_spec", "_is_hf_initialized")


class Session:
    """Stand-ins in the place of a model's parameters and buffers.

    Parameters
    ----------
    model : torch.nn.Module
        Wrapped and sharded in any way.
    seed : int
        Master seed.
    prefix : str
        Goes before all names.
    allow_foreign : bool
        Whether PyTorch's generator may draw what has no counterpart here.
    dtype : torch.dtype, optional
        Of the floating-point parameters, in place of their own.
    keep : bool
        Whether parameters may keep values that they have, or be made of them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        seed: int,
        prefix: str = "",
        *,
        allow_foreign: bool = False,
        dtype: torch.dtype | None = None,
        keep: bool = False,
    ) -> None:
        self.model, self.prefix, self._dtype, self._keep = model, prefix, dtype, keep
        self.members = tie(model, prefix, members(model, prefix))
        modules = {id(module): name for name, module in plain_modules(model, prefix)}
        self.recording = Recording(seed, modules, allow_foreign=allow_foreign)
        self.roots = {name: self._root(one, seed) for name, one in self.members.items()}
        self._targets = set(declared_ties(model, prefix))

    def _root(self, one: Member, seed: int) -> Root:
        shape, tensor, dtype = one.layout.shape, one.tensor, one.tensor.dtype
        if self._dtype is not None and dtype.is_floating_point and not one.buffer:
            dtype = self._dtype
        meta = torch.empty(shape, dtype=dtype, device="meta")
        device = tensor.device if has_values(tensor) else torch.device("cpu")
        root = Root(meta, device, seed, one.name)
        if has_values(tensor) and not one.layout.sharded and (self._keep or one.buffer):
            root.initial = lambda: tensor.detach().to(dtype, copy=True)
        return root

    def run(self, initialize: Callable[[], Any]) -> None:
        """Write down what a function does to the model; nothing is done to it yet."""
        with self.recording.on(), self._standing_in():
            initialize()

    @contextlib.contextmanager
    def _standing_in(self) -> Iterator[None]:
        registered: list[tuple[Place, Member, Root, StandIn]] = []
        for name, one in self.members.items():
            own = self._stand_in(one, self.roots[name])
            for place in one.places:
                standin = own
                if place.name in self._targets and len(one.places) > 1:  # its source counts
                    standin = self._stand_in(one, self._root(one, self.recording.master))
                registered.append((place, one, self.roots[name], standin))
        for place, _, _, standin in registered:
            place.registered[place.attribute] = standin
        try:
            yield
            for place, _, root, standin in registered:
                self._take(place, root, standin)
            self._settle_attributes()
        finally:
            for place, one, _, _ in registered:
                if place.attribute in place.registered:
                    place.registered[place.attribute] = one.tensor

    def _stand_in(self, one: Member, root: Root) -> StandIn:
        standin: Any = StandIn(root)
        for key, value in getattr(one.tensor, "__dict__", {}).items():
            if not key.startswith(PRIVATE):
                setattr(standin, key, value)
        if isinstance(one.tensor, torch.nn.Parameter):
            standin._is_param = True
            if one.tensor.requires_grad:
                standin.requires_grad_()
        return standin

    def _take(self, place: Place, root: Root, standin: StandIn) -> None:
        """Write down what was registered in the place of a stand-in."""
        now = place.registered.get(place.attribute)
        if now is None or now is standin:
            return
        if tuple(now.shape) != root.shape:
            raise ArgumentError(
                f"{place.name}: its initialization gave it another shape, {tuple(now.shape)}, in "
                f"the place of {root.shape}"
            )
        with torch.no_grad():
            StandIn(root).copy_(now.detach())

    def _settle_attributes(self) -> None:
        """Give attributes that are stand-ins by now the tensors that they stand for."""
        for module in self.model.modules():
            for key, value in list(vars(module).items()):
                if isinstance(value, StandIn):
                    setattr(module, key, self.recording.value(value).clone())

    @property
    def has_buffers(self) -> bool:
        """Whether there are buffers."""
        return any(one.buffer for one in self.members.values())

    def saved_name(self, one: Member) -> str:
        """Return the name that a member has in a checkpoint: of tied ones, that of the source."""
        names = [place.name for place in one.places]
        return next((name for name in names if name not in self._targets), one.name)

    def source(self, one: Member) -> Root:
        """Return what was done to a member, or to the one that it should be tied to."""
        return self.roots[one.name if one.tied_to is None else one.tied_to]

    def unset(self, *, buffers: bool) -> list[Member]:
        """Return the buffers, or else the parameters, of which not all values have been set."""
        wanted = (one for one in self.members.values() if one.buffer is buffers)
        return [one for one in wanted if not self.source(one).complete]

    def take(self, unset: list[Member], made: dict[str, torch.Tensor]) -> None:
        """Write down that constructors set what nothing else does, if they made it alike."""
        for one in unset:
            root = self.source(one)
            found = (made.get(place.name) for place in one.places)
            any(constructors.take(root, each, self.recording) for each in found)

    def check(self, *, untouched: str) -> None:
        """Refuse a model of which something has not been set, unless it may be kept."""
        if untouched == "keep":
            return
        for one in self.members.values():
            root = self.source(one)
            if one.buffer or root.complete:
                continue
            if not root.touched:
                raise ArgumentError(
                    f"{one.name}: nothing in the model initializes it; give using=, or rules, or "
                    "untouched='keep' to leave it as it is; if a constructor does, "
                    "using=seedbed.torch.as_built(…)"
                )
            raise ArgumentError(
                f"{one.name}: the model initializes only part of it; give using=, or rules, or "
                "untouched='keep' to leave the rest as it is"
            )

    def zero_padding(self) -> None:
        """Write down that the rows of a padding index are zero."""
        for one in self.members.values():
            for place in one.places:
                row = getattr(place.module, "padding_idx", None)
                if place.attribute == "weight" and isinstance(row, int) and not place.buffer:
                    root = self.roots[one.name]
                    if root.touched:
                        zero = torch.ops.aten.zero_.default
                        root.add(Fill(root.meta[row], zero, (), {}))

    @torch.no_grad()
    def deliver(self) -> None:
        """Do what was written down to the pieces that this process holds."""
        for one in self.members.values():
            root = self.source(one)
            if not root.touched:
                continue
            try:
                _deliver(root, one.layout)
            except SeedbedError as error:
                raise ArgumentError(f"{one.name}: {error}") from error
            if one.layout.pieces:
                note_change(one.tensor)
        self._warn()

    def _warn(self) -> None:
        parameters = [one for one in self.members.values() if not one.buffer]
        if (
            parameters
            and not any(one.layout.pieces for one in parameters)
            and all(not has_values(one.tensor) for one in parameters)
        ):
            warn(
                "init_module_: the parameters are on meta and were left as they are; call "
                "to_empty first"
            )


def _deliver(root: Root, layout: Layout) -> None:
    pieces = layout.pieces
    if len(pieces) > 1 and not root.windowed:
        whole = root.made()
        for local, window in pieces:
            local.copy_(whole[window])
        return
    for local, window in pieces:
        root.write(local.detach(), window)
