"""Layouts that only a wrapper around modules knows."""

from collections.abc import Iterator
from typing import Any

import torch

from ..errors import ArgumentError
from .layouts import Layout, Piece, flat_pieces, layout


def known_layouts(model: torch.nn.Module) -> dict[int, Layout]:
    """Return the layouts of parameters that do not say themselves how they lie, by their ids."""
    return {**fsdp1(model), **torchrec(model)}


def fsdp1(module: torch.nn.Module) -> dict[int, Layout]:
    """Return the layouts of the parameters of FullyShardedDataParallel modules, by their ids.

    Raises
    ------
    ArgumentError
        If a module was wrapped without ``use_orig_params``.
    """
    found: dict[int, Layout] = {}
    for one in module.modules():
        handle: Any = getattr(one, "_handle", None)
        if handle is None or not hasattr(one, "_fsdp_wrapped_module"):
            continue
        flat = handle.flat_param
        if not handle._use_orig_params:
            raise ArgumentError(
                "module must be sharded by fully_shard (FSDP2), or by FullyShardedDataParallel "
                "with use_orig_params=True, or initialized before it is wrapped"
            )
        sharded = handle.uses_sharded_strategy
        for parameter, info, shape in zip(
            flat._params, flat._shard_param_infos, flat._shapes, strict=True
        ):
            if not sharded or tuple(parameter.shape) == tuple(shape) != (0,):
                continue  # whole at the moment
            pieces: tuple[Piece, ...] = ()
            if info.in_shard:
                start = info.offset_in_shard
                part = flat.detach()[start : start + info.numel_in_shard]
                pieces = tuple(flat_pieces(part, info.intra_param_start_idx, tuple(shape)))
            found[id(parameter)] = Layout(tuple(shape), pieces, True)
    return found


def torchrec(model: torch.nn.Module) -> dict[int, Layout]:
    """Return the layouts of the tables in TorchRec's sharded modules, by their parameters' ids.

    What is registered there has the shape of the shards alone, or is empty.
    """
    found: dict[int, Layout] = {}
    for holder, full in _tables(model):
        registered = holder._parameters.get("weight")
        if registered is not None:
            found[id(registered)] = layout(full)
    return found


def _tables(model: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, Any]]:
    """Yield the modules that hold sharded tables, and the ShardedTensor or DTensor of each."""
    for module in model.modules():
        for kind in ("sharded_tensor", "dtensor"):
            by_name: Any = getattr(module, f"_model_parallel_name_to_{kind}", None) or {}
            for name, full in by_name.items():
                holders: Any = getattr(module, "embedding_bags", getattr(module, "embeddings", {}))
                if full is not None and name in holders:
                    yield holders[name], full
