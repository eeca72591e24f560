"""The index by which Hugging Face's loaders, and others, find the tensors of several files."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import ArgumentError
from ..storage.atomic import Folder, failing
from .formats import safetensors
from .output import Output

INDEX = "model.safetensors.index.json"


def check_files(outputs: Sequence[Output]) -> Path:
    """Return the one folder that files are in, or refuse them.

    Raises
    ------
    ArgumentError
        If they are in several folders, or not all of the safetensors format.
    """
    folders = {output.target.parent for output in outputs}
    if len(folders) > 1 or any(output.format.NAME != safetensors.NAME for output in outputs):
        raise ArgumentError("--hf is for .safetensors files in one folder")
    return folders.pop()


def write_index(outputs: Sequence[Output]) -> None:
    """Write the index of several files beside them; one file needs none."""
    path = check_files(outputs)
    if len(outputs) == 1:
        return
    weights = {table.name: one.target.name for one in outputs for table in one.tables}
    total = sum(output.nbytes for output in outputs)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
    with failing(path / INDEX), Folder(path) as folder:
        folder.write_text(INDEX, json.dumps(index, indent=2) + "\n")
