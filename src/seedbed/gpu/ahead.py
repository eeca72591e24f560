"""Kernels compiled before there is a GPU, for a container image that is made elsewhere."""

import re
from collections.abc import Iterable

import numpy as np

from ..errors import ArgumentError, brief
from . import driver
from .array import kernel_dtype


def capability_of(text: str) -> tuple[int, int]:
    """Return the compute capability that a text such as ``90`` or ``9.0`` means.

    Raises
    ------
    ArgumentError
        If it means none.
    DeviceError
        If kernels cannot be compiled for it here.
    """
    match = re.fullmatch(r"([0-9]{1,2})\.?([0-9])", text)
    if match is None:
        raise ArgumentError(
            f"--cuda must be a compute capability, such as 90 or 9.0; given {brief(text)}"
        )
    capability = int(match[1]), int(match[2])
    driver.compiles_for(capability, f"--cuda {text} needs")
    return capability


def warm(dtypes: Iterable[np.dtype], capability: tuple[int, int]) -> None:
    """Compile and keep all kernels of dtypes."""
    from seedbed_kernels import kernels_cuda

    kernels_cuda.keep([kernel_dtype(dtype).name for dtype in dtypes], capability)
