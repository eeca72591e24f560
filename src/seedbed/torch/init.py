"""The functions of torch.nn.init, with a seed in place of a generator.

Each fills a tensor as `fill_` does, pieces of a DTensor included, and returns it. ``seed`` is an
integer in [0, 2**64) or a `SeedGenerator`; None draws one from PyTorch's default generator, so that
``torch.manual_seed`` decides it, and is an error for a DTensor. A tensor on ``meta`` is left as it
is. Fans are PyTorch's: a weight is (outputs, inputs, *receptive field).
"""

import math

import numpy as np
import torch

from .. import initializers
from ..initializers import Initializer
from ..initializers.initializer import as_number
from ..values import recipes
from ..values.fill import sample
from ..values.seeds import SeedGenerator, check_seed, derive
from .tensors import Filled, is_sharded, write

GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **{f"conv{rank}d": 1.0 for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": 1.0 for rank in (1, 2, 3)},
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": None,  # depends on the slope
    "selu": 3 / 4,
}
Seed = int | SeedGenerator | None


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the gain that PyTorch recommends for a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        As in ``torch.nn.init.calculate_gain``.
    param : float, optional
        The negative slope of ``"leaky_relu"``; 0.01 by default.

    Examples
    --------
    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity not in GAINS:
        raise ValueError(
            f"calculate_gain: nonlinearity must be one of {', '.join(GAINS)}; "
            f"given {nonlinearity!r}"
        )
    gain = GAINS[nonlinearity]
    if gain is not None:
        return gain
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, (int, float)):
        raise ValueError(f"calculate_gain: param must be a number; given {param!r}")
    return math.sqrt(2 / (1 + slope**2))


def uniform_(tensor: Filled, a: float = 0.0, b: float = 1.0, seed: Seed = None) -> Filled:
    """Fill with uniform values in [a, b).

    Examples
    --------
    >>> values = uniform_(torch.empty(1000), -1.0, 1.0, seed=7)
    >>> bool(values.min() >= -1), bool(values.max() < 1)
    (True, True)
    """
    return write(tensor, initializers.RandomUniform(a, b, _seed(tensor, seed, "uniform_")))


def normal_(tensor: Filled, mean: float = 0.0, std: float = 1.0, seed: Seed = None) -> Filled:
    """Fill with normal values.

    Examples
    --------
    >>> bool(normal_(torch.empty(10_000), std=0.02, seed=7).std() < 0.021)
    True
    """
    return write(tensor, initializers.RandomNormal(mean, std, _seed(tensor, seed, "normal_")))


def trunc_normal_(
    tensor: Filled,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    seed: Seed = None,
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
        raise ValueError(
            f"{owner}: mean, std, a and b must be numbers, a must be below b, and std positive; "
            f"given mean={mean!r}, std={std!r}, a={a!r}, b={b!r}"
        )
    lower, upper = (a - mean) / std, (b - mean) / std
    for _ in range(8):  # rounding must not lead outside
        lower = math.nextafter(lower, math.inf) if mean + lower * std < a else lower
        upper = math.nextafter(upper, -math.inf) if mean + upper * std > b else upper
    chosen = _seed(tensor, seed, owner)
    return write(tensor, initializers.TruncatedNormal(mean, std, chosen, lower, upper))


def constant_(tensor: Filled, val: float) -> Filled:
    """Fill with one value, which must not lose its kind: no float goes into an integer tensor.

    Examples
    --------
    >>> constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    return write(tensor, initializers.Constant(val))


def ones_(tensor: Filled) -> Filled:
    """Fill with ones.

    Examples
    --------
    >>> ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return write(tensor, initializers.Ones())


def zeros_(tensor: Filled) -> Filled:
    """Fill with zeros.

    Examples
    --------
    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    return write(tensor, initializers.Zeros())


def eye_(tensor: Filled) -> Filled:
    """Fill a matrix with the identity, padded with zeros.

    Examples
    --------
    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    _check_rank(tensor, (2,), "eye_")
    return write(tensor, initializers.Identity())


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
    _check_rank(tensor, (3, 4, 5), "dirac_")
    if not isinstance(groups, int) or groups < 1 or tensor.shape[0] % groups:
        raise ValueError(
            f"dirac_: groups must divide the outputs, {tensor.shape[0]}; given {groups!r}"
        )
    return write(tensor, _Dirac(groups))


def xavier_uniform_(tensor: Filled, gain: float = 1.0, seed: Seed = None) -> Filled:
    """Fill with uniform values in [-a, a), a = gain · sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> bool(xavier_uniform_(torch.empty(2, 4), seed=7).abs().max() <= 1)
    True
    """
    fan_in, fan_out = _fans(tensor, "xavier_uniform_")
    a = gain * math.sqrt(6 / (fan_in + fan_out))
    return uniform_(tensor, -a, a, seed)


def xavier_normal_(tensor: Filled, gain: float = 1.0, seed: Seed = None) -> Filled:
    """Fill with normal values of standard deviation gain · sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> round(float(xavier_normal_(torch.empty(500, 300), seed=7).std()), 2)
    0.05
    """
    fan_in, fan_out = _fans(tensor, "xavier_normal_")
    return normal_(tensor, 0.0, gain * math.sqrt(2 / (fan_in + fan_out)), seed)


def kaiming_uniform_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    seed: Seed = None,
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
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, seed)


