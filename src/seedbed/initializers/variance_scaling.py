"""Initializers whose variance follows from the fans: how many inputs and outputs a unit has."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from seedbed_kernels import arithmetic

from ..errors import ArgumentError, ArgumentTypeError, as_index, brief, is_one_of
from ..values import recipes
from ..values.seeds import Seed
from .arguments import as_keras, finite
from .fans import fans_of
from .initializer import RandomInitializer

LARGEST_FAN = 1e150  # of which the product is a float64
TRUNCATED_STDDEV = 0.87962566103423978  # of a standard normal truncated at ±2
Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["truncated_normal", "normal", "untruncated_normal", "uniform"]
MODES: tuple[Mode, ...] = get_args(Mode)
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


@functools.lru_cache(256, typed=True)  # sums of integers and of floats are rounded differently
@arithmetic.usual()
def _recipe(
    scale: float, mode: str, distribution: str, fan_in: float, fan_out: float
) -> recipes.Recipe:
    """Return the distribution for numbers of inputs and outputs."""
    if max(fan_in, fan_out) > LARGEST_FAN:
        raise ArgumentError(
            f"fans must be at most {LARGEST_FAN:.0e}; given axes that make more of the shape"
        )
    if mode == "fan_in":
        fan = fan_in
    elif mode == "fan_out":
        fan = fan_out
    elif mode == "fan_avg":
        fan = (fan_in + fan_out) / 2
    else:
        fan = math.sqrt(fan_in * fan_out)
    variance = scale / max(1.0, fan)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return recipes.Uniform(-limit, limit)
    stddev = math.sqrt(variance)
    if distribution == "untruncated_normal":
        return recipes.Normal(0.0, stddev)
    return recipes.TruncatedNormal(0.0, stddev / TRUNCATED_STDDEV)


class VarianceScaling(RandomInitializer):
    """Values whose variance is `scale` over the number of inputs, outputs, or a mean of them.

    Parameters
    ----------
    scale : float
        Positive and finite.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        What the variance is divided by; at least 1. The last is the geometric mean, as in JAX.
    distribution : {"truncated_normal", "normal", "untruncated_normal", "uniform"}
        ``"normal"`` is ``"truncated_normal"``, as in Keras 2. The truncated normal's parameter is
        corrected so that the values have the variance aimed at; the uniform's limits likewise.
    seed : int, None or SeedGenerator
        See `RandomInitializer`.
    input_axes, output_axes : sequence of int, optional
        Axes that are inputs and outputs, as in Keras; see `compute_fans`.
    in_axis, out_axis, batch_axis : int or sequence of int, optional
        Likewise, as in JAX; not both.

    Notes
    -----
    Sources: ``keras.initializers.VarianceScaling``, ``jax.nn.initializers.variance_scaling``.

    Examples
    --------
    >>> from seedbed import initializers
    >>> init = initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=7)
    >>> round(float(init((500, 1000)).std() ** 2 * 500), 2)
    2.0
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: Mode = "fan_in",
        distribution: Distribution = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        *,
        in_axis: int | Sequence[int] | None = None,
        out_axis: int | Sequence[int] | None = None,
        batch_axis: int | Sequence[int] | None = None,
    ) -> None:
        owner = type(self).__name__
        self.scale = finite(self, "scale", scale)
        if self.scale <= 0:
            raise as_keras(
                "Argument `scale` must be positive float.",
                self,
                f"scale must be a finite number above 0; given {brief(scale)}",
            )
        if not is_one_of(MODES, mode):
            raise as_keras(
                f"Invalid `mode` argument: {mode}.",
                self,
                f"mode must be one of {', '.join(MODES)}; given {brief(mode)}",
            )
        spelling: Any = distribution.lower() if isinstance(distribution, str) else None
        spelling = "truncated_normal" if spelling == "normal" else spelling
        if not is_one_of(DISTRIBUTIONS, spelling):
            allowed = ", ".join(("normal", *DISTRIBUTIONS))
            raise as_keras(
                f"Invalid `distribution` argument: {distribution}.",
                self,
                f"distribution must be one of {allowed}; given {brief(distribution)}",
            )
        self.mode = mode
        self.distribution = spelling
        self.input_axes = _axes(owner, "input_axes", input_axes)
        self.output_axes = _axes(owner, "output_axes", output_axes)
        self.in_axis = _axes(owner, "in_axis", in_axis)
        self.out_axis = _axes(owner, "out_axis", out_axis)
        self.batch_axis = _axes(owner, "batch_axis", batch_axis)
        if self._axes_of_jax() and not input_axes is output_axes is None:
            raise ArgumentError(
                "give input_axes and output_axes, or some of in_axis, out_axis and batch_axis; "
                f"given {brief(input_axes)} and {brief(output_axes)}, and "
                f"{brief(self._axes_of_jax())}"
            ).named(owner)
        super().__init__(seed)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return the distribution of a table's values."""
        try:
            fan_in, fan_out = fans_of(
                shape,
                self.input_axes,
                self.output_axes,
                self.in_axis,
                self.out_axis,
                self.batch_axis,
            )
        except IndexError:
            given = {"input_axes": self.input_axes, "output_axes": self.output_axes}
            given = self._axes_of_jax() or given
            raise ArgumentError(
                f"{' and '.join(given)} must be axes of the shape; "
                f"given {' and '.join(map(brief, given.values()))} for {brief(shape)}"
            ).named(type(self).__name__) from None
        return self._of_fans(fan_in, fan_out)

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> recipes.Recipe:
        """Return the distribution of rows of keys."""
        if fans is None:
            if self.mode != "fan_out" or self.input_axes is not None or self._axes_of_jax():
                raise ArgumentError(
                    f"fans=(fan_in, fan_out) must be given for rows of keys, which belong to no "
                    f"table that {self.mode} could be counted of; given None"
                )
            fans = (1, width)
        owner = type(self).__name__
        if not isinstance(fans, (tuple, list)) or len(fans) != 2:
            raise ArgumentTypeError(f"fans must be two numbers; given {brief(fans)}").named(owner)
        return self._of_fans(*(finite(self, "fans", fan, least=0.0) for fan in fans))

    def _of_fans(self, fan_in: float, fan_out: float) -> recipes.Recipe:
        """Return the distribution for numbers of inputs and outputs."""
        return _recipe(self.scale, self.mode, self.distribution, fan_in, fan_out)

    def _axes_of_jax(self) -> dict[str, Any]:
        """Return those of JAX's axes that are given."""
        names = ("in_axis", "out_axis", "batch_axis")
        return {name: axes for name in names if (axes := getattr(self, name)) is not None}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer: Keras' own, and JAX's if given."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
            **self._axes_of_jax(),
        }


