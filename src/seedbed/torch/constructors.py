"""What constructors do to the parameters of a model, found by building it again on stand-ins.

Some parameters are set there and nowhere else. Of a model of Hugging Face the configuration is
enough to build it again; of others the user says how. It takes no memory but for what is read.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..errors import ArgumentError, ArgumentTypeError
from .names import is_hugging_face, plain_class, plain_modules, registered
from .recording import Recording, active
from .standins import Root, StandIn, afresh
from .steps import Fill

FACTORIES = {"empty", "zeros", "ones", "full"}


def as_built(build: Callable[[], torch.nn.Module]) -> Callable[[torch.nn.Module], None]:
    """Return what initializes a model as its constructors do, for ``using=`` of `init_module_`.

    Many models, such as torchvision's and timm's, are initialized in their constructors, and the
    methods of their modules know nothing of it. The model may be sharded, or from ``meta``: it is
    built once more with stand-ins for its parameters, which have no values.

    Parameters
    ----------
    build : callable
        Without arguments; returns a plain model that has the same parameters and buffers.

    Raises
    ------
    ArgumentError
        When it is used, if a parameter has no counterpart of its name and shape.

    Examples
    --------
    >>> from seedbed.torch import init_module_, seeded
    >>> class Scaled(torch.nn.Linear):
    ...     def __init__(self):
    ...         super().__init__(8, 4)
    ...         torch.nn.init.normal_(self.weight, std=0.02)
    >>> model = init_module_(Scaled(), seed=7, using=as_built(Scaled))
    >>> with seeded(7):
    ...     other = Scaled()
    >>> bool((model.weight == other.weight).all() and (model.bias == other.bias).all())
    True
    """
    if not callable(build) or isinstance(build, torch.nn.Module):
        raise ArgumentTypeError(
            f"build must be a function that returns a model; given {build!r}"
        ).named("as_built")

    def initialize(model: torch.nn.Module) -> None:
        recording = active()
        made = _built(build, recording)
        for place, tensor in registered(model, ""):
            if not isinstance(tensor, StandIn) or tensor.root.touched:
                continue
            taken = take(tensor.root, made.get(place.name), recording)
            if not taken and not place.buffer:
                raise ArgumentError(
                    f"{place.name}: build makes no parameter of this name and of shape "
                    f"{tensor.root.shape}"
                ).named("as_built")

    return initialize


def of_hugging_face(session: Any) -> dict[str, torch.Tensor]:
    """Return what the constructors of models of Hugging Face make, by the session's names."""
    found: dict[str, torch.Tensor] = {}
    for name, module in _outermost(session.model, session.prefix):
        kind, config = plain_class(module), copy.deepcopy(module.config)
        start = f"{name}." if name else ""
        # Their code may do, and raise, anything; what it then did not make is refused.
        with contextlib.suppress(Exception), _dtype_of(module):
            made = _built(lambda k=kind, c=config: k._from_config(c), session.recording)
            found |= {start + inner: tensor for inner, tensor in made.items()}
    return found


def take(root: Root, made: Any, recording: Recording) -> bool:
    """Do to a parameter what a constructor did to its counterpart, if there is one of its shape."""
    if made is None or tuple(made.shape) != root.shape or made.device.type == "meta":
        return False
    if _is_whole(made):
        for step in made.root.steps:
            root.add(afresh(step))
    else:
        recording.copy(StandIn(root), made)
    return True


def _is_whole(made: Any) -> bool:
    """Return whether a tensor is all that a root stands for, and has not been read yet."""
    if not isinstance(made, StandIn) or made.root.value is not None:
        return False
    return tuple(made.meta.shape) == made.root.shape and made.meta.is_contiguous()


class Constructing(Recording):
    """Makes new floating-point tensors stand-ins, too."""

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Do an operation, or write it down."""
        base = func._schema.name.partition("::")[2]
        if base not in FACTORIES:
            return super().operation(func, args, kwargs)
        device = torch.device(kwargs.get("device") or torch.get_default_device())
        meta = func(*args, **{**kwargs, "device": torch.device("meta"), "pin_memory": False})
        if device.type == "meta" or not meta.dtype.is_floating_point:
            return func(*args, **kwargs)
        one = self._new(meta, device)
        if base != "empty":
            number = {"zeros": 0, "ones": 1}.get(base, args[-1])
            one.root.add(Fill(one.meta, torch.ops.aten.fill_.Scalar, (number,), {}))
        return one

    def _scope(self) -> str:
        return "constructor"


def _built(build: Callable[[], torch.nn.Module], like: Recording) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a model built on stand-ins, by their plain names."""
    with Constructing(like.master, allow_foreign=like.allow_foreign).on():
        model = build()
        return {place.name: tensor for place, tensor in registered(model, "")}


def _outermost(model: torch.nn.Module, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the models of Hugging Face that are in no other one, with their names."""
    owned = [(name, one) for name, one in plain_modules(model, prefix) if is_hugging_face(one)]
    inner = {id(child) for _, one in owned for child in one.modules() if child is not one}
    yield from ((name, one) for name, one in owned if id(one) not in inner)


@contextlib.contextmanager
def _dtype_of(module: torch.nn.Module) -> Iterator[None]:
    """Have new tensors the dtype of a model's parameters."""
    before = torch.get_default_dtype()
    floating = (p.dtype for p in module.parameters() if p.dtype.is_floating_point)
    torch.set_default_dtype(next(floating, before))
    try:
        yield
    finally:
        torch.set_default_dtype(before)
