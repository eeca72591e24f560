"""What files and folders hold, as people read it: ``seedbed info FILE``."""

import os
from pathlib import Path

from ..errors import naming
from ..storage.atomic import Folder, refusing
from ..storage.foreign import mapping, natural, naturals, understanding
from ..storage.places import Place, Remote, place_of, size_of
from . import formats, state, uploading
from .configurations import words
from .layout import Tensor
from .placing import check_by
from .progress import readable
from .table import sizes


def tensors(path: str | os.PathLike[str]) -> list[Tensor]:
    """Return the tensors of a file, or of a folder of shards in the order of their files.

    `path` may be a URL of a store, too, such as ``s3://bucket/table.zarr``.

    Raises
    ------
    FormatError
        If it is neither.
    """
    with naming("tables.tensors"):
        return formats.whole(place_of(path))


def describe(path: str | os.PathLike[str]) -> list[str]:
    """Return lines that say what a file or folder of shards holds, or how far its writing is.

    `path` may be a URL of a store, too, such as ``s3://bucket/table.zarr``.

    Raises
    ------
    FormatError
        If there is neither a table nor an unfinished one.
    """
    with naming("tables.describe"):
        place = place_of(path)
        if isinstance(place, Remote):
            return uploading.unfinished(place) or _described(place)
        if os.path.isdir(place.parent) and not os.path.exists(place):
            with refusing(place), Folder(place.parent) as folder:
                found = [state.State.load(folder, name) for name in state.names(folder, place)]
            if found:
                return [_unfinished(place, one) for one in found]
        return _described(place)


def _described(path: Place) -> list[str]:
    found, files = formats.whole(path), ""
    if formats.is_array(path):
        files = f" in {len(found):,} files"
        found = [formats.zarr.joined(path, found)]
    lines, last = [], None
    for tensor in found:
        if tensor.file != last:
            lines.append(f"{tensor.file}: {readable(size_of(tensor.file))}{files}")
            if "seedbed_version" in tensor.metadata:
                lines[-1] += (
                    f", by seedbed {tensor.metadata['seedbed_version']}, "
                    f"stream version {tensor.metadata.get('stream_version')}"
                )
        last = tensor.file
        with understanding(tensor.file, f"bad metadata of {tensor.name}"):
            lines.append("  " + _tensor(tensor))
    return lines


def _unfinished(path: Path, saved: state.State) -> str:
    part = f" part {saved.part}" if saved.part.of > 1 else ""
    if saved.complete:
        return f"{path}:{part} complete, {readable(saved.total)}"
    return f"{path}:{part} unfinished, {saved.percent} of {readable(saved.total)} saved"


def _tensor(tensor: Tensor) -> str:
    text = f"{tensor.name or 'array'}: {sizes(tensor.shape)} {tensor.dtype.name}"
    if tensor.description is None:
        return text
    text += f", {words(tensor.description['initializer'])}"
    if "rows" in tensor.description:
        start, stop = naturals(tensor.description["rows"], "rows", 2)
        height, *_ = naturals(tensor.description["shape"], "shape")
        text += f", rows {start:,}:{stop:,} of {height:,}"
    if "kept_rows" in tensor.description:
        text += f", the first {tensor.description['kept_rows']:,} rows kept from an older file"
    if "placed" in tensor.description:
        placed = mapping(tensor.description["placed"], "placed")
        kept = natural(placed.get("kept_rows"), "kept_rows")
        by = check_by(placed.get("by"))
        text += f", {kept:,} rows kept by their ids from an older file, new ones drawn by {by}"
    return text
