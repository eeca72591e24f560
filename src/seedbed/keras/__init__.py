"""Seedbed in Keras 3: every initializer as one of Keras' own, on TensorFlow, JAX and PyTorch.

Importing this package registers them under ``seedbed``, so that models which use them can be saved,
loaded, cloned and moved to another backend. They take the arguments of their namesakes in
`seedbed.initializers`, give the same values, and return the backend's tensors.

`scope` makes every weight of a model so, whatever initializers its layers name; `install` does it
for the whole process, and `init_model_` for a model that is built.

`tf_keras`, Keras 2 as a package of its own, has a registry of its own. They are registered there,
too, if it was imported before this package; if later, call `register_tf_keras`.
"""

try:
    import keras as _keras  # noqa: F401
except ImportError as error:
    missing = (error.name or "").partition(".")[0]
    missing = missing if missing in ("jax", "tensorflow", "torch") else "keras"
    raise ImportError(
        f"seedbed.keras needs Keras and a backend: python -m pip install 'seedbed[{missing}]'"
    ) from error

from ..initializers import compute_fans
from ..values.seeds import SeedGenerator
from .classes import (
    STFT,
    Constant,
    DeltaOrthogonal,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
from .initializer import Initializer, RandomInitializer
from .lookup import deserialize, get, serialize
from .models import init_model_
from .registering import register_tf_keras
from .scopes import Scope, install, scope, uninstall

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
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "Scope",
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
    "init_model_",
    "install",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "one",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "register_tf_keras",
    "scope",
    "serialize",
    "stft",
    "truncated_normal",
    "uniform",
    "uninstall",
    "variance_scaling",
    "zero",
    "zeros",
]
