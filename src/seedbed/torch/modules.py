"""A whole model: by its own initialization, or by a table of name patterns; and one seed."""

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, naming
from ..initializers import Initializer
from ..initializers.initializer import RandomInitializer
from ..values.seeds import check_master, derive
from ..values.untraced import untraced
from . import constructors, doubts, schemes
from .session import Session
from .standins import StandIn, UnreadableError
from .tensors import write

Module = TypeVar("Module", bound=torch.nn.Module)
Rule = Initializer | str | Callable[..., Any]
Rules = Mapping[str | re.Pattern[str], Rule] | Iterable[tuple[str | re.Pattern[str], Rule]]
Filler = Callable[[torch.Tensor, int], Any]
OWNER = "init_module_"


@untraced
def init_module_(
    module: Module,
    rules: Rules | int | None = None,
    seed: int | None = None,
    *,
    default: Rule | None = None,
    using: Callable[[Module], Any] | None = None,
    prefix: str = "",
    allow_foreign: bool = False,
    untouched: str = "error",
) -> Module:
    r"""Initialize a model by its own scheme, or by rules, with values that follow from one seed.

    Without `rules` the model's own initialization runs: the modules' ``reset_parameters`` or
    ``_reset_parameters``, then ``init_weights``, or Hugging Face's ``_init_weights``; what these do
    not set in a model of Hugging Face, as its constructor does. Many other models are initialized
    in their constructors: for them there is `as_built`.

    All random numbers come from Seedbed: a draw on a parameter has the seed
    ``seedbed.seeds.derive(seed, name)``, `name` being the parameter's plain name, and
    ``derive(seed, f"{name}#{k}")`` if it is draw k = 1, 2, ... since all of the parameter was last
    overwritten. So values depend on nothing else: not on the other parameters, wrappers, sharding,
    or the number of processes, of which each makes what it holds.

    Parameters
    ----------
    module : torch.nn.Module
        Plain, compiled, under data parallelism, sharded by `fully_shard` (FSDP2),
        `FullyShardedDataParallel` with ``use_orig_params``, `parallelize_module`, TorchRec or
        DeepSpeed ZeRO-3, or made on ``meta`` and then `to_empty`. What is on ``meta`` is left so.
    rules : mapping, or iterable of pairs, optional
        Patterns and what fills the parameters they match; the first match counts. A pattern is a
        string, in which ``*`` matches any text with dots, too, and ``?`` and ``[ab]`` as in a
        shell, or a compiled regular expression; it must match the full name. What fills is an
        initializer without a seed, its name, or a function such as `kaiming_normal_`, or a
        `functools.partial` of it, which gets the tensor and, if it takes one, ``seed=``. Rows of a
        ``padding_idx`` are zero. Buffers are not touched.
    seed : int
        Master seed, in [0, 2**64).
    default : optional
        What fills parameters that no pattern matches; without it they are an error.
    using : callable, optional
        Initializes the model in place of its own methods: ``using(module)``. `as_built` makes
        one that does what its constructors do.
    prefix : str
        Goes before all names: ``"layers.4."`` for a pipeline stage that is a module of that name.
    allow_foreign : bool
        Let PyTorch's generator draw what Seedbed has no counterpart for.
    untouched : {"error", "keep"}
        What to do about parameters that the model's own initialization does not set.

    Returns
    -------
    torch.nn.Module
        `module`.

    Raises
    ------
    ArgumentError
        If a parameter matches no pattern, is not initialized by the model, is a placeholder, or
        lazy and without a shape, if a rule has a seed of its own or is a function of a generator,
        or random numbers have no counterpart; before any work.
    ArgumentTypeError
        If a rule is of another kind.

    Warns
    -----
    UserWarning
        If buffers may hold garbage after `to_empty`, or if a parameter's values before were not of
        the distribution that the methods give it: because constructors initialize the model, or
        because it is trained.

    Notes
    -----
    Names are those of the plain model: what `torch.compile` (``_orig_mod.``), data parallelism
    (``module.``), TorchRec, FullyShardedDataParallel and activation checkpointing put before or
    between is left out. A parameter with several names (tied weights) goes by the first in the
    order of registration; so does one that the model declares tied (Hugging Face) and that
    `to_empty` has torn off, which is tied again.

    Examples
    --------
    >>> from functools import partial
    >>> from seedbed.torch import kaiming_normal_
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> model = init_module_(model, seed=7)
    >>> kaiming = partial(kaiming_normal_, nonlinearity="relu")
    >>> model = init_module_(model, {"*.bias": "zeros", "*.weight": kaiming}, seed=7)
    >>> expected = kaiming(torch.empty(4, 8), seed=derive(7, "0.weight"))
    >>> bool((model[0].weight == expected).all())
    True
    """
    with naming(OWNER):
        session = recorded(
            module,
            rules,
            seed,
            default=default,
            using=using,
            prefix=prefix,
            allow_foreign=allow_foreign,
            untouched=untouched,
        )
        session.deliver()
    return module


