"""Text that takes long to make, kept in a folder that all processes of a test run share."""

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kept(function: Callable[..., str]) -> Callable[..., str]:
    """Return a function that makes its text once, whichever process of the test run asks first.

    Its arguments are classes, strings, tuples and numbers.
    """

    @functools.cache
    def once(*arguments: Any, **options: Any) -> str:
        named = [getattr(each, "__qualname__", each) for each in (*arguments, *options.items())]
        key = hashlib.sha256(repr((function.__qualname__, named)).encode()).hexdigest()
        folder = Path(os.environ["NUMBA_CACHE_DIR"]) / "kept"  # new in each run: see conftest.py
        path = folder / key
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                file.write(function(*arguments, **options))
            os.replace(file.name, path)
        return path.read_text()

    return once
