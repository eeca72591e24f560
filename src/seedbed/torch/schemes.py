"""A model's own initialization: what its modules have for it."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from .names import plain_modules

RESETS = ("reset_parameters", "_reset_parameters")
BUFFERS = ("init_non_persistent_buffers", "rope_init", "reset_buffers")


def run(model: torch.nn.Module) -> None:
    """Initialize a model as its constructors and its trainer would.

    Of each module, children before their parents: ``reset_parameters`` or ``_reset_parameters``,
    then ``init_weights``, or ``_init_weights`` applied to all modules within; of a model of Hugging
    Face the latter.
    """
    modules = [module for _, module in plain_modules(model)]
    inner = {
        id(child)
        for module in modules
        if _is_hugging_face(module)
        for child in module.modules()
        if child is not module
    }
    for module in modules:
        for name in RESETS:
            if _call(module, name):
                break
        for name in BUFFERS:
            _call(module, name)
        if id(module) in inner:
            continue
        kind: Any = type(module)
        if _is_hugging_face(module):
            _initialize_hugging_face(module, module)
        elif not _call(module, "init_weights") and _required(kind, "_init_weights") == 1:
            module.apply(kind._init_weights.__get__(module))


def _is_hugging_face(module: torch.nn.Module) -> bool:
    kind = type(module)
    return hasattr(kind, "_initialize_weights") and hasattr(kind, "_init_weights")


@torch.no_grad()
def _initialize_hugging_face(module: Any, owner: Any) -> None:
    """Have each model of Hugging Face initialize the modules in it that no inner model has.

    Its own ``initialize_weights`` passes modules over if `fully_shard` has changed their class.
    """
    for child in module.children():
        _initialize_hugging_face(child, child if _is_hugging_face(child) else owner)
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
