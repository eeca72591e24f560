"""Seedbed in PyTorch: tensors and models filled in place.

`tensor` makes a tensor with what an initializer gives; `fill_` fills one, or this process' piece of
a DTensor. The functions of `torch.nn.init` are here by name, with ``seed=`` in place of
``generator=``. `init_module_` initializes a whole model from a table of name patterns and one
seed.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "seedbed.torch needs PyTorch: python -m pip install 'seedbed[torch]'"
    ) from error

from . import torchrec
from .building import seeded
from .constructors import as_built
from .fans import calculate_gain
from .init import (
    constant_,
    dirac_,
    eye_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from .making import tensor
from .modules import init_module_
from .plans import plan
from .resizing import resize_
from .saving import save_initialized, verify_initialized
from .tensors import fill_

__all__ = [
    "as_built",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "fill_",
    "init_module_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "plan",
    "resize_",
    "save_initialized",
    "seeded",
    "sparse_",
    "tensor",
    "torchrec",
    "trunc_normal_",
    "uniform_",
    "verify_initialized",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
