"""Orthogonal initializer (being replaced by Householder kernels)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import fill
from .initializer import RandomInitializer, finite


class Orthogonal(RandomInitializer):
    """Haar-distributed orthonormal rows or columns."""

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        self.gain = finite(self, "gain", gain)
        super().__init__(seed)

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: fill.Window | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a table; see `Initializer.__call__`."""
        shape = fill.check_shape(shape, "Orthogonal")
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: shape must have rank 2 or more; given {shape}")
        rows, cols = math.prod(shape[:-1]), shape[-1]
        stream = self.stream(window is None)

        def whole(bounds: fill.Window) -> np.ndarray:
            a = fill.fill(
                fill.Normal(0.0, 1.0), (max(rows, cols), min(rows, cols)), "float64", stream=stream
            )
            q, r = np.linalg.qr(a)
            q *= np.sign(np.diag(r))
            q = q.T if rows < cols else q
            return (self.gain * q).reshape(shape)[bounds]

        return fill.fill(
            fill.Computed(whole), shape, dtype, window=window, out=out, owner="Orthogonal"
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {**super().get_config(), "gain": self.gain}
