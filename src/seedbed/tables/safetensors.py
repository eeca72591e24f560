"""The `.safetensors` format: named tables, with metadata that tell how to make them again.

Eight bytes with the length of a JSON header, the header, then the tables without gaps. It is
written here rather than by the library so that tables stream. The header is padded with spaces so
that the data begin at a multiple of a page.
"""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..storage.direct import PAGE
from ..values.dtypes import as_dtype
from .origin import STREAM_VERSION, version
from .table import Table

SUFFIX = ".safetensors"
MAX_HEADER = 100_000_000  # the official reader takes no more
CODES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "BOOL": "bool",
    **{
        f"{letter}{bits}": f"{kind}{bits}"
        for letter, kind in (("I", "int"), ("U", "uint"))
        for bits in (8, 16, 32, 64)
    },
    "C64": "complex64",
}
_CODE = {name: code for code, name in CODES.items()}

Entries = dict[str, tuple[int, tuple[int, ...], np.dtype]]


def arrange(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Return the tables in the order in which they go into the file.

    Widest elements first, as the library does, so that every table is aligned to its elements.
    """
    names = [table.name for table in tables]
    if len(set(names)) < len(names) or "__metadata__" in names:
        raise ValueError(f"tables in a file need names of their own; given {', '.join(names)}")
    for table in tables:
        if table.dtype.name not in _CODE:
            raise ValueError(f".safetensors has no {table.dtype.name}")
    return tuple(sorted(tables, key=lambda table: (-table.dtype.itemsize, table.name)))


def header(tables: Sequence[Table], *, shard: bool = False) -> bytes:
    """Return the bytes before the data.

    Parameters
    ----------
    tables : sequence of Table
        In the order of their data.
    shard : bool
        Whether to say where the rows are in the full tables, in the way of PyTorch's
        ``torch.distributed.checkpoint``.
    """
    metadata = {
        "format": "pt",
        "seedbed_version": version(),
        "stream_version": str(STREAM_VERSION),
    }
    if shard:
        starts = {t.name: [t.first_row, *(0 for _ in t.shape[1:])] for t in tables}
        metadata["DCP_SHARDING_INFO"] = _json({n: {"saved_offsets": s} for n, s in starts.items()})
        metadata["DCP_VERSION"] = "1.0"
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for table in tables:
        description = table.describe()
        seed = table.init.get_config().get("seed")
        for key, value in {**description, **({} if seed is None else {"seed": seed})}.items():
            metadata[f"{table.name}.{key}"] = value if isinstance(value, str) else _json(value)
        begin, end = end, end + table.nbytes
        entries[table.name] = {
            "dtype": _CODE[table.dtype.name],
            "shape": list(table.stored_shape),
            "data_offsets": [begin, end],
        }
    text = _json(entries).encode()
    text += b" " * (-(8 + len(text)) % PAGE)
    if len(text) > MAX_HEADER:
        raise ValueError(f"a .safetensors header holds {MAX_HEADER} bytes; given {len(text)}")
    return len(text).to_bytes(8, "little") + text


def read(file: BinaryIO, path: Path) -> tuple[Entries, dict[str, str]]:
    """Return offset, shape and dtype of every tensor in a file by name, and its metadata."""
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(MAX_HEADER, size - 8):
        raise ValueError(f"{path}: not a .safetensors file: it ends within its header")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata are not all strings")
        entries, ends = {}, [(0, 0)]
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            code = entry["dtype"]
            if code not in CODES:
                raise ValueError(f"tensor {name!r} of {code}, which NumPy does not have")
            shape, dtype = tuple(entry["shape"]), as_dtype(CODES[code])
            if end - begin != math.prod(shape) * dtype.itemsize or 8 + length + end > size:
                raise ValueError(f"tensor {name!r} at {begin} to {end} does not fit")
            ends.append((begin, end))
            entries[name] = (8 + length + begin, shape, dtype)
        ends.sort()
        if any(begin != end for (_, end), (begin, _) in itertools.pairwise(ends)):
            raise ValueError("tensors overlap or leave a gap")
        if 8 + length + ends[-1][1] != size:
            raise ValueError(f"{size - 8 - length - ends[-1][1]} bytes follow the last tensor")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a .safetensors file: {error}") from None
    return entries, metadata


def description(metadata: dict[str, str], name: str) -> dict[str, Any] | None:
    """Return what `Table.describe` said of a table, or None where the metadata do not say."""
    if f"{name}.initializer" not in metadata:
        return None
    keys = ("initializer", "shape", "dtype", "rows", "kept_rows")
    found = {key: metadata[f"{name}.{key}"] for key in keys if f"{name}.{key}" in metadata}
    return {key: value if key == "dtype" else json.loads(value) for key, value in found.items()}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