def recorded(
    module: Any,
    rules: Any,
    seed: Any,
    *,
    default: Any = None,
    using: Any = None,
    prefix: str = "",
    allow_foreign: bool = False,
    untouched: str = "error",
    only: Callable[[str], bool] = lambda name: True,
    dtype: torch.dtype | None = None,
    buffers: bool = False,
) -> Session:
    """Return what an initialization would do to a model; `init_module_` says what arguments are.

    `only` tells which parameters rules are for, `dtype` that of the floating-point parameters, and
    `buffers` that those are wanted, too, as the model's own initialization sets them.
    """
    if isinstance(rules, int) and seed is None:  # init_module_(model, 7)
        rules, seed = None, rules
    master = check_master(seed)
    if untouched not in ("error", "keep"):
        raise ArgumentError(f"untouched must be 'error' or 'keep'; given {untouched!r}")
    if rules is not None and using is not None:
        raise ArgumentError("give rules or using, not both")
    if rules is None and default is not None:
        rules = ()
    if rules is not None:
        table = _table(rules, default)
        session = Session(
            module, master, prefix, allow_foreign=allow_foreign, dtype=dtype, keep=True
        )
        fillers = _chosen(table, session, only)
        if buffers and session.has_buffers:
            session.run(lambda: schemes.run(module))
        session.run(lambda: _fill(session, fillers, master))
        session.zero_padding()
        return session

    def begun() -> Session:
        keep = untouched == "keep"
        return Session(module, master, prefix, allow_foreign=allow_foreign, dtype=dtype, keep=keep)

    if using is None:
        session = _by_methods(begun, untouched, buffers)
    else:
        session = begun()
        session.run(lambda: using(module))
    session.check(untouched=untouched)
    if not buffers:
        doubts.warn_of_buffers(session)
    return session


def _by_methods(begun: Callable[[], Session], untouched: str, buffers: bool) -> Session:
    """Return what a model's methods do to it, and for what they leave out, its constructors."""
    session, made = begun(), None
    try:
        session.run(lambda: schemes.run(session.model))
    except UnreadableError:
        made = constructors.of_hugging_face(session)
        if not made:
            raise
        session = begun()
    unset = [] if untouched == "keep" else session.unset(buffers=False)
    if buffers or doubts.is_emptied(session):
        unset += session.unset(buffers=True)
    if unset:
        session.take(unset, made or constructors.of_hugging_face(session))
    if not buffers:
        doubts.warn_of_constructors(session)
    return session


def _table(rules: Any, default: Any) -> list[tuple[Callable[[str], Any], Filler]]:
    pairs = rules.items() if isinstance(rules, Mapping) else rules
    table = [(_matcher(pattern), _checked(rule)) for pattern, rule in pairs]
    if default is not None:
        table.append((lambda name: True, _checked(default)))
    return table


def _chosen(table: Any, session: Session, only: Callable[[str], bool]) -> dict[str, Filler]:
    """Return what fills each parameter."""
    chosen, unmatched = {}, []
    for name, one in session.members.items():
        if one.buffer or one.tied_to is not None or not only(name):
            continue
        rule = next((rule for matches, rule in table if matches(name)), None)
        if rule is None:
            unmatched.append(name)
        else:
            chosen[name] = rule
    if unmatched:
        raise ArgumentError(
            "rules must match every parameter, or there must be a default; "
            f"unmatched: {', '.join(sorted(unmatched))}"
        )
    return chosen


def _fill(session: Session, fillers: dict[str, Filler], master: int) -> None:
    for name, rule in fillers.items():
        root = session.roots[name]
        try:
            with torch.no_grad():
                rule(StandIn(root), derive(master, name))
        except (TypeError, ValueError) as error:
            error.add_note(f"{OWNER}: parameter {name} of shape {root.shape}")
            raise


def _matcher(pattern: Any) -> Callable[[str], Any]:
    if isinstance(pattern, re.Pattern):
        return pattern.fullmatch
    if isinstance(pattern, str):
        return re.compile(fnmatch.translate(pattern)).match
    raise ArgumentTypeError(
        f"a pattern must be a string or a compiled regular expression; given {pattern!r}"
    )


def _checked(rule: Any) -> Filler:
    """Return a rule as a function of a parameter and its seed."""
    found = initializers.get(rule) if isinstance(rule, str) else rule
    if isinstance(found, Initializer):
        if isinstance(found, RandomInitializer) and found.seeded:
            raise _own_seed(rule)
        return lambda parameter, seed: write(parameter, found.with_seed(seed))
    if isinstance(found, type) or not callable(found):
        raise ArgumentTypeError(
            f"a rule must be an initializer, its name or a function; given {rule!r}"
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
        raise ArgumentError(
            "a rule's function must take seed=, as those of seedbed.torch do, and not generator=, "
            f"which would not follow from the parameter's name; given {rule!r}"
        )
    return "seed" in names or inspect.Parameter.VAR_KEYWORD in others


def _own_seed(rule: Any) -> ArgumentError:
    return ArgumentError(
        f"a rule must have no seed, for it follows from the parameter's name; given {rule!r}"
    )
