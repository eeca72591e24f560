"""New tensors, in memory of PyTorch's own."""

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import naming
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.request import Request
from ..values.untraced import untraced
from .arrays import is_nvidias, write_window
from .tensors import as_initializer


@untraced
@torch.no_grad()
def tensor(
    init: Initializer | str,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    device: Any = None,
    window: Any = None,
    rows: Any = None,
) -> torch.Tensor:
    """Return a new tensor with the values of an initializer.

    Its memory is `torch.empty`'s: on a GPU it comes from PyTorch's pool, is filled on PyTorch's
    current stream, and nobody waits. What ``init(shape, device="cuda")`` returns has memory beside
    that pool.

    Parameters
    ----------
    init : Initializer or str
        As `fill_` takes it.
    shape : sequence of int
        Of the full table.
    dtype : torch.dtype or name, optional
        PyTorch's default dtype by default.
    device : torch.device, str or int, optional
        As `torch.empty` takes it: ``"cuda"`` is PyTorch's current GPU, and without one the tensor
        is on its default device. On ``meta`` it has no values, and nothing is drawn.
    window, rows : optional
        Make only a part of the table, as initializers do. `rows` may be a tensor on the GPU.

    Returns
    -------
    torch.Tensor
        Equal, bit for bit, to ``init(shape, dtype, window=window, rows=rows)``.

    Raises
    ------
    ArgumentError, ArgumentTypeError, DeviceError
        If an argument is not as said above, or what a GPU needs is missing.

    Examples
    --------
    >>> from seedbed import initializers
    >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    >>> weight = tensor(init, (1000, 64), torch.bfloat16)
    >>> weight.shape, weight.dtype
    (torch.Size([1000, 64]), torch.bfloat16)
    >>> bool((tensor(init, (1000, 64), rows=[5, 5]).numpy() == init((1000, 64))[[5, 5]]).all())
    True
    """
    with naming("tensor"):
        found = as_initializer(init)
        kind = as_dtype(torch.get_default_dtype() if dtype is None else dtype)
        empty = torch.empty(0, dtype=getattr(torch, kind.name), device=device)
        where = f"cuda:{empty.device.index}" if is_nvidias(empty.device) else None
        size = Request(shape, kind, window=window, rows=rows, device=where).size
        made = empty.new_empty(size)
        if not made.is_meta and made.numel():
            write_window(made, found, tuple(shape), window, rows)
        elif not made.is_meta:
            found(shape, kind, window=window, rows=rows, device=where)
    return made
