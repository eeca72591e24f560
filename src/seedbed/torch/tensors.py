"""Tensors filled in place: plain ones, views, and the pieces that this process holds of others."""

from typing import TypeVar

import torch

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, brief, naming
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.seeds import SeedGenerator
from ..values.untraced import untraced
from . import standins
from .arrays import write_window
from .computed import fixed
from .layouts import has_values, is_sharded, layout, note_change

Filled = TypeVar("Filled", bound=torch.Tensor)


@untraced
def fill_(tensor: Filled, init: Initializer | str) -> Filled:
    """Fill a tensor in place with the values of an initializer.

    Parameters
    ----------
    tensor : torch.Tensor
        Of any shape and of a dtype that Seedbed knows, with storage: `torch.empty`, a parameter, a
        view, or a model made on ``meta`` after `to_empty`. What is dense in C order, on the CPU or
        an NVIDIA GPU (which needs ``seedbed[cuda]``), is written without a copy; other strides and
        other devices take one of the tensor's size.
        Of a DTensor, a ShardedTensor or a parameter that DeepSpeed ZeRO-3 has partitioned, each
        process makes the pieces it holds, without communication; the full tensor is the same for
        every mesh and all placements, and equal to ``init(tensor.shape)``.
    init : Initializer or str
        An initializer of `seedbed.initializers`, or its name. It reads a shape as Keras does,
        (..., inputs, outputs); for fans as PyTorch computes them take `xavier_uniform_` and so on.

    Returns
    -------
    torch.Tensor
        `tensor`.

    Raises
    ------
    ArgumentError
        If `tensor` has no values (on ``meta``, a fake, a batched tensor of vmap), or other
        processes hold pieces of it and `init` has no seed, or it is a pending sum.
    ArgumentTypeError
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
    with naming("fill_"):
        found = as_initializer(init)
        if isinstance(tensor, standins.StandIn):
            return write(tensor, found)
        lies = layout(tensor)
        if not has_values(tensor) and not lies.pieces and not is_sharded(tensor):
            kind = "one on meta" if tensor.is_meta else f"a {type(tensor).__name__}"
            raise ArgumentError(f"tensor must have storage; given {kind}: call to_empty first")
        if lies.sharded and not found.seeded:
            raise ArgumentError(
                f"a sharded tensor needs an initializer with a seed; given {init!r}"
            )
        return write(tensor, found)


def as_initializer(init: Initializer | str) -> Initializer:
    """Return an initializer of Seedbed, which may be given by its name."""
    found = initializers.get(init) if isinstance(init, str) else init
    if not isinstance(found, Initializer):
        raise ArgumentTypeError(
            f"init must be a Seedbed initializer or its name; given {brief(init)}"
        )
    return found


@torch.no_grad()
def write(tensor: Filled, init: Initializer) -> Filled:
    """Fill a tensor as `fill_` does; one without values is left as it is."""
    if isinstance(tensor, standins.StandIn):
        standins.written(tensor, init)
        return tensor
    lies = layout(tensor)
    if not has_values(tensor) and not lies.pieces:
        return tensor
    dtype = as_dtype(tensor.dtype)
    nothing = tuple(slice(0, 0) for _ in lies.shape)
    if isinstance(getattr(init, "seed", None), SeedGenerator):  # refused before it is drawn from
        if init.windowed:
            init.with_seed(0)(lies.shape, dtype, window=nothing)
        init = fixed(init)
    if not lies.pieces and init.windowed:
        init(lies.shape, dtype, window=nothing)
    elif len(lies.pieces) > 1 and not init.windowed:
        whole = torch.empty(lies.shape, dtype=tensor.dtype)
        write_window(whole, init, lies.shape, None)
        for local, window in lies.pieces:
            local.copy_(whole[window])
    else:
        for local, window in lies.pieces:
            write_window(local, init, lies.shape, window if lies.sharded else None)
    if lies.pieces:
        note_change(tensor)
    return tensor