def kaiming_normal_(
    tensor: Filled,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    seed: Seed = None,
) -> Filled:
    """Fill with normal values of standard deviation gain / sqrt(fan); see `kaiming_uniform_`.

    Examples
    --------
    >>> round(float(kaiming_normal_(torch.empty(500, 200), seed=7).std()), 1)
    0.1
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_")
    return normal_(tensor, 0.0, std, seed)


def orthogonal_(tensor: Filled, gain: float = 1, seed: Seed = None) -> Filled:
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
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: tensor must have rank 2 or more; given {tensor.ndim}")
    matrix = initializers.Orthogonal(gain, _seed(tensor, seed, "orthogonal_"))
    return write(tensor, matrix if tensor.ndim == 2 else _Matrix(matrix))


def sparse_(tensor: Filled, sparsity: float, std: float = 0.01, seed: Seed = None) -> Filled:
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
    _check_rank(tensor, (2,), "sparse_")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must be in [0, 1]; given {sparsity!r}")
    return write(tensor, _Sparse(sparsity, std, _seed(tensor, seed, "sparse_")))


class _Computed(Initializer):
    """An initializer that says what the values in a window are."""

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: recipes.Window) -> np.ndarray:
        raise NotImplementedError

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        return recipes.Computed(lambda window, dtype: self.values(shape, dtype, window))


class _Dirac(_Computed):
    def __init__(self, groups: int) -> None:
        self.groups = groups

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: recipes.Window) -> np.ndarray:
        outputs, inputs = (np.arange(part.start, part.stop) for part in window[:2])
        ones = outputs[:, None] % (shape[0] // self.groups) == inputs
        for size, part in zip(shape[2:], window[2:], strict=True):
            ones = ones[..., None] & (np.arange(part.start, part.stop) == size // 2)
        return ones.astype(dtype)


class _Matrix(_Computed):
    """What a matrix initializer gives, for a shape of which all axes but the first are one."""

    def __init__(self, matrix: Initializer) -> None:
        self.matrix = matrix

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: recipes.Window) -> np.ndarray:
        rows, *rest = window
        flat = (shape[0], math.prod(shape[1:]))
        part = self.matrix(flat, dtype, window=(rows, slice(None)))
        return part.reshape(len(part), *shape[1:])[:, *rest]


class _Sparse(_Computed):
    def __init__(self, sparsity: float, std: float, seed: Seed) -> None:
        self.sparsity = sparsity
        self.normal = initializers.RandomNormal(0.0, std, seed)

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: recipes.Window) -> np.ndarray:
        rows, columns = window
        stream = self.normal.stream(False)
        normal = recipes.Normal(0.0, float(self.normal.stddev))
        values = sample(normal, shape, dtype, stream=stream, window=window)
        # The zeros of a column are where its random keys are least.
        keys = sample(
            recipes.Uniform(0.0, 1.0),
            shape,
            "float64",
            stream=stream._replace(seed=derive(stream.seed, "sparse_")),
            window=(slice(None), columns),
        )
        order = np.argsort(keys, axis=0, kind="stable")
        zeros = np.zeros(keys.shape, bool)
        count = math.ceil(self.sparsity * shape[0])
        np.put_along_axis(zeros, order[:count], True, axis=0)
        values[zeros[rows]] = 0
        return values


def _seed(tensor: torch.Tensor, seed: Seed, owner: str) -> Seed:
    """Return a seed; where none is given, one from PyTorch's default generator."""
    checked = check_seed(seed, owner)
    if checked is not None:
        return checked
    if is_sharded(tensor):
        raise ValueError(f"{owner}: a DTensor needs a seed, the same in all processes; given None")
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_())


def _fans(tensor: torch.Tensor, owner: str) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(f"{owner}: tensor must have rank 2 or more for fans; given {tensor.ndim}")
    if tensor.numel() == 0:
        return 1, 1  # there is nothing to fill
    outputs, inputs, *receptive = tensor.shape
    return inputs * math.prod(receptive), outputs * math.prod(receptive)


def _kaiming_std(tensor: torch.Tensor, a: float, mode: str, nonlinearity: str, owner: str) -> float:
    fan_in, fan_out = _fans(tensor, owner)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{owner}: mode must be 'fan_in' or 'fan_out'; given {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _check_rank(tensor: torch.Tensor, ranks: tuple[int, ...], owner: str) -> None:
    if tensor.ndim not in ranks:
        raise ValueError(
            f"{owner}: tensor must have rank {' or '.join(map(str, ranks))}; given {tensor.ndim}"
        )
