"""A model's own initialization: what its modules have for it."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from .names import is_hugging_face, plain_modules

RESETS = ("reset_parameters", "_reset_parameters")
BUFFERS = ("init_non_persistent_buffers", "rope_init", "reset_buffers")


def run(model: torch.nn.Module) -> None:
    """Initialize a model as its constructors and its trainer would.

    Of each module, children before their parents: ``reset_parameters`` or ``_reset_parameters``,
    then ``init_weights``, or ``_init_weights`` applied to all modules within; of a model of Hugging
    Face the latter, after those of other packages in it.
    """
    modules = [module for _, module in plain_modules(model)]
    owners = [module for module in modules if is_hugging_face(module)]
    inner = {id(part) for one in owners for part in one.modules() if part is not one}
    backbones = [one for one in modules if id(one) in inner and is_of_timm(one)]
    of_timm = {id(part) for one in backbones for part in one.modules()}
    for module in modules:
        if id(module) in of_timm:  # parts of a model, without its methods: only constructors know
            continue
        for name in RESETS:
            if _call(module, name):
                break
        for name in BUFFERS:
            _call(module, name)
        kind: Any = type(module)
        if is_hugging_face(module):
            if id(module) not in inner:
                _initialize_hugging_face(module, module)
        elif not _call(module, "init_weights") and _required(kind, "_init_weights") == 1:
            module.apply(kind._init_weights.__get__(module))


def is_of_timm(module: torch.nn.Module) -> bool:
    """Return whether a module is one of timm's."""
    return type(module).__module__.startswith("timm.")


@torch.no_grad()
def _initialize_hugging_face(module: Any, owner: Any) -> None:
    """Have each model of Hugging Face initialize the modules in it that no inner model has.

    Its own ``initialize_weights`` passes modules over if `fully_shard` has changed their class.
    """
    for child in module.children():
        # A backbone of timm is initialized by itself and by the Timm… class that made it.
        if not is_of_timm(child) or "Timm" in type(owner).__name__:
            _initialize_hugging_face(child, child if is_hugging_face(child) else owner)
    owner._init_weights(module)
    module._is_hf_initialized = True


def _call(module: torch.nn.Module, name: str) -> bool:
    """Call a method of a module's class that needs no arguments; return whether there is one."""
    if _required(type(module), name) != 0:
        return False
    getattr(type(module), name)(module)
    return True


def _required(kind: type, name: str) -> int | None:
    """Return how many arguments a method must be given, or None where there is no such method."""
    method: Callable[..., Any] | None = getattr(kind, name, None)
    if not callable(method):
        return None
    try:
        _, *parameters = inspect.signature(method).parameters.values()
    except ValueError:  # built in, or static and without any
        return None
    empty = inspect.Parameter.empty
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(p.default is empty and p.kind not in variadic for p in parameters)
