"""How a tensor lies: which windows of the full tensor this process holds, and where.

A plain tensor is one piece. Of a DTensor and a ShardedTensor a process holds shards, of flat
parameters (DeepSpeed ZeRO-3, FullyShardedDataParallel) a run of elements, cut into windows.
"""

import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ..errors import ArgumentError
from ..values.window import Window, everything, windows


class Piece(NamedTuple):
    """Values that this process holds: `local` has the shape of `window` and writes through."""

    local: torch.Tensor
    window: Window


class Layout(NamedTuple):
    """A full tensor and the pieces of it that this process holds.

    Parameters
    ----------
    shape : tuple of int
        Of the full tensor.
    pieces : tuple of Piece
        None of them where the values of a tensor do not exist: on ``meta``, a fake.
    sharded : bool
        Whether other processes hold pieces, too.
    """

    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    sharded: bool = False


def has_values(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has values: not one on ``meta``, nor a fake."""
    if _is_sharded_tensor(tensor):  # its shards have
        return True
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return not (tensor.is_meta or (fake is not None and isinstance(tensor, fake.FakeTensor)))


def layout(tensor: torch.Tensor) -> Layout:
    """Return how a tensor lies.

    Raises
    ------
    ArgumentError
        If its values cannot be told from outside: a pending sum, a batched tensor of vmap, a
        placeholder.
    """
    functorch: Any = vars(torch._C)["_functorch"]
    if functorch.is_functorch_wrapped_tensor(tensor):
        raise ArgumentError(
            "tensor must not be one of torch.func (vmap, grad): call this outside, with all of it"
        )
    if torch.nn.parameter.is_lazy(tensor):
        raise ArgumentError(
            f"tensor must have a shape; given an {type(tensor).__name__}: call the module once "
            "before"
        )
    if hasattr(tensor, "ds_shape"):
        return _zero3(tensor)
    if _is(tensor, "torch.distributed.fsdp._flat_param", "FlatParameter"):
        raise ArgumentError(
            "tensor must be a parameter of the model; given a FlatParameter: wrap the model with "
            "use_orig_params=True"
        )
    shape = tuple(tensor.shape)
    if is_dtensor(tensor):
        return _dtensor(tensor, shape) if has_values(tensor) else Layout(shape, (), True)
    if _is_sharded_tensor(tensor):
        shards: Any = tensor
        return Layout(shape, tuple(_shard(shard) for shard in shards.local_shards()), True)
    if not has_values(tensor):
        return Layout(shape, ())
    return Layout(shape, (Piece(tensor, everything(shape)),))


def is_dtensor(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is a DTensor."""
    return _is(tensor, "torch.distributed.tensor", "DTensor")


def is_sharded(tensor: torch.Tensor) -> bool:
    """Return whether processes hold pieces of a tensor."""
    return _is_sharded_tensor(tensor) or is_dtensor(tensor) or hasattr(tensor, "ds_shape")


def is_placeholder(tensor: torch.Tensor) -> bool:
    """Return whether a parameter stands where a wrapper keeps the values elsewhere."""
    if torch.nn.parameter.is_lazy(tensor):
        return False
    return tuple(tensor.shape) == (0,) and not is_sharded(tensor)


def note_change(tensor: torch.Tensor) -> None:
    """Tell autograd that a tensor has other values now."""
    if not _is_sharded_tensor(tensor):
        torch.autograd.graph.increment_version(tensor)


def _is_sharded_tensor(tensor: torch.Tensor) -> bool:
    return _is(tensor, "torch.distributed._shard.sharded_tensor", "ShardedTensor")


def _is(tensor: torch.Tensor, module: str, name: str) -> bool:
    """Return whether a tensor is of a class, without importing what defines it."""
    found = sys.modules.get(module)  # seconds to import, and absent from some builds of PyTorch
    return found is not None and isinstance(tensor, getattr(found, name, ()))


def _dtensor(tensor: Any, shape: tuple[int, ...]) -> Layout:
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    mesh, placements = tensor.device_mesh, tensor.placements
    local = tensor.to_local()
    if hasattr(local, "local_shards"):  # LocalShardsWrapper: it says itself where they are
        held = local.local_shards()  # one without shards has an offset all the same
        shards = zip(held, local.local_offsets()[: len(held)], strict=True)
        return Layout(shape, tuple(_at(shard, offset) for shard, offset in shards), True)
    if local.numel() == 0:  # fewer rows than processes, or a process outside the mesh
        return Layout(shape, (), True)
    if any(placement.is_partial() for placement in placements) or not _in_one_run(mesh, placements):
        raise ArgumentError(
            f"a DTensor's placements must be replicas and shards in one run; given {placements}"
        )
    size, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, placements)
    if tuple(local.shape) != tuple(size):
        raise ArgumentError(f"the local tensor must have shape {size}; given {local.shape}")
    return Layout(shape, (_at(local, offset),), True)


def _in_one_run(mesh: Any, placements: Any) -> bool:
    """Return whether each piece is a window.

    Where data and tensor parallelism shard one axis, a strided shard comes first and is cut again:
    into runs, if those that follow are as many as its factor.
    """
    for number, placement in enumerate(placements):
        factor = getattr(placement, "split_factor", 1)
        later = range(number + 1, len(placements))
        same = (at for at in later if placements[at].is_shard(placement.dim)) if factor > 1 else ()
        if factor != math.prod(mesh.size(at) for at in same) and factor > 1:
            return False
    return True


def _shard(shard: Any) -> Piece:
    return _at(shard.tensor, shard.metadata.shard_offsets)


def _at(local: torch.Tensor, offset: Any) -> Piece:
    sizes = zip(offset, local.shape, strict=True)
    return Piece(local, tuple(slice(start, start + size) for start, size in sizes))


def _zero3(tensor: Any) -> Layout:
    """Return the layout of a parameter of DeepSpeed ZeRO-3: equal runs, the last one padded."""
    shape = tuple(tensor.ds_shape)
    pieces: list[Piece] = []
    full = tensor.data
    if tuple(full.shape) == shape and full.numel():  # gathered at the moment
        pieces.append(Piece(full, everything(shape)))
    part = getattr(tensor, "ds_tensor", None)
    if part is None or getattr(part, "status", None) != type(part.status).AVAILABLE:
        if not pieces:
            raise ArgumentError(
                "a ZeRO-3 parameter must be on the CPU or a GPU; given one that is on NVMe, or not "
                "partitioned yet"
            )
        return Layout(shape, tuple(pieces), True)
    if hasattr(part, "ds_quant_scale"):
        raise ArgumentError("a ZeRO-3 parameter must not be quantized; initialize it before")
    if getattr(tensor, "ds_secondary_tensor", None) is not None:  # cut among those of a node
        raise ArgumentError(
            "a ZeRO-3 parameter must have no secondary copy (zero_hpz_partition_size); initialize "
            "it before"
        )
    rank = torch.distributed.get_rank(getattr(tensor, "ds_process_group", None))
    pieces.extend(flat_pieces(part, part.ds_numel * rank, shape))
    return Layout(shape, tuple(pieces), True)


def flat_pieces(part: torch.Tensor, begin: int, shape: tuple[int, ...]) -> Iterator[Piece]:
    """Yield the windows that elements from number `begin` on are; what follows is padding."""
    end = min(begin + part.numel(), math.prod(shape))
    done = 0
    for window in windows(shape, begin, end):
        lengths = [one.stop - one.start for one in window]
        count = math.prod(lengths)
        yield Piece(part.detach()[done : done + count].view(lengths), window)
        done += count
