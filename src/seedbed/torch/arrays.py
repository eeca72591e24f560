"""Tensors that this process holds, as initializers fill them: in place where memory allows it."""

import contextlib
from typing import Any

import numpy as np
import torch

from ..initializers import Initializer
from ..values.dtypes import as_dtype
from ..values.window import Window

# Dtypes that torch does not hand to NumPy: their bits travel.
BITS = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e5m2: torch.uint8,
}


def write_window(
    local: torch.Tensor,
    init: Initializer,
    shape: tuple[int, ...],
    window: Window | None,
    rows: Any = None,
) -> None:
    """Fill a tensor with the values in a window, or some rows, of a table of the full shape."""
    dtype = as_dtype(local.dtype)
    part: dict[str, Any] = {"window": window}
    if rows is not None:
        part["rows"] = rows
    if local.numel() == 0:
        init(shape, dtype, **part)
        return
    on_gpu = is_nvidias(local.device)
    direct = local.is_contiguous() and not (local.is_conj() or local.is_neg())
    direct = direct and (on_gpu or local.device.type == "cpu")
    device = local.device if on_gpu else torch.device("cpu")
    made = local.detach() if direct else torch.empty(local.shape, dtype=local.dtype, device=device)
    # A tensor hands itself over only where its GPU is torch's current one.
    with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
        if not on_gpu:
            init(shape, dtype, **part, out=as_array(made))
        elif local.dtype in BITS and local.dtype != torch.bfloat16:  # no interface has float8
            values = init(shape, dtype, **part)
            made.copy_(torch.from_numpy(values.view(np.uint8)).view(local.dtype))
        else:
            init(shape, dtype, **part, out=made)
    if not direct:
        local.copy_(made)


def is_nvidias(device: torch.device) -> bool:
    """Return whether a device is a GPU on which Seedbed draws; PyTorch calls AMD's "cuda", too."""
    return device.type == "cuda" and torch.version.cuda is not None


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return the memory of a tensor on the CPU as an array."""
    bits = tensor.view(BITS[tensor.dtype]) if tensor.dtype in BITS else tensor
    return bits.detach().numpy().view(as_dtype(tensor.dtype))
