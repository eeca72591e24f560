"""Seedbed: reproducible initial weights, as compiled samplers.

`initializers` is a drop-in for ``keras.initializers``; `tables` writes tables larger than memory.
Frameworks have a module each, imported by name: ``seedbed.keras``, ``seedbed.jax``,
``seedbed.torch``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import initializers
from .values.seeds import SeedGenerator

if TYPE_CHECKING:
    from . import tables

__version__ = "0.1.0"
__all__ = ["SeedGenerator", "__version__", "initializers", "tables"]


def __getattr__(name: str) -> Any:
    """Import `tables` when it is first asked for."""
    if name == "tables":
        return importlib.import_module(".tables", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
