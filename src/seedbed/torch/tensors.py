"""Tensors filled in place: plain ones, views, and this process' piece of a DTensor."""

import contextlib
import math
import sys
from typing import Any, TypeVar

import numpy as np
import torch

from .. import initializers
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.recipes import Window

Filled = TypeVar("Filled", bound=torch.Tensor)

# Dtypes that torch does not hand to NumPy: their bits travel.
BITS = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e5m2: torch.uint8,
}


def fill_(tensor: Filled, init: Initializer | str) -> Filled:
    """Fill a tensor in place with the values of an initializer.

    Parameters
    ----------
    tensor : torch.Tensor
        Of any shape and of a dtype that Seedbed knows, with storage: `torch.empty`, a parameter, a
        view, or a model made on ``meta`` after `to_empty`. What is dense in C order, on the CPU or
        an NVIDIA GPU (which needs ``seedbed[cuda]``), is written without a copy; other strides and
        other devices take one of the tensor's size.
        Of a DTensor each process makes the piece it holds, without communication; the full tensor
        is the same for every mesh and all placements, and equal to ``init(tensor.shape)``.
    init : Initializer or str
        An initializer of `seedbed.initializers`, or its name. It reads a shape as Keras does,
        (..., inputs, outputs); for fans as PyTorch computes them take `xavier_uniform_` and so on.

    Returns
    -------
    torch.Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `tensor` is on ``meta``, or a DTensor and `init` has no seed, or is a pending sum.
    TypeError
        If `init` is not one of Seedbed's initializers.

    Examples
    --------
    >>> import torch
    >>> from seedbed import initializers
    >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    >>> weight = fill_(torch.empty(4, 3), init)
    >>> bool((weight.numpy() == init((4, 3))).all())
    True
    """
    found = initializers.get(init) if isinstance(init, str) else init
    if not isinstance(found, Initializer):
        raise TypeError(f"fill_: init must be a Seedbed initializer or its name; given {init!r}")
    check_storage(tensor, "fill_")
    if is_sharded(tensor) and not found.seeded:
        raise ValueError(f"fill_: a DTensor needs an initializer with a seed; given {init!r}")
    return write(tensor, found, "fill_")


@torch.no_grad()
def write(tensor: Filled, init: Initializer, owner: str = "fill_") -> Filled:
    """Fill a tensor as `fill_` does; one on ``meta`` is left as it is."""
    if tensor.is_meta:
        return tensor
    local, window = piece(tensor, owner)
    dtype = as_dtype(local.dtype, owner)
    if local.numel() == 0:  # a generator moves on here as in the other processes
        init(tuple(tensor.shape), dtype, window=window)
    else:
        on_gpu = local.is_cuda and torch.version.cuda is not None
        direct = local.is_contiguous() and (on_gpu or local.device.type == "cpu")
        device = local.device if on_gpu else torch.device("cpu")
        made = local if direct else torch.empty(local.shape, dtype=local.dtype, device=device)
        out = made.detach() if on_gpu else _numpy(made, dtype)
        # A tensor hands itself over only where its GPU is torch's current one.
        with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
            init(tuple(tensor.shape), dtype, window=window, out=out)
        if direct:
            torch.autograd.graph.increment_version(tensor)
        else:
            local.copy_(made)
    return tensor


def _numpy(tensor: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """Return a tensor's memory as an array."""
    bits = tensor.view(BITS[tensor.dtype]) if tensor.dtype in BITS else tensor
    return bits.detach().numpy().view(dtype)


def is_sharded(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is a DTensor, of which processes hold pieces."""
    module = sys.modules.get("torch.distributed.tensor")  # a second to import, and absent from
    return module is not None and isinstance(tensor, module.DTensor)  # some builds of PyTorch


def piece(tensor: torch.Tensor, owner: str) -> tuple[torch.Tensor, Window | None]:
    """Return the values that this process holds of a tensor, and their window; None is all."""
    if not is_sharded(tensor):
        return tensor, None
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    assert isinstance(tensor, DTensor)
    mesh, placements = tensor.device_mesh, tensor.placements
    local = tensor.to_local()
    if local.numel() == 0:  # fewer rows than processes, or a process outside the mesh
        return local, (slice(0, 0),) * tensor.ndim
    if any(placement.is_partial() for placement in placements) or not _in_one_run(mesh, placements):
        raise ValueError(
            f"{owner}: a DTensor's placements must be replicas and shards in one run; "
            f"given {placements}"
        )
    size, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, placements)
    if tuple(local.shape) != tuple(size):
        raise ValueError(f"{owner}: the local tensor must have shape {size}; given {local.shape}")
    return local, tuple(slice(a, a + n) for a, n in zip(offset, size, strict=True))


def _in_one_run(mesh: Any, placements: Any) -> bool:
    """Return whether each piece is a window.

    Where data and tensor parallelism shard one axis, a strided shard comes first and is cut again:
    into runs, if those that follow are as many as its factor.
    """
    for place, placement in enumerate(placements):
        factor = getattr(placement, "split_factor", 1)
        later = range(place + 1, len(placements))
        same = (at for at in later if placements[at].is_shard(placement.dim)) if factor > 1 else ()
        if factor != math.prod(mesh.size(at) for at in same) and factor > 1:
            return False
    return True


def check_storage(tensor: torch.Tensor, owner: str) -> None:
    """Check that a tensor has a shape and storage."""
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"{owner}: tensor must have a shape; given an {type(tensor).__name__}: call the module "
            "once before"
        )
    if tensor.is_meta:
        raise ValueError(
            f"{owner}: tensor must have storage; given one on meta: call to_empty first"
        )
