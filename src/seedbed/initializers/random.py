"""Initializers of one distribution whose parameters do not depend on the shape."""

from typing import Any

from ..errors import ArgumentError, brief, naming
from ..values import recipes
from ..values.seeds import Seed
from .arguments import as_number, finite
from .initializer import RandomInitializer


class RandomNormal(RandomInitializer):
    """Normal values.

    Parameters
    ----------
    mean, stddev : float
        Finite; `stddev` at least 0.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.

    Notes
    -----
    Source: ``keras.initializers.RandomNormal``. Values lie within 6.8 `stddev` of `mean` (9.5 in
    float64).

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.RandomNormal(stddev=0.02, seed=7)((2, 3)).shape
    (2, 3)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = finite(self, "mean", mean)
        self.stddev = finite(self, "stddev", stddev, least=0.0)
        super().__init__(seed)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        return recipes.Normal(float(self.mean), float(self.stddev))

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> recipes.Recipe:
        """Return the distribution of rows of keys."""
        return self.recipe((1, width))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomInitializer):
    """Normal values between bounds, which lie two `stddev` from `mean` unless others are given.

    Parameters
    ----------
    mean, stddev : float
        Of the normal that is truncated, finite, `stddev` at least 0. The values themselves have a
        standard deviation of 0.8796 `stddev`; no correction is made for that.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.
    lower, upper : float
        The bounds, in `stddev` from `mean`; infinite ones, too, and ones far in a tail.

    Notes
    -----
    Source: ``keras.initializers.TruncatedNormal``; the bounds are those of
    ``jax.nn.initializers.truncated_normal``. A value outside is drawn again; where the bounds keep
    less than 5 % of the normal distribution, candidates are uniform (narrow bounds) or of
    Rayleigh's distribution (Marsaglia, *Generating a variable from the tail of the normal
    distribution*, 1964), of which at least a third is kept. Every value v of any dtype satisfies
    mean + lower stddev <= v <= mean + upper stddev, after rounding too; if the dtype has no number
    between the bounds, all values are the one nearest to their middle.

    Examples
    --------
    >>> from seedbed import initializers
    >>> values = initializers.TruncatedNormal(stddev=0.02, seed=7)((100, 100), "bfloat16")
    >>> bool(abs(values.astype("float32")).max() <= 0.04)
    True
    """

    def __init__(
        self,
        mean: float = 0.0,
        stddev: float = 0.05,
        seed: Seed = None,
        lower: float = -recipes.TRUNCATION,
        upper: float = recipes.TRUNCATION,
    ) -> None:
        self.mean = finite(self, "mean", mean)
        self.stddev = finite(self, "stddev", stddev, least=0.0)
        self.lower, self.upper = as_number(lower), as_number(upper)
        with naming(type(self).__name__):
            recipes.check_truncation(self.lower, self.upper)
        super().__init__(seed)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        return recipes.TruncatedNormal(
            float(self.mean), float(self.stddev), float(self.lower), float(self.upper)
        )

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> recipes.Recipe:
        """Return the distribution of rows of keys."""
        return self.recipe((1, width))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer: Keras' own, and other bounds."""
        config = {**super().get_config(), "mean": self.mean, "stddev": self.stddev}
        if (self.lower, self.upper) != (-recipes.TRUNCATION, recipes.TRUNCATION):
            config |= {"lower": self.lower, "upper": self.upper}
        return config


class RandomUniform(RandomInitializer):
    """Uniform values, `minval` included and `maxval` not.

    Parameters
    ----------
    minval, maxval : float
        Finite, `minval` not above `maxval`. If they are equal, so are all values.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.

    Notes
    -----
    Source: ``keras.initializers.RandomUniform``. Every value v of any dtype satisfies
    minval <= v < maxval, after rounding too.

    Examples
    --------
    >>> from seedbed import initializers
    >>> values = initializers.RandomUniform(0.0, 1.0, seed=7)((1000,), "float16")
    >>> bool(values.min() >= 0), bool(values.max() < 1)
    (True, True)
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = finite(self, "minval", minval)
        self.maxval = finite(self, "maxval", maxval)
        if self.minval > self.maxval:
            raise ArgumentError(
                f"minval must not be above maxval; given {brief(minval)} and {brief(maxval)}"
            ).named(type(self).__name__)
        super().__init__(seed)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        return recipes.Uniform(float(self.minval), float(self.maxval))

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> recipes.Recipe:
        """Return the distribution of rows of keys."""
        return self.recipe((1, width))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}
