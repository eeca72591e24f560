"""What a file holds, in words: ``seedbed info FILE``."""

import os
from pathlib import Path

from . import safetensors, states
from .read import Tensor, tensors
from .table import sizes
from .writing import readable


def describe(path: str | os.PathLike[str]) -> list[str]:
    """Return lines that say what a file or folder of shards holds, or how far its writing is.

    Raises
    ------
    ValueError
        If there is neither a table nor an unfinished one.
    """
    path = Path(path)
    places = states.places_at(path) if path.parent.is_dir() else []
    if places and not path.exists():
        return [_unfinished(path, states.State.load(place)) for place in places]
    lines, last = [], None
    for tensor in tensors(path):
        if tensor.file != last:
            lines.append(f"{tensor.file}: {readable(tensor.file.stat().st_size)}")
            if "seedbed_version" in tensor.metadata:
                lines[-1] += (
                    f", by seedbed {tensor.metadata['seedbed_version']}, "
                    f"stream version {tensor.metadata['stream_version']}"
                )
        last = tensor.file
        try:
            lines.append("  " + _tensor(tensor))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"{tensor.file}: bad metadata of {tensor.name}: {error!r}") from None
    return lines


def _unfinished(path: Path, state: states.State) -> str:
    part = f" part {state.part}" if state.part.of > 1 else ""
    if state.complete:
        return f"{path}:{part} complete, {readable(state.total)}"
    return f"{path}:{part} unfinished, {state.percent} of {readable(state.total)} saved"


def _tensor(tensor: Tensor) -> str:
    text = f"{tensor.name or 'array'}: {sizes(tensor.shape)} {tensor.dtype.name}"
    description = safetensors.description(tensor.metadata, tensor.name)
    if description is None:
        return text
    kind, config = (description["initializer"].get(key) for key in ("class_name", "config"))
    arguments = ", ".join(f"{name}={value!r}" for name, value in (config or {}).items())
    text += f", {kind}({arguments})"
    if "rows" in description:
        start, stop = description["rows"]
        text += f", rows {start:,}:{stop:,} of {description['shape'][0]:,}"
    if "kept_rows" in description:
        text += f", the first {description['kept_rows']:,} rows kept from an older file"
    return text
