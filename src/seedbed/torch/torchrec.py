"""Tables of TorchRec, whatever their sharding.

TorchRec gives a table's ``init_fn`` each shard by itself, so that none can know which rows and
columns it holds: with a fixed seed all shards would be equal. `init_` takes its place.
"""

from typing import Any

import torch

from ..errors import ArgumentError, naming
from ..values.untraced import untraced
from . import modules
from .modules import Module, Rules
from .names import plain_modules

COLLECTIONS = {
    "EmbeddingBagCollection",
    "EmbeddingCollection",
    "ShardedEmbeddingBagCollection",
    "ShardedEmbeddingCollection",
}


@untraced
def init_(
    model: Module, rules: Rules | int | None = None, seed: int | None = None, *, prefix: str = ""
) -> Module:
    """Initialize the embedding tables of a model, and nothing else in it.

    Parameters
    ----------
    model : torch.nn.Module
        With collections of TorchRec in it, or such a collection: as built, or sharded by
        `DistributedModelParallel` in any way.
    rules : mapping, or iterable of pairs, optional
        As for `init_module_`; a pattern may match a table's own name, too. Without rules each table
        is drawn by its ``init_fn``, which is uniform unless its configuration says otherwise.
    seed : int
        Master seed; a table's seed is ``derive(seed, name)`` of its plain name in the model, as
        ``"sparse.embedding_bags.user.weight"``.
    prefix : str
        Goes before all names.

    Returns
    -------
    torch.nn.Module
        `model`.

    Raises
    ------
    ArgumentError
        If a table matches no pattern, or there is none; before any work.

    Examples
    --------
    >>> init_(torch.nn.Linear(2, 2), seed=7)
    Traceback (most recent call last):
    seedbed.errors.ArgumentError: torchrec.init_: model must have collections of TorchRec
    """
    if isinstance(rules, int) and seed is None:
        rules, seed = None, rules
    with naming("torchrec.init_"):
        collections = {
            name: one for name, one in plain_modules(model, prefix) if is_collection(one)
        }
        if not collections:
            raise ArgumentError("model must have collections of TorchRec")
        starts = tuple(f"{name}." if name else "" for name in collections)
        session = modules.recorded(
            model,
            None if rules is None else _by_table(rules),
            seed,
            using=None if rules is not None else lambda model: _reset(collections),
            prefix=prefix,
            untouched="keep",
            only=lambda name: name.startswith(starts),
        )
        session.deliver()
    return model


def is_collection(module: torch.nn.Module) -> bool:
    """Return whether a module is a collection of embedding tables."""
    return any(kind.__name__ in COLLECTIONS for kind in type(module).__mro__)


def _by_table(rules: Any) -> Any:
    """Return rules that match a table's own name, too."""
    pairs = rules.items() if isinstance(rules, dict) else rules
    for pattern, rule in pairs:
        yield pattern, rule
        if isinstance(pattern, str):
            yield f"*.{pattern}.weight", rule


def _reset(collections: dict[str, Any]) -> None:
    for one in collections.values():
        one.reset_parameters()
