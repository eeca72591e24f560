"""Initializers of orthonormal rows or columns."""

from typing import Any

from ..errors import ArgumentError
from ..values import recipes
from ..values.seeds import Seed
from .arguments import as_keras, finite
from .initializer import RandomInitializer


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal rows or columns, times `gain`.

    Axes before the last are folded into the rows of a matrix. Its rows are orthonormal if they are
    fewer than its columns, else its columns are. The distribution is the uniform one (Haar
    measure): no rotation of the matrix makes it more or less likely.

    Parameters
    ----------
    gain : float
        Finite.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.

    Notes
    -----
    Sources: ``keras.initializers.Orthogonal``; Saxe, McClelland and Ganguli, *Exact solutions to
    the nonlinear dynamics of learning in deep linear neural networks*, 2014; Stewart, *The
    efficient generation of random orthogonal matrices with an application to condition
    estimators*, 1980.

    Needs rank 2 or more and a floating dtype; float16 and bfloat16 are rounded from float32. The
    whole matrix has to fit in memory, even if only a window of it is asked for: about three times
    in the precision computed in, and in slabs of 16 columns where it has fewer.

    Examples
    --------
    >>> import numpy as np
    >>> from seedbed import initializers
    >>> q = initializers.Orthogonal(seed=7)((3, 3, 2, 8))
    >>> q = q.reshape(-1, 8)
    >>> bool(np.allclose(q.T @ q, np.eye(8), atol=1e-6))
    True
    """

    windowed = False  # a window costs almost as much as the whole: tables keep the whole

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = finite(self, "gain", gain)
        super().__init__(seed)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        if len(shape) < 2:
            raise as_keras(
                "The tensor to initialize must be at least two-dimensional.",
                self,
                f"shape must have rank 2 or more; given {shape} of rank {len(shape)}",
            )
        return recipes.Haar(float(self.gain))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {**super().get_config(), "gain": self.gain}


class DeltaOrthogonal(Orthogonal):
    """A convolution kernel that is zero but at its centre, where a matrix is `Orthogonal`.

    The shape is (..., inputs, outputs), of rank 3 to 5 and with no more inputs than outputs, so
    that the convolution keeps the norm of what it is applied to. The centre of an axis of length k
    is (k - 1) // 2.

    Parameters
    ----------
    gain : float
        Finite.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.

    Notes
    -----
    Sources: ``jax.nn.initializers.delta_orthogonal``; Xiao et al., *Dynamical isometry and a mean
    field theory of CNNs*, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from seedbed import initializers
    >>> kernel = initializers.DeltaOrthogonal(seed=7)((3, 3, 4, 8))
    >>> bool(np.allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(4), atol=1e-6))
    True
    >>> np.argwhere(kernel.any(axis=(2, 3)))
    array([[1, 1]])
    """

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        if not 3 <= len(shape) <= 5 or shape[-2] > shape[-1]:
            raise ArgumentError(
                "shape must be (..., inputs, outputs) of rank 3 to 5, with no more inputs than "
                f"outputs; given {shape}"
            ).named(type(self).__name__)
        return recipes.Delta(float(self.gain))
