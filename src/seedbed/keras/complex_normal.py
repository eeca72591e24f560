"""Complex normal values: pairs of real ones, side by side in memory."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, naming
from ..initializers import Initializer
from ..initializers.initializer import RandomInitializer
from ..values import recipes
from ..values.dtypes import as_dtype
from ..values.fill import fill
from ..values.request import Request


class ComplexNormal(Initializer):
    """Circular normal values: real and imaginary parts have half the variance each.

    The parts of a table's element are two elements of the stream, those of a table with one more
    axis of length 2; the real `mean` is added to the real part.
    """

    def __init__(self, init: RandomInitializer) -> None:
        self.init = init

    @property
    def seeded(self) -> bool:
        """Whether the values are the same in every process."""
        return self.init.seeded

    @property
    def seed(self) -> Any:
        """Where the random numbers come from."""
        return self.init.seed

    def with_seed(self, seed: Any) -> "ComplexNormal":
        """Return an equal initializer of another seed."""
        return ComplexNormal(self.init.with_seed(seed))

    def stream(self, whole: bool = True) -> Any:
        """Return the random numbers of the next call."""
        return self.init.stream(whole)

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: Any = None,
        rows: Any = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a table, or of a window of it; see `Initializer`."""
        kind = as_dtype(dtype)
        recipe = self.init.recipe(tuple(shape))
        if not isinstance(recipe, recipes.Normal):
            raise ArgumentError(
                f"{kind.name} values are made of normal distributions that are not truncated; "
                f"given {self.init!r}"
            ).named(type(self.init).__name__)
        real = np.dtype(f"float{kind.itemsize * 4}")
        request = Request(
            (*shape, 2),
            real,
            window=None if window is None else (*window, slice(0, 2)),
            rows=rows,
            out=None if out is None else out.view(real).reshape(*out.shape, 2),
            device=device,
        )
        parts = recipes.Normal(0.0, recipe.stddev / math.sqrt(2.0))
        with naming(type(self.init).__name__):
            request.check(parts)
        pairs = fill(parts, request, self.stream(window is None))
        if recipe.mean:
            pairs[..., 0] += real.type(recipe.mean)
        return pairs.view(kind)[..., 0] if out is None else out
