"""Seedbed: reproducible initial weights, as compiled samplers.

`initializers` is a drop-in for ``keras.initializers``; `tables` writes tables larger than memory.
Frameworks have a module each, imported by name: ``seedbed.keras``, ``seedbed.jax``,
``seedbed.torch``, ``seedbed.dask``.
"""

from __future__ import annotations

from seedbed_kernels import forking  # from now on forks wait for what is first imported

TYPE_CHECKING = False  # typing's is not imported: the command is to answer Ctrl-C early
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from . import initializers, tables
    from .values.seeds import SeedGenerator

__version__ = "0.1.0"
__all__ = ["SeedGenerator", "__version__", "initializers", "show", "tables"]


def show(init: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Return a figure of an initializer's values beside the density that theory gives.

    Parameters
    ----------
    init : Initializer, str or dict
        As `initializers.get` takes it.
    shape, dtype
        As `Initializer.plot` takes them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError, ArgumentTypeError, MissingPackageError
        As `Initializer.plot` does.

    Examples
    --------
    >>> import seedbed
    >>> figure = seedbed.show("glorot_uniform", (1000, 64))
    """
    with forking.first_use():
        from .initializers import get
        from .initializers.picture import picture

    return picture(get(init), shape, dtype).figure


def __getattr__(name: str) -> object:
    """Import what is first asked for; forks wait until it is there."""
    with forking.first_use():
        import importlib

        if name in ("initializers", "tables"):
            return importlib.import_module(f".{name}", __name__)
        if name == "SeedGenerator":
            return importlib.import_module(".values.seeds", __name__).SeedGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
