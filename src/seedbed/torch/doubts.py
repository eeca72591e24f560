"""What a model's own methods leave in doubt, told in warnings."""

import math
from typing import Any

import torch

from ..errors import warn
from .names import Member
from .session import Session
from .standins import Root

FEW, MANY = 1000, 4096  # values of a parameter that are compared


def is_emptied(session: Session) -> bool:
    """Return whether `to_empty` made most parameters, and nobody has written to them since."""
    parameters = [one for one in session.members.values() if not one.buffer]
    written = sum(_is_written(one) for one in parameters)
    return 2 * written <= len(parameters)


def warn_of_buffers(session: Session) -> None:
    """Name buffers that may hold garbage."""
    if not is_emptied(session):
        return
    unset = session.unset(buffers=True)
    left = [one.name for one in unset if one.layout.pieces and one.tensor.numel()]
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        warn(
            f"init_module_: buffers that the model's initialization does not set: "
            f"{', '.join(left[:5])}{more}; after to_empty they hold no values: set them yourself"
        )


@torch.no_grad()
def warn_of_constructors(session: Session) -> None:
    """Name a parameter whose values, as they are, do not look like those it will get."""
    if is_emptied(session):
        return
    for one in session.members.values():
        root = session.source(one)
        if one.buffer or not _is_written(one) or not root.windowed or not root.complete:
            continue
        if _differs(*_samples(one, root)):
            warn(
                f"init_module_: the values of {one.name} were not those that the model's methods "
                "give it, but of another distribution. If constructors initialize this model, give "
                "using=seedbed.torch.as_built(…), or build it inside seedbed.torch.seeded; if it "
                "was trained, ignore this"
            )
            return


def _is_written(one: Member) -> bool:
    return bool(one.layout.pieces and one.tensor._version)


def _samples(one: Member, root: Root) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values that a piece of a parameter has, and those that it will get there."""
    local, window = one.layout.pieces[0]
    row = max(1, math.prod(local.shape[1:]))
    if local.ndim:
        begin, rows = window[0].start, min(local.shape[0], -(-MANY // row))
        local, window = local[:rows], (slice(begin, begin + rows), *window[1:])
    made: Any = torch.empty(local.shape, dtype=local.dtype, device=local.device)
    root.write(made, window)
    return local.detach().double(), made.double()


def _differs(now: torch.Tensor, then: torch.Tensor) -> bool:
    """Return whether values are of different distributions beyond chance.

    Of so many, standard deviations are within 20 % of each other but for one case in 10**15, if the
    kurtosis is at most that of a normal distribution.
    """
    (now_std, now_mean), (then_std, then_mean) = (
        torch.std_mean(values, correction=0) for values in (now, then)
    )
    if not now_std or not then_std:
        return bool(now.numel() > 1 and (now_std != then_std or now_mean != then_mean))
    return now.numel() >= FEW and not 0.8 < float(now_std / then_std) < 1.25
