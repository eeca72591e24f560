"""What PyTorch's random operations draw, as initializers without a seed."""

import math
from typing import Any

import numpy as np
import torch

from .. import initializers
from ..initializers import Initializer
from ..values import recipes
from ..values.fill import sample
from ..values.seeds import Stream
from .computed import Bernoulli, Cauchy, Complex, Exponential, Geometric, Integers, LogNormal

MANTISSA = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
# Names and defaults of what follows the tensor, in place.
ARGUMENTS = {
    "normal_": {"mean": 0.0, "std": 1.0},
    "uniform_": {"from": 0.0, "to": 1.0},
    "bernoulli_": {"p": 0.5},
    "exponential_": {"lambd": 1.0},
    "log_normal_": {"mean": 1.0, "std": 2.0},
    "cauchy_": {"median": 0.0, "sigma": 1.0},
    "geometric_": {"p": None},
}


def normal(mean: float, std: float, dtype: torch.dtype) -> Initializer:
    """Return normal values; the parts of complex ones have half the variance each, as PyTorch's."""
    if dtype.is_complex:
        return Complex(initializers.RandomNormal(mean, std / math.sqrt(2.0)))
    return initializers.RandomNormal(mean, std)


def uniform(low: float, high: float, dtype: torch.dtype) -> Initializer:
    """Return uniform values; of complex ones both parts are."""
    init = initializers.RandomUniform(low, high)
    return Complex(init) if dtype.is_complex else init


def in_place(base: str, tensor: torch.Tensor, args: Any, kwargs: Any) -> Initializer | None:
    """Return what an operation in place fills a tensor with; None where there is no counterpart."""
    if base == "random_":
        given = [*args, *kwargs.values()]
        return _integers(given, tensor.dtype)
    if base not in ARGUMENTS:
        return None
    names = ARGUMENTS[base]
    given = {**names, **dict(zip(names, args, strict=False)), **kwargs}
    if any(isinstance(value, torch.Tensor) or value is None for value in given.values()):
        return None
    first, *more = (float(value) for value in given.values())
    if base == "normal_":
        return normal(first, more[0], tensor.dtype)
    if base == "uniform_":
        return uniform(first, more[0], tensor.dtype)
    if tensor.dtype.is_complex:
        return None
    kinds = {
        "bernoulli_": Bernoulli,
        "exponential_": Exponential,
        "log_normal_": LogNormal,
        "cauchy_": Cauchy,
        "geometric_": Geometric,
    }
    return kinds[base](first, *more)


def _integers(given: list[Any], dtype: torch.dtype) -> Initializer | None:
    """Return the integers of ``random_()``, ``random_(to)`` and ``random_(from, to)``."""
    if dtype.is_complex:
        return None
    if dtype.is_floating_point:
        most = 2 ** MANTISSA.get(dtype, 3) + 1
    else:
        most = 2 if dtype == torch.bool else torch.iinfo(dtype).max + 1
    low, high = (0, most) if not given else (0, given[0]) if len(given) == 1 else given
    if high is None:
        high = most
    return Integers(int(low), int(high)) if low < high else None


def factory(base: str, func: Any, args: Any, kwargs: Any) -> Initializer | None:
    """Return what a function fills a new tensor with; None where there is no counterpart."""
    dtype = kwargs.get("dtype")
    if dtype is None:
        of = args[0] if args and isinstance(args[0], torch.Tensor) else None
        dtype = torch.get_default_dtype() if of is None else of.dtype
    if base in ("rand", "rand_like"):
        return uniform(0.0, 1.0, dtype)
    if base in ("randn", "randn_like"):
        return normal(0.0, 1.0, dtype)
    if base == "normal" and not any(isinstance(x, torch.Tensor) for x in args):
        mean, std = args[:2]
        return normal(float(mean), float(std), dtype)
    if base in ("randint", "randint_like"):
        numbers = [x for x in args if isinstance(x, int)]
        return _integers(numbers, torch.int64) if numbers else None
    return None


def permutation(count: int, seed: int, kwargs: Any) -> torch.Tensor:
    """Return the numbers below `count` in random order: that of uniform float64 keys."""
    keys = sample(recipes.Uniform(0.0, 1.0), (count,), "float64", stream=Stream(seed))
    order = torch.from_numpy(np.argsort(keys, kind="stable"))
    dtype = kwargs.get("dtype")
    return order.to(
        dtype=torch.int64 if dtype is None else dtype, device=kwargs.get("device") or "cpu"
    )