def _axes(owner: str, name: str, axes: Any) -> Any:
    """Return axes as ints that JSON can hold: a list, or one of `in_axis` and so on alone."""
    try:
        if axes is None:
            return None
        if name.endswith("_axis") and not isinstance(axes, Sequence):
            return _axis(axes)
        return [_axis(axis) for axis in axes]
    except TypeError:
        raise ArgumentTypeError(
            f"{name} must be a sequence of integers or None; given {brief(axes)}"
        ).named(owner) from None


def _axis(axis: Any) -> int:
    if isinstance(axis, (bool, np.bool_)):
        raise TypeError
    return as_index(axis)


class _Specialised(VarianceScaling):
    """A `VarianceScaling` of fixed scale, mode and distribution."""

    fixed: tuple[float, Mode, Distribution]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        *,
        in_axis: int | Sequence[int] | None = None,
        out_axis: int | Sequence[int] | None = None,
        batch_axis: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            *self.fixed,
            seed=seed,
            input_axes=input_axes,
            output_axes=output_axes,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        fixed = ("scale", "mode", "distribution")
        return {name: value for name, value in super().get_config().items() if name not in fixed}


class GlorotUniform(_Specialised):
    """Uniform on [-a, a), a = sqrt(6 / (fan_in + fan_out)); also called Xavier uniform.

    Source: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
    networks*, AISTATS 2010. Arguments as `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> values = initializers.GlorotUniform(seed=7)((200, 100))
    >>> bool(abs(values).max() <= (6 / 300) ** 0.5)
    True
    """

    fixed = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Specialised):
    """Truncated normal of variance 2 / (fan_in + fan_out); also called Xavier normal.

    Source: Glorot and Bengio, AISTATS 2010; see `GlorotUniform`. Arguments as `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> round(float(initializers.GlorotNormal(seed=7)((1000, 600)).std()), 3)
    0.035
    """

    fixed = (1.0, "fan_avg", "truncated_normal")


class LecunNormal(_Specialised):
    """Truncated normal of variance 1 / fan_in.

    Source: LeCun, Bottou, Orr, Müller, *Efficient BackProp*, 1998; Klambauer et al., 2017, for
    self-normalizing networks. Arguments as `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> round(float(initializers.LecunNormal(seed=7)((1000, 600)).std()), 3)
    0.032
    """

    fixed = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Specialised):
    """Uniform on [-a, a), a = sqrt(3 / fan_in).

    Source: LeCun, Bottou, Orr, Müller, *Efficient BackProp*, 1998. Arguments as `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> round(float(initializers.LecunUniform(seed=7)((1000, 600)).std()), 3)
    0.032
    """

    fixed = (1.0, "fan_in", "uniform")


class HeNormal(_Specialised):
    """Truncated normal of variance 2 / fan_in; also called Kaiming normal.

    Source: He, Zhang, Ren, Sun, *Delving deep into rectifiers*, ICCV 2015. Arguments as
    `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> round(float(initializers.HeNormal(seed=7)((1000, 600)).std()), 3)
    0.045
    """

    fixed = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Specialised):
    """Uniform on [-a, a), a = sqrt(6 / fan_in); also called Kaiming uniform.

    Source: He, Zhang, Ren, Sun, ICCV 2015; see `HeNormal`. Arguments as `VarianceScaling`.

    Examples
    --------
    >>> from seedbed import initializers
    >>> round(float(initializers.HeUniform(seed=7)((1000, 600)).std()), 3)
    0.045
    """

    fixed = (2.0, "fan_in", "uniform")
