"""Every initializer of `seedbed.initializers` as one of Keras."""

import keras

from .. import initializers
from .initializer import Initializer, RandomInitializer


class Constant(Initializer, initializers.Constant, keras.initializers.Constant):
    """`seedbed.initializers.Constant` in Keras."""


class Zeros(Initializer, initializers.Zeros, keras.initializers.Zeros):
    """`seedbed.initializers.Zeros` in Keras."""


class Ones(Initializer, initializers.Ones, keras.initializers.Ones):
    """`seedbed.initializers.Ones` in Keras."""


class Identity(Initializer, initializers.Identity, keras.initializers.Identity):
    """`seedbed.initializers.Identity` in Keras."""


class STFT(Initializer, initializers.STFT, keras.initializers.STFT):
    """`seedbed.initializers.STFT` in Keras."""


class RandomNormal(
    Initializer, initializers.RandomNormal, RandomInitializer, keras.initializers.RandomNormal
):
    """`seedbed.initializers.RandomNormal` in Keras."""


class RandomUniform(
    Initializer, initializers.RandomUniform, RandomInitializer, keras.initializers.RandomUniform
):
    """`seedbed.initializers.RandomUniform` in Keras."""


class TruncatedNormal(
    Initializer, initializers.TruncatedNormal, RandomInitializer, keras.initializers.TruncatedNormal
):
    """`seedbed.initializers.TruncatedNormal` in Keras."""


class Orthogonal(
    Initializer, initializers.Orthogonal, RandomInitializer, keras.initializers.Orthogonal
):
    """`seedbed.initializers.Orthogonal` in Keras."""


class DeltaOrthogonal(Initializer, initializers.DeltaOrthogonal, RandomInitializer):
    """`seedbed.initializers.DeltaOrthogonal` in Keras."""


class VarianceScaling(
    Initializer, initializers.VarianceScaling, RandomInitializer, keras.initializers.VarianceScaling
):
    """`seedbed.initializers.VarianceScaling` in Keras."""


class GlorotNormal(
    Initializer, initializers.GlorotNormal, RandomInitializer, keras.initializers.GlorotNormal
):
    """`seedbed.initializers.GlorotNormal` in Keras."""


class GlorotUniform(
    Initializer, initializers.GlorotUniform, RandomInitializer, keras.initializers.GlorotUniform
):
    """`seedbed.initializers.GlorotUniform` in Keras."""


class HeNormal(Initializer, initializers.HeNormal, RandomInitializer, keras.initializers.HeNormal):
    """`seedbed.initializers.HeNormal` in Keras."""


class HeUniform(
    Initializer, initializers.HeUniform, RandomInitializer, keras.initializers.HeUniform
):
    """`seedbed.initializers.HeUniform` in Keras."""


class LecunNormal(
    Initializer, initializers.LecunNormal, RandomInitializer, keras.initializers.LecunNormal
):
    """`seedbed.initializers.LecunNormal` in Keras."""


class LecunUniform(
    Initializer, initializers.LecunUniform, RandomInitializer, keras.initializers.LecunUniform
):
    """`seedbed.initializers.LecunUniform` in Keras."""
