"""Seedbed: reproducible initial weights, as compiled samplers.

`initializers` is a drop-in for ``keras.initializers``; `tables` writes tables larger than memory.
Frameworks have a module each, imported by name: ``seedbed.keras``, ``seedbed.jax``,
``seedbed.torch``.
"""

from seedbed_kernels import forking  # from now on forks wait for what is first imported

TYPE_CHECKING = False  # typing's is not imported: the command is to answer Ctrl-C early
if TYPE_CHECKING:
    from . import initializers, tables
    from .values.seeds import SeedGenerator

__version__ = "0.1.0"
__all__ = ["SeedGenerator", "__version__", "initializers", "show", "tables"]


def show(init: object, shape: object, dtype: object = None) -> object:
    """Return a figure of an initializer's values: by name, configuration or object.

    The same as `Initializer.plot`, for what `initializers.get` takes.

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
