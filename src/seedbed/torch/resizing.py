"""Vocabularies that grow or shrink in memory."""

import torch

from ..errors import ArgumentError, ArgumentTypeError, naming
from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.request import check_shape
from ..values.untraced import untraced
from .arrays import write_window
from .computed import fixed
from .layouts import has_values, is_sharded
from .tensors import as_initializer


@untraced
@torch.no_grad()
def resize_(embedding: torch.nn.Module, new_count: int, init: Initializer | str) -> torch.nn.Module:
    """Give an embedding, or a head, another number of rows, in place.

    The rows that stay keep their values. New ones are those of ``init((new_count, columns))``, so
    that the rows of a vocabulary which grows twice are those of one that grows once.

    Parameters
    ----------
    embedding : torch.nn.Module
        `torch.nn.Embedding`, `torch.nn.EmbeddingBag` or `torch.nn.Linear`, whose rows are outputs
        and whose new biases are zero. The parameter stays the same object, so tied weights stay
        tied: resize each of the modules that share it, in any order. ``requires_grad``, dtype and
        device stay; a gradient is dropped.
    new_count : int
        Rows from now on. Fewer drop the last ones; ``padding_idx`` must stay inside.
    init : Initializer or str
        Of new rows, as `fill_` takes it.

    Returns
    -------
    torch.nn.Module
        `embedding`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument is not as said above, or weight or bias is sharded, quantized, computed from
        other parameters (a parametrization, ``weight_norm``), or has no values; before any work.

    Notes
    -----
    An optimizer's state is not touched: it still has the old number of rows, and its next step
    fails or is wrong. Make a new optimizer after this, or resize its state yourself.

    Examples
    --------
    >>> from seedbed import initializers
    >>> embedding = torch.nn.Embedding(3, 4)
    >>> before = embedding.weight.detach().clone()
    >>> init = initializers.RandomNormal(seed=7)
    >>> resize_(embedding, 5, init)
    Embedding(5, 4)
    >>> bool((embedding.weight[:3] == before).all())
    True
    >>> bool((embedding.weight[3:].detach().numpy() == init((5, 4), rows=[3, 4])).all())
    True
    """
    with naming("resize_"):
        if not isinstance(embedding, (torch.nn.Embedding, torch.nn.EmbeddingBag, torch.nn.Linear)):
            raise ArgumentTypeError(
                "embedding must be an Embedding, an EmbeddingBag or a Linear; "
                f"given {type(embedding).__name__}"
            )
        found = as_initializer(init)
        weight, bias = embedding.weight, getattr(embedding, "bias", None)
        for name, tensor in (("weight", weight), ("bias", bias)):
            if tensor is not None:
                _check_tensor(embedding, name, tensor)
        count, columns = check_shape((new_count, weight.shape[1]))
        padding = getattr(embedding, "padding_idx", None)
        if padding is not None and padding >= count:
            raise ArgumentError(f"new_count must be above padding_idx {padding}; given {count}")
        if count != weight.shape[0]:
            _check(found, (count, columns), weight.dtype)
            _replace(weight, _with_rows(weight, count, fixed(found)))
        if bias is not None and count != bias.shape[0]:
            zeros = bias.new_zeros(max(count - bias.shape[0], 0))
            _replace(bias, torch.cat([bias.detach()[:count], zeros]))
        counted = "out_features" if isinstance(embedding, torch.nn.Linear) else "num_embeddings"
        setattr(embedding, counted, count)
    return embedding


def _check_tensor(module: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Refuse what other rows cannot simply be given to."""
    if module._parameters.get(name) is not tensor:
        raise ArgumentError(f"{name} must be a parameter of its own, not computed from others")
    if torch.nn.parameter.is_lazy(tensor) or is_sharded(tensor) or not has_values(tensor):
        raise ArgumentError(
            "embedding must have a plain weight with values, not sharded; "
            f"given a {type(tensor).__name__} as {name} on {tensor.device}"
        )
    if not tensor.is_floating_point() or tensor.is_quantized:
        raise ArgumentError(
            f"{name} must be of a floating dtype, not quantized; given {tensor.dtype}"
        )


def _check(init: Initializer, shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Let the initializer refuse shape or dtype before it is drawn from."""
    if init.windowed:
        seeded = init.with_seed(0) if hasattr(init, "seed") else init
        seeded(shape, as_dtype(dtype), window=(slice(0, 0), slice(0, 0)))


def _with_rows(weight: torch.Tensor, count: int, init: Initializer) -> torch.Tensor:
    """Return a tensor of so many rows: those that are there, then new ones."""
    old = min(weight.shape[0], count)
    made = weight.new_empty((count, weight.shape[1]))
    made[:old] = weight.detach()[:old]
    if count > old:
        window = slice(old, count), slice(0, weight.shape[1])
        write_window(made[old:], init, tuple(made.shape), window)
    return made


def _replace(parameter: torch.Tensor, values: torch.Tensor) -> None:
    """Give a parameter other values, of any shape; it stays the same object."""
    parameter.grad = None
    parameter.data = values
