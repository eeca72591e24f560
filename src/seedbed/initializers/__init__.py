"""Keras-compatible initializers: classes, their snake_case names, and look-up by name.

A drop-in for ``keras.initializers``: same names, arguments and configurations. Calls return NumPy
arrays (or GPU arrays) and take a `window`, an `out` and a `device` besides shape and dtype.
"""

from ..values.seeds import SeedGenerator
from .constants import Constant, Identity, Ones, Zeros
from .fans import compute_fans
from .initializer import Initializer
from .orthogonal import DeltaOrthogonal, Orthogonal
from .random import RandomNormal, RandomUniform, TruncatedNormal
from .registry import deserialize, get, serialize
from .stft import STFT
from .variance_scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

constant = Constant
delta_orthogonal = DeltaOrthogonal
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = IdentityInitializer = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = one = Ones
orthogonal = OrthogonalInitializer = Orthogonal
random_normal = normal = RandomNormal
random_uniform = uniform = RandomUniform
stft = STFTInitializer = STFT
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = zero = Zeros

__all__ = [
    "STFT",
    "Constant",
    "DeltaOrthogonal",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "SeedGenerator",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "constant",
    "delta_orthogonal",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "one",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "zero",
    "zeros",
]
