"""A whole model from a table of name patterns and one seed."""

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from .. import initializers
from ..initializers import Initializer
from ..initializers.initializer import RandomInitializer
from ..values.seeds import check_seed, derive
from .tensors import check_storage, write

Module = TypeVar("Module", bound=torch.nn.Module)
Rule = Initializer | str | Callable[..., Any]
Rules = Mapping[str | re.Pattern[str], Rule] | Iterable[tuple[str | re.Pattern[str], Rule]]
Filler = Callable[[torch.Tensor, int], Any]

# Names that wrappers put between a module and what it wraps: compile, checkpointing.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module")


def init_module_(module: Module, rules: Rules, seed: int, *, default: Rule | None = None) -> Module:
    r"""Fill all parameters of a model, each by the first rule whose pattern matches its name.

    A parameter's seed is ``seedbed.seeds.derive(seed, name)``: 8 bytes of a SHA-256 of `seed` and
    its qualified name. So its values depend on nothing else: not on the other parameters, their
    order, wrappers, or sharding.

    Parameters
    ----------
    module : torch.nn.Module
        Plain, compiled, under DistributedDataParallel, sharded by `fully_shard` (FSDP2) or
        `parallelize_module`, or made on ``meta`` and then `to_empty`. Buffers are not touched.
    rules : mapping, or iterable of pairs
        Patterns and what fills the parameters they match; the first match counts. A pattern is a
        string, in which ``*`` matches any text with dots, too, and ``?`` and ``[ab]`` as in a
        shell, or a compiled regular expression; it must match the full name. What fills is an
        initializer without a seed, its name, or a function such as `kaiming_normal_`, or a
        `functools.partial` of it, which gets the tensor and, if it takes one, ``seed=``; without a
        seed it must not draw random numbers.
    seed : int
        Master seed, in [0, 2**64).
    default : optional
        What fills parameters that no pattern matches; without it they are an error.

    Returns
    -------
    torch.nn.Module
        `module`.

    Raises
    ------
    ValueError
        If a parameter matches no pattern, is on ``meta`` or lazy and without a shape, or a rule has
        a seed of its own or is a function of a generator; before any work.
    TypeError
        If a rule is of another kind.

    Notes
    -----
    Names are those of the plain model: what `torch.compile` (``_orig_mod.``), data parallelism
    (``module.``) and activation checkpointing put before or between is left out. A parameter with
    several names (tied weights) goes by the first of them in alphabetical order.

    Examples
    --------
    >>> from functools import partial
    >>> from seedbed.torch import kaiming_normal_
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> kaiming = partial(kaiming_normal_, nonlinearity="relu")
    >>> model = init_module_(model, {"*.bias": "zeros", "*.weight": kaiming}, seed=7)
    >>> expected = kaiming(torch.empty(4, 8), seed=derive(7, "0.weight"))
    >>> bool((model[0].weight == expected).all())
    True
    """
    owner = "init_module_"
    master = check_seed(seed, owner)
    if not isinstance(master, int):
        raise TypeError(f"{owner}: seed must be an integer in [0, 2**64); given {seed!r}")
    pairs = rules.items() if isinstance(rules, Mapping) else rules
    table = [(_matcher(pattern), _checked(rule)) for pattern, rule in pairs]
    if default is not None:
        table.append((lambda name: True, _checked(default)))
    chosen, unmatched = [], []
    for name, parameter in sorted(parameters_by_name(module).items()):
        rule = next((rule for matches, rule in table if matches(name)), None)
        if rule is None:
            unmatched.append(name)
        else:
            chosen.append((name, parameter, rule))
        check_storage(parameter, f"{owner}: {name}")
    if unmatched:
        raise ValueError(
            f"{owner}: rules must match every parameter, or there must be a default; "
            f"unmatched: {', '.join(unmatched)}"
        )
    for name, parameter, rule in chosen:
        try:
            with torch.no_grad():
                rule(parameter, derive(master, name))
        except (TypeError, ValueError) as error:
            error.add_note(f"{owner}: parameter {name} of shape {tuple(parameter.shape)}")
            raise
    return module


def parameters_by_name(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return a model's parameters by the names they have without wrappers; each of them once."""
    found: dict[int, tuple[str, torch.nn.Parameter]] = {}
    for name, parameter in _walk(module, ""):
        known = found.get(id(parameter))
        if known is None or name < known[0]:
            found[id(parameter)] = name, parameter
    return dict(found.values())


def _walk(module: torch.nn.Module, prefix: str) -> Iterator[tuple[str, torch.nn.Parameter]]:
    if any(name == "_fsdp_wrapped_module" for name, _ in module.named_children()):
        raise ValueError(
            "init_module_: module must be sharded by fully_shard (FSDP2), or initialized before "
            "FullyShardedDataParallel wraps it; given the latter"
        )
    for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
        yield prefix + name, parameter
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    for name, child in module._modules.items():
        if child is not None:
            wrapped = name in WRAPPED or (name == "module" and isinstance(module, parallel))
            yield from _walk(child, prefix if wrapped else f"{prefix}{name}.")


def _matcher(pattern: Any) -> Callable[[str], Any]:
    if isinstance(pattern, re.Pattern):
        return pattern.fullmatch
    if isinstance(pattern, str):
        return re.compile(fnmatch.translate(pattern)).match
    raise TypeError(
        f"init_module_: a pattern must be a string or a compiled regular expression; "
        f"given {pattern!r}"
    )


def _checked(rule: Any) -> Filler:
    """Return a rule as a function of a parameter and its seed."""
    found = initializers.get(rule) if isinstance(rule, str) else rule
    if isinstance(found, Initializer):
        if isinstance(found, RandomInitializer) and found.seeded:
            raise _own_seed(rule)
        return lambda parameter, seed: write(parameter, found.with_seed(seed))
    if isinstance(found, type) or not callable(found):
        raise TypeError(
            f"init_module_: a rule must be an initializer, its name or a function; given {rule!r}"
        )
    if _takes_seed(found):
        return lambda parameter, seed: found(parameter, seed=seed)
    return lambda parameter, seed: found(parameter)


def _takes_seed(rule: Callable[..., Any]) -> bool:
    """Return whether a function takes a seed; one that takes a generator instead is refused."""
    if isinstance(rule, functools.partial) and rule.keywords.get("seed") is not None:
        raise _own_seed(rule)
    try:
        parameters = inspect.signature(rule).parameters
        names, others = set(parameters), {parameter.kind for parameter in parameters.values()}
    except ValueError:  # built in, as torch.Tensor.zero_: its description begins with its arguments
        names, others = set(re.findall(r"\w+", (rule.__doc__ or "").partition("->")[0])), set()
    if "generator" in names and "seed" not in names:
        raise ValueError(
            "init_module_: a rule's function must take seed=, as those of seedbed.torch do, and "
            f"not generator=, which would not follow from the parameter's name; given {rule!r}"
        )
    return "seed" in names or inspect.Parameter.VAR_KEYWORD in others


def _own_seed(rule: Any) -> ValueError:
    return ValueError(
        "init_module_: a rule must have no seed, for it follows from the parameter's name; "
        f"given {rule!r}"
    )
