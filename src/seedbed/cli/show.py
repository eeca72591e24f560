"""A picture of an initializer: its values beside what theory says, with their moments."""

import os
import secrets
from typing import Any

from ..errors import ArgumentError, OutputError
from ..initializers.picture import picture
from ..storage.atomic import Folder, failing, refusing, resolved
from ..storage.foreign import local_path

FORMATS = (".png", ".svg", ".pdf")


def draw(
    init: Any,
    shape: tuple[int, ...],
    dtype: Any,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
) -> str:
    """Draw the histogram of an initializer's values, and return its moments in a line.

    Parameters
    ----------
    init : Initializer
        With real values.
    shape : tuple of int
        Of the table, of which the first 2**22 elements are drawn.
    dtype : dtype or name, optional
        float32 by default.
    path : path
        Of the picture: .png, .svg or .pdf.
    force : bool
        Whether to replace an existing file.

    Returns
    -------
    str
        Values and theory in words.

    Raises
    ------
    SeedbedError
        If an argument is not as said above, or if matplotlib is missing; before any work.
    """
    path = local_path(path, "--out")
    target = resolved(path)
    if path.suffix not in FORMATS:
        raise ArgumentError(f"a picture ends in {', '.join(FORMATS)}; given {path}")
    if not os.path.isdir(target.parent) or not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: folder {target.parent} is not there or not writable")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{path}: exists; --force replaces it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{path}: exists, and is not a regular file")
    drawn = picture(init, shape, dtype)
    with refusing(path):
        folder = Folder(target.parent)
    partial = f".{target.name}.{secrets.token_hex(4)}"  # nobody else's
    with folder, failing(path):
        try:
            with open(folder.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                drawn.figure.savefig(file, format=path.suffix[1:], dpi=150)
            folder.publish(partial, target.name, replace=force)
            folder.sync()
        finally:
            folder.remove(partial)
    return f"{path}: {drawn.words}"
