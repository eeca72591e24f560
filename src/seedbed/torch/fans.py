"""Fans and gains as PyTorch has them: a weight is (outputs, inputs, *receptive field)."""

import math

import torch

from ..errors import ArgumentError, warn

GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **{f"conv{rank}d": 1.0 for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": 1.0 for rank in (1, 2, 3)},
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": None,  # depends on the slope
    "selu": 3 / 4,
}


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
        raise ArgumentError(
            f"calculate_gain: nonlinearity must be one of {', '.join(GAINS)}; "
            f"given {nonlinearity!r}"
        )
    gain = GAINS[nonlinearity]
    if gain is not None:
        return gain
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, (int, float)):
        raise ArgumentError(f"calculate_gain: param must be a number; given {param!r}")
    return math.sqrt(2 / (1 + slope**2))


def fans(tensor: torch.Tensor, owner: str) -> tuple[int, int]:
    """Return how many inputs an output has, and outputs an input."""
    if tensor.ndim < 2:
        raise ArgumentError(f"tensor must have rank 2 or more for fans; given {tensor.ndim}").named(
            owner
        )
    if tensor.numel() == 0:
        return 1, 1  # there is nothing to fill
    outputs, inputs, *receptive = tensor.shape
    return inputs * math.prod(receptive), outputs * math.prod(receptive)


def kaiming_std(tensor: torch.Tensor, a: float, mode: str, nonlinearity: str, owner: str) -> float:
    """Return the standard deviation that keeps the variance of a fan."""
    fan_in, fan_out = fans(tensor, owner)
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")  # in PyTorch's words
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out'; given {mode!r}").named(owner)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)
