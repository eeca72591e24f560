"""Initializers that compute what a window holds.

Matrices of torch.nn.init, complex tables, and the distributions that PyTorch draws in place. They
use IEEE arithmetic and draws of the stream only, so they too are equal on every machine.
"""

import decimal
import math
from typing import Any, Self

import numpy as np

from .. import initializers
from ..initializers import Initializer
from ..values import recipes
from ..values.fill import sample
from ..values.seeds import SeedGenerator, Stream, derive
from ..values.window import Window

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")
INVERSE_LN2 = float.fromhex("0x1.71547652b82fep0")


class Computed(Initializer):
    """An initializer that says what the values in a window are.

    Parameters
    ----------
    seed : int, SeedGenerator, Stream or None
        None where there are no random numbers, or no seed yet.
    """

    def __init__(self, seed: Any = None) -> None:
        self.seed = seed

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        raise NotImplementedError

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return what the values of a table are."""
        return recipes.Computed(lambda window, dtype: self.values(shape, dtype, window))

    def with_seed(self, seed: Any) -> Self:
        """Return an equal initializer of another seed."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), seed=seed)
        return other

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def sampled(self, recipe: Any, shape: tuple[int, ...], window: Window) -> np.ndarray:
        """Return float64 draws of a recipe for a window."""
        return sample(recipe, shape, "float64", stream=stream_of(self.seed), window=window)


def stream_of(seed: Any) -> Stream:
    """Return the stream that a fixed seed is."""
    return seed if isinstance(seed, Stream) else Stream(seed)


def fixed(init: Initializer) -> Initializer:
    """Return an initializer with one draw of its generator, if it has one, for many windows."""
    seed = getattr(init, "seed", None)
    return init.with_seed(seed.next()) if isinstance(seed, SeedGenerator) else init


class Dirac(Computed):
    """The weight of a convolution that passes each group of channels as it is."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        outputs, inputs = (np.arange(part.start, part.stop) for part in window[:2])
        ones = outputs[:, None] % (shape[0] // self.groups) == inputs
        for size, part in zip(shape[2:], window[2:], strict=True):
            ones = ones[..., None] & (np.arange(part.start, part.stop) == size // 2)
        return ones.astype(dtype)


class Matrix(Computed):
    """`Orthogonal`, for a shape of which all axes but the first are the columns of the matrix."""

    windowed = False

    def __init__(self, gain: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        rows, *rest = window
        flat = (shape[0], math.prod(shape[1:]))
        matrix = initializers.Orthogonal(self.gain, self.seed)
        part = matrix(flat, dtype, window=(rows, slice(None)))
        return part.reshape(len(part), *shape[1:])[:, *rest]


class Sparse(Computed):
    """Normal values, and in each column a fraction of zeros at random rows."""

    def __init__(self, sparsity: float, std: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.sparsity, self.std = sparsity, float(initializers.RandomNormal(0.0, std).stddev)

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        rows, columns = window
        stream = stream_of(self.seed)
        values = sample(recipes.Normal(0.0, self.std), shape, dtype, stream=stream, window=window)
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


class Complex(Computed):
    """A complex table: element e is made of elements 2e and 2e + 1 of a real one.

    Parameters
    ----------
    real : Initializer
        What the real table is, of the shape with a last axis of 2.
    """

    def __init__(self, real: Initializer) -> None:
        super().__init__(getattr(real, "seed", None))
        self.real = real

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        part = {"complex64": "float32", "complex128": "float64"}[dtype.name]
        real = self.real.with_seed(self.seed)
        pairs = real((*shape, 2), part, window=(*window, slice(0, 2)))
        return pairs.view(dtype)[..., 0]


class Pairs(Computed):
    """A distribution of which each value is made of two draws of the stream."""

    base: Any = recipes.Uniform(0.0, 1.0)

    def values(self, shape: tuple[int, ...], dtype: np.dtype, window: Window) -> np.ndarray:
        """Return the values in a window of the table."""
        pairs = self.sampled(self.base, (*shape, 2), (*window, slice(0, 2)))
        with np.errstate(all="ignore"):
            return self.of(pairs[..., 0], pairs[..., 1], dtype).astype(dtype)

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        raise NotImplementedError


class Bernoulli(Pairs):
    """1 with probability `p`, else 0."""

    def __init__(self, p: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.p = p

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        return first < self.p


class Integers(Pairs):
    """Integers in [low, high): 64 bits, modulo the number of them."""

    def __init__(self, low: int, high: int, seed: Any = None) -> None:
        super().__init__(seed)
        self.low, self.high = low, high

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        high, low = ((part * 2.0**32).astype(np.uint64) for part in (first, second))
        bits = (high << np.uint64(32)) | low
        count = self.high - self.low
        chosen = bits % np.uint64(count) if count < 2**64 else bits
        if dtype.kind in "iub":
            return (chosen + np.uint64(self.low % 2**64)).view(np.int64)
        return chosen.astype(np.float64) + self.low


class Exponential(Pairs):
    """Exponential of a rate: half the squared length of a normal vector in the plane."""

    base = recipes.Normal(0.0, 1.0)

    def __init__(self, rate: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.rate = rate

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        return (first * first + second * second) * (0.5 / self.rate)


class Geometric(Exponential):
    """How many trials of probability `p` it takes to the first success."""

    def __init__(self, p: float, seed: Any = None) -> None:
        super().__init__(-float((1 - decimal.Decimal(p)).ln()) if p < 1 else math.inf, seed)

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        return np.floor(super().of(first, second, dtype)) + 1.0


class Cauchy(Pairs):
    """Cauchy: the quotient of two normal values."""

    base = recipes.Normal(0.0, 1.0)

    def __init__(self, median: float, sigma: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.median, self.sigma = median, sigma

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        return self.median + self.sigma * (first / second)


class LogNormal(Pairs):
    """The exponential function of normal values."""

    base = recipes.Normal(0.0, 1.0)

    def __init__(self, mean: float, std: float, seed: Any = None) -> None:
        super().__init__(seed)
        self.mean, self.std = mean, std

    def of(self, first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return values of pairs of float64 draws."""
        return exp(self.mean + self.std * first)


def exp(x: np.ndarray) -> np.ndarray:
    """Return e to the power of float64 numbers, within 2 ulp, by IEEE operations alone.

    x = n ln 2 + r with |r| <= ln(2) / 2; then Taylor's polynomial of degree 13.
    """
    x = np.clip(x, -746.0, 710.0)
    n = np.rint(x * INVERSE_LN2)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    value = np.full_like(r, 1.0 / math.factorial(13))
    for degree in range(12, -1, -1):
        value = value * r + 1.0 / math.factorial(degree)
    return np.ldexp(value, n.astype(np.int32))
