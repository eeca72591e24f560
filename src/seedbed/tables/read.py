"""What files hold: their tensors, and the tables that these were made as."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import safetensors
from .origin import STREAM_VERSION
from .output import FORMATS, File, Run
from .table import Table


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Parameters
    ----------
    file : Path
        Which file.
    name : str
        Its name there; empty in a ``.npy``.
    offset : int
        Of its first byte in the file.
    shape : tuple of int
        Of what the file holds.
    dtype : numpy.dtype
        Of the elements.
    metadata : dict
        Of the file: strings by name; empty in a ``.npy``.
    """

    file: Path
    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    metadata: dict[str, str]

    def table(self) -> Table | None:
        """Return the table that it was made as, or None where the metadata do not say.

        Raises
        ------
        ValueError
            If its values are of another stream version, or if metadata and tensor disagree.
        """
        try:
            description = safetensors.description(self.metadata, self.name)
        except ValueError as error:
            raise ValueError(f"{self.file}: bad metadata of {self.name}: {error}") from None
        if description is None:
            return None
        stream = self.metadata.get("stream_version")
        if stream != str(STREAM_VERSION):
            raise ValueError(
                f"{self.file}: of stream version {stream}; this is version {STREAM_VERSION}"
            )
        try:
            table = Table.from_description(self.name, description)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"{self.file}: bad metadata of {self.name}: {error!r}") from None
        if (table.stored_shape, table.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"{self.file}: {self.name} is {self.shape} {self.dtype.name}; "
                f"by its metadata {table.stored_shape} {table.dtype.name}"
            )
        return table

    def run(self, table: Table) -> Run:
        """Return where the elements of its table are."""
        return Run(File(str(self.file), (table,), bytes), table, self.offset, 0, table.size)


def tensors(path: str | os.PathLike[str]) -> list[Tensor]:
    """Return the tensors of a file, or of a folder of shards in the order of their files.

    Raises
    ------
    ValueError
        If it is neither.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*" + safetensors.SUFFIX))
        if not files:
            raise ValueError(f"{path}: holds no {safetensors.SUFFIX} files")
        return [tensor for file in files for tensor in tensors(file)]
    if not path.is_file():
        if path.with_name(path.name + ".part").exists():
            raise ValueError(f"{path}: is unfinished; see seedbed info {path}")
        raise ValueError(f"{path}: there is no such file")
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: must end in {' or '.join(FORMATS)}")
    with path.open("rb") as file:
        entries, metadata = FORMATS[path.suffix].read(file, path)
    return [
        Tensor(path, name, offset, shape, dtype, metadata)
        for name, (offset, shape, dtype) in entries.items()
    ]
