"""The functions of torch.nn.init, with a seed beside the generator.

Each fills a tensor as `fill_` does, pieces that a process holds included, and returns it. ``seed``
is an integer in [0, 2**64) or a `SeedGenerator`; None draws one from ``generator``, or else from
PyTorch's default generator, so that ``torch.manual_seed`` decides it, and is an error for a
sharded tensor. A tensor without values, on ``meta`` or a fake, is left as it is. Fans are
PyTorch's: a weight is (outputs, inputs, *receptive field).
"""

import math
from typing import Any

import torch

from .. import initializers
from ..errors import ArgumentError, ArgumentTypeError, naming, warn
from ..initializers import Initializer
from ..initializers.arguments import as_number
from ..values.seeds import Seed, check_seed
from ..values.untraced import untraced
from . import draws, recording
from .computed import Dirac, Matrix, Sparse
from .fans import fans, kaiming_std
from .layouts import is_sharded
from .named import check_groups, check_matrix, check_rank, check_sparsity
from .standins import StandIn, truncated_normal
from .tensors import Filled, write

Generator = torch.Generator | None


@untraced
def uniform_(
    tensor: Filled,
    a: float = 0.0,
    b: float = 1.0,
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill with uniform values in [a, b).

    Examples
    --------
    >>> values = uniform_(torch.empty(1000), -1.0, 1.0, seed=7)
    >>> bool(values.min() >= -1), bool(values.max() < 1)
    (True, True)
    """
    return _drawn(tensor, lambda: draws.uniform(a, b, tensor.dtype), seed, generator, "uniform_")


@untraced
def normal_(
    tensor: Filled,
    mean: float = 0.0,
    std: float = 1.0,
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill with normal values.

    Examples
    --------
    >>> bool(normal_(torch.empty(10_000), std=0.02, seed=7).std() < 0.021)
    True
    """
    return _drawn(tensor, lambda: draws.normal(mean, std, tensor.dtype), seed, generator, "normal_")


@untraced
def trunc_normal_(
    tensor: Filled,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill with values of a normal distribution restricted to [a, b].

    Examples
    --------
    >>> values = trunc_normal_(torch.empty(1000), 0.0, 1.0, 0.5, 1.0, seed=7)
    >>> bool(values.min() >= 0.5), bool(values.max() <= 1)
    (True, True)
    """
    owner = "trunc_normal_"
    mean, std, a, b = (as_number(x) for x in (mean, std, a, b))
    if not all(isinstance(x, (int, float)) for x in (mean, std, a, b)) or not (a < b and std > 0):
        raise ArgumentError(
            f"{owner}: mean, std, a and b must be numbers, a must be below b, and std positive; "
            f"given mean={mean!r}, std={std!r}, a={a!r}, b={b!r}"
        )
    init = truncated_normal(mean, std, a, b)
    return _drawn(tensor, lambda: init, seed, generator, owner)


@untraced
def constant_(tensor: Filled, val: float) -> Filled:
    """Fill with one value, which must not lose its kind: no float goes into an integer tensor.

    Examples
    --------
    >>> constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    return _filled(tensor, initializers.Constant(val), "constant_")


@untraced
def ones_(tensor: Filled) -> Filled:
    """Fill with ones.

    Examples
    --------
    >>> ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return _filled(tensor, initializers.Ones(), "ones_")


@untraced
def zeros_(tensor: Filled) -> Filled:
    """Fill with zeros.

    Examples
    --------
    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    return _filled(tensor, initializers.Zeros(), "zeros_")


@untraced
def eye_(tensor: Filled) -> Filled:
    """Fill a matrix with the identity, padded with zeros.

    Examples
    --------
    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    check_rank(tensor, (2,), "eye_")
    return _filled(tensor, initializers.Identity(), "eye_")


@untraced
def dirac_(tensor: Filled, groups: int = 1) -> Filled:
    """Fill a convolution's weight so that each group of channels passes as it is.

    Parameters
    ----------
    tensor : torch.Tensor
        Of rank 3, 4 or 5: (outputs, inputs, *receptive field).
    groups : int
        Divides the outputs.

    Examples
    --------
    >>> dirac_(torch.empty(2, 2, 1)).squeeze()
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_rank(tensor, (3, 4, 5), "dirac_")
    check_groups(tensor, groups)
    return _filled(tensor, Dirac(groups), "dirac_")


@untraced
def xavier_uniform_(
    tensor: Filled, gain: float = 1.0, seed: Seed = None, generator: Generator = None
) -> Filled:
    """Fill with uniform values in [-a, a), a = gain · sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> bool(xavier_uniform_(torch.empty(2, 4), seed=7).abs().max() <= 1)
    True
    """
    fan_in, fan_out = fans(tensor, "xavier_uniform_")
    a = math.sqrt(3.0) * (gain * math.sqrt(2.0 / (fan_in + fan_out)))  # rounded as PyTorch's
    return uniform_(tensor, -a, a, seed, generator)


@untraced
def xavier_normal_(
    tensor: Filled, gain: float = 1.0, seed: Seed = None, generator: Generator = None
) -> Filled:
    """Fill with normal values of standard deviation gain · sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> round(float(xavier_normal_(torch.empty(500, 300), seed=7).std()), 2)
    0.05
    """
    fan_in, fan_out = fans(tensor, "xavier_normal_")
    return normal_(tensor, 0.0, gain * math.sqrt(2 / (fan_in + fan_out)), seed, generator)


@untraced
def kaiming_uniform_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill with uniform values in [-b, b), b = gain · sqrt(3 / fan).

    Parameters
    ----------
    tensor : torch.Tensor
        A weight: (outputs, inputs, *receptive field).
    a : float
        The negative slope of ``"leaky_relu"``.
    mode : {"fan_in", "fan_out"}
        Which fan keeps its variance: inputs forward, or outputs backward.
    nonlinearity : str
        As in `calculate_gain`.
    seed : int, SeedGenerator or None
        See the head of this module.

    Notes
    -----
    Source: He, Zhang, Ren, Sun, ICCV 2015.

    Examples
    --------
    >>> bool(kaiming_uniform_(torch.empty(2, 6), nonlinearity="relu", seed=7).abs().max() <= 1)
    True
    """
    bound = math.sqrt(3) * kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, seed, generator)


@untraced
def kaiming_normal_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill with normal values of standard deviation gain / sqrt(fan); see `kaiming_uniform_`.

    Examples
    --------
    >>> round(float(kaiming_normal_(torch.empty(500, 200), seed=7).std()), 1)
    0.1
    """
    std = kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_")
    return normal_(tensor, 0.0, std, seed, generator)


@untraced
def orthogonal_(
    tensor: Filled, gain: float = 1, seed: Seed = None, generator: Generator = None
) -> Filled:
    """Fill with orthonormal rows or columns, times `gain`.

    A weight of more than two axes is a matrix of its outputs by all the rest. Each process of a
    DTensor computes the whole matrix, and keeps its piece.

    Source: Saxe, McClelland, Ganguli, ICLR 2014.

    Examples
    --------
    >>> q = orthogonal_(torch.empty(3, 5), seed=7)
    >>> bool(torch.allclose(q @ q.T, torch.eye(3), atol=1e-6))
    True
    """
    check_matrix(tensor)
    kind = initializers.Orthogonal if tensor.ndim == 2 else Matrix
    return _drawn(tensor, lambda: kind(gain), seed, generator, "orthogonal_")


@untraced
def sparse_(
    tensor: Filled,
    sparsity: float,
    std: float = 0.01,
    seed: Seed = None,
    generator: Generator = None,
) -> Filled:
    """Fill a matrix with normal values, and in each column a fraction of zeros at random rows.

    Parameters
    ----------
    tensor : torch.Tensor
        Of rank 2.
    sparsity : float
        In [0, 1]; each column has ceil(sparsity · rows) zeros.
    std : float
        Standard deviation of the other values.
    seed : int, SeedGenerator or None
        See the head of this module.

    Notes
    -----
    Source: Martens, *Deep learning via Hessian-free optimization*, ICML 2010.

    Examples
    --------
    >>> (sparse_(torch.empty(10, 3), 0.25, seed=7) == 0).sum(0)
    tensor([3, 3, 3])
    """
    check_rank(tensor, (2,), "sparse_")
    check_sparsity(sparsity)
    return _drawn(tensor, lambda: Sparse(sparsity, std), seed, generator, "sparse_")


def _drawn(tensor: Filled, init: Any, seed: Seed, generator: Generator, owner: str) -> Filled:
    """Fill a tensor with random values; without a seed a recording names their draw."""
    with naming(owner):
        if isinstance(tensor, StandIn) and seed is None and generator is None:
            recording.active().draw(tensor, init())
            return tensor
        chosen = _seed(tensor, seed, generator)
        return write(tensor, init().with_seed(chosen))


def _filled(tensor: Filled, init: Initializer, owner: str) -> Filled:
    with naming(owner):
        return write(tensor, init)


def _seed(tensor: torch.Tensor, seed: Any, generator: Any) -> Seed:
    """Return a seed; where none is given, one from PyTorch's generator."""
    if isinstance(seed, torch.Generator):  # where torch.nn.init has it
        seed, generator = None, seed
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ArgumentTypeError(f"generator must be a torch.Generator; given {generator!r}")
    if seed is not None and generator is not None:
        raise ArgumentError("give seed or generator, not both")
    checked = check_seed(seed)
    if checked is not None:
        return checked
    if is_sharded(tensor):
        raise ArgumentError(
            "a DTensor, or another sharded tensor, needs a seed, the same in all processes; "
            f"given {'a generator' if generator is not None else None}"
        )
    if generator is not None:
        warn(
            "generator= gives one seed, drawn from it; seed=7 needs none, and is the same anywhere"
        )
    device = "cpu" if generator is None else generator.device
    one = torch.empty((), dtype=torch.int64, device=device)
    return int(one.random_(generator=generator))
