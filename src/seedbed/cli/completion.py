"""Scripts that complete the command in a shell: ``seedbed completion bash``."""

import argparse

from ..errors import MissingPackageError
from ..initializers.registry import CLASSES
from ..values.dtypes import FLOATING
from .options import parser

FILES = {"out", "file", "plan", "grow"}
CHOICES = {
    "initializer": [name for name in CLASSES if name != "initializer"],
    "dtype": list(FLOATING),
    "check": ["all", "sample"],
    "device": ["cpu", "cuda"],
}


def script(shell: str) -> str:
    """Return the script for ``bash``, ``zsh`` or ``fish``.

    Raises
    ------
    MissingPackageError
        If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise MissingPackageError(
            "seedbed completion needs shtab: pip install 'seedbed[completion]'"
        ) from None
    top = parser()
    for commands in top._actions:
        if isinstance(commands, argparse._SubParsersAction):
            for action in (a for sub in commands.choices.values() for a in sub._actions):
                if action.dest in FILES:
                    action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
                action.choices = CHOICES.get(action.dest, action.choices)
    return shtab.complete(top, shell)
