"""The `.safetensors` format: named tables, with metadata that tell how to make them again.

Eight bytes with the length of a JSON header, the header, then the tables without gaps. It is
written here rather than by the library so that tables stream. The header is padded with spaces so
that the data begin at a multiple of a page.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seedbed_kernels import STREAM_VERSION

from ... import __version__
from ...errors import ArgumentError, FormatError, brief
from ...storage.direct import PAGE
from ...storage.foreign import mapping, naturals, parse_json, text, understanding
from ...storage.places import Place, opened
from ...values.dtypes import as_dtype
from ..layout import Chunks, File, Tensor
from ..table import Table

NAME: str = ".safetensors"
SUFFIX: str = NAME
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
# Keys, after the name.
_DESCRIPTION = ("initializer", "shape", "dtype", "rows", "kept_rows", "placed")


def arrange(tables: Sequence[Table], shards: int | None, chunks: Chunks | None) -> tuple[File, ...]:
    """Return the file of an output."""
    tables = in_order(tables)
    return (File("", tables, lambda: header(tables)),)


def last(tables: Sequence[Table], chunks: Chunks | None) -> Mapping[str, bytes]:
    """Return nothing: no further file is needed."""
    return {}


def in_order(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Return the tables in the order in which they go into a file.

    Widest elements first, as the library does, so that every table is aligned to its elements.
    """
    names = [table.name for table in tables]
    if len(set(names)) < len(names) or "__metadata__" in names:
        raise ArgumentError(f"tables in a file need names of their own; given {', '.join(names)}")
    for table in tables:
        if table.dtype.name not in _CODE:
            raise ArgumentError(f".safetensors has no {table.dtype.name}")
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
        "seedbed_version": __version__,
        "stream_version": str(STREAM_VERSION),
    }
    if shard:
        starts = {t.name: [t.first_row, *(0 for _ in t.shape[1:])] for t in tables}
        metadata["DCP_SHARDING_INFO"] = _json({n: {"saved_offsets": s} for n, s in starts.items()})
        metadata["DCP_VERSION"] = "1.0"
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for table in tables:
        seed = {} if table.seed is None else {"seed": table.seed}
        for key, value in {**table.describe(), **seed}.items():
            metadata[f"{table.name}.{key}"] = value if isinstance(value, str) else _json(value)
        begin, end = end, end + table.nbytes
        entries[table.name] = {
            "dtype": _CODE[table.dtype.name],
            "shape": list(table.stored_shape),
            "data_offsets": [begin, end],
        }
    data = _json(entries).encode()
    data += b" " * (-(8 + len(data)) % PAGE)
    if len(data) > MAX_HEADER:
        raise ArgumentError(f"a .safetensors header holds {MAX_HEADER} bytes; given {len(data)}")
    return len(data).to_bytes(8, "little") + data


def tensors(path: Place) -> list[Tensor]:
    """Return the tensors in a file."""
    with understanding(path, "not a .safetensors file"), opened(path) as file:
        size = file.size
        start = bytearray(min(size, 8))
        file.fill(start, 0)
        length = int.from_bytes(start, "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise FormatError("it ends within its header")
        data = bytearray(length)
        file.fill(data, 8)
        if not data.startswith(b"{"):
            raise FormatError("its header does not begin with {")
        found = mapping(parse_json(bytes(data), plain=True), "header")
        metadata = found.pop("__metadata__", None)
        metadata = {} if metadata is None else mapping(metadata, "__metadata__")
        for name, value in metadata.items():
            text(value, f"metadata {text(name, 'name')!r}")
        return list(_tensors(path, found, metadata, 8 + length, size))


def _tensors(
    path: Place, entries: dict[str, Any], metadata: dict[str, str], begin: int, size: int
) -> Iterator[Tensor]:
    """Yield the tensors that a header names, which must follow each other without a gap."""
    ends = []
    info = parse_json(metadata.get("DCP_SHARDING_INFO", "{}").encode())
    for name, entry in entries.items():
        text(name, "name")
        entry = mapping(entry, f"tensor {brief(name)}")
        code = text(entry.get("dtype"), f"dtype of {brief(name)}")
        if code not in CODES:
            raise FormatError(f"tensor {brief(name)} of {brief(code)}, which NumPy does not have")
        shape, dtype = naturals(entry.get("shape"), "shape"), as_dtype(CODES[code])
        start, stop = naturals(entry.get("data_offsets"), f"data_offsets of {brief(name)}", 2)
        if stop - start != math.prod(shape) * dtype.itemsize or begin + stop > size:
            raise FormatError(f"tensor {brief(name)} at {start} to {stop} does not fit")
        ends.append((start, stop))
        told = _told(metadata, mapping(info, "DCP_SHARDING_INFO"), name)
        description = {key: told.pop(key) for key in _DESCRIPTION if key in told}
        yield Tensor(
            path,
            name,
            begin + start,
            shape,
            dtype,
            metadata,
            description or None,
            told,
        )
    end = 0
    for start, stop in sorted(ends):
        if start != end:
            raise FormatError("tensors overlap or leave a gap")
        end = stop
    if begin + end != size:
        raise FormatError(f"{size - begin - end:,} bytes follow the last tensor")


def _told(metadata: dict[str, str], shards: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what our metadata say of a tensor, by the last word of their names."""
    told: dict[str, Any] = {}
    ours = f"{name}.initializer" in metadata
    for key in (*_DESCRIPTION, "seed") if ours else ():
        value = metadata.get(f"{name}.{key}")
        if value is not None:
            told[key] = value if key == "dtype" else parse_json(value.encode())
    if name in shards or (ours and "DCP_SHARDING_INFO" in metadata):
        told["saved_offsets"] = mapping(shards.get(name), brief(name)).get("saved_offsets")
    return told


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
