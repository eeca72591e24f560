"""Zarr version 3: a folder that is one array, of chunks of whole rows, without compression.

The bytes of a chunk of whole rows are consecutive elements of the table. So a chunk, or a shard of
several, is a file like any other: an index of the chunks, if it is a shard, then rows. It is
written here rather than by the library so that memory does not grow with a shard, and parts,
resume and checks are those of all tables. ``zarr.json``, without which it is no array, comes last.
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seedbed_kernels import STREAM_VERSION

from ... import __version__
from ...errors import ArgumentError, FormatError, as_integer, brief
from ...storage.foreign import mapping, natural, naturals, parse_json, text, understanding
from ...storage.places import Place, Remote, inside, is_unfinished, read_small, size_of
from ...values.dtypes import NAMES, as_dtype
from ..layout import Chunks, File, Tensor
from ..table import Table

NAME: str = "zarr"
SUFFIX: str = ".zarr"
METADATA = "zarr.json"
MOST = 99_999  # files
CHUNK_BYTES = 4 << 20
SHARD_CHUNKS = 64
FILES = 512  # which one process has open at once
ABSENT = 2**64 - 1  # in an index, of a chunk after the last row
MAX_METADATA = 1_000_000  # bytes
_CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, least significant bit first


def chosen_chunks(table: Table, rows: Any, shard: Any) -> Chunks:
    """Return the rows of chunks and shards; by default some 4 MiB and 256 MiB.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If they are no positive integers, or a shard is no multiple of a chunk.
    """
    if table.rows is not None or not table.size:
        raise ArgumentError("a .zarr holds a whole table of one row or more")
    if not table.shape:
        raise ArgumentError("a .zarr holds a table of rank 1 or more; given ()")
    height = table.shape[0]
    row = table.nbytes // height
    if rows is None and shard is not None:
        raise ArgumentError(f"shard_rows must be given with chunk_rows; given {brief(shard)}")
    rows = max(CHUNK_BYTES // row, 1) if rows is None else _positive(rows, "chunk_rows")
    rows = min(rows, height)
    count = -(-height // rows)
    if shard is None:
        together = max(min(SHARD_CHUNKS, count), -(-count // FILES))
        return Chunks(rows, rows * together)
    shard = _positive(shard, "shard_rows")
    if shard % rows:
        raise ArgumentError(
            f"shard_rows must be a multiple of the {rows} chunk_rows; given {brief(shard)}"
        )
    return Chunks(rows, min(shard, rows * count))


def _positive(value: Any, name: str) -> int:
    number = as_integer(value, name)
    if number < 1:
        raise ArgumentError(f"{name} must be at least 1; given {brief(value)}")
    return number


def count(table: Table, chunks: Chunks) -> int:
    """Return how many files an array has.

    Raises
    ------
    ArgumentError
        If they are too many.
    """
    files = -(-table.shape[0] // chunks.shard)
    if files > MOST:
        raise ArgumentError(f"a .zarr has at most {MOST:,} files here; give larger shard_rows")
    return files


def arrange(tables: Sequence[Table], shards: int | None, chunks: Chunks | None) -> tuple[File, ...]:
    """Return the files of an output."""
    (table,) = tables
    assert chunks is not None
    files = []
    for start in range(0, table.shape[0], chunks.shard):
        stop = min(start + chunks.shard, table.shape[0])
        piece = replace(table, rows=(start, stop))
        row = piece.nbytes // (stop - start)
        header = functools.partial(_index, stop - start, row, chunks)
        tail = -(stop - start) % chunks.rows * row
        files.append(File(_key(start // chunks.shard, len(table.shape)), (piece,), header, tail))
    return tuple(files)


def _key(number: int, rank: int) -> str:
    return ".".join(("c", str(number), *("0" for _ in range(rank - 1))))


@functools.lru_cache(16)  # of all files but the last it is the same
def _index(rows: int, row: int, chunks: Chunks) -> bytes:
    """Return what comes before the rows of a file: nothing in a chunk, an index in a shard."""
    if chunks.rows == chunks.shard:
        return b""
    count, there = chunks.shard // chunks.rows, -(-rows // chunks.rows)
    begin, nbytes = 16 * count + 4, chunks.rows * row
    entries = np.full((count, 2), ABSENT, "<u8")
    entries[:there, 0] = begin + nbytes * np.arange(there, dtype=np.uint64)
    entries[:there, 1] = nbytes
    data = entries.tobytes()
    return data + crc32c(data).to_bytes(4, "little")


def crc32c(data: bytes) -> int:
    """Return the checksum of an index.

    Examples
    --------
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    steps = _crc_steps()
    for byte in data:
        crc = steps[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc_steps() -> list[int]:
    steps = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
        steps.append(value)
    return steps


def last(tables: Sequence[Table], chunks: Chunks | None) -> Mapping[str, bytes]:
    """Return the files that are written once all others are complete."""
    (table,) = tables
    assert chunks is not None
    described = {
        "seedbed_version": __version__,
        "stream_version": STREAM_VERSION,
        "name": table.name,
        **({} if table.seed is None else {"seed": table.seed}),
        **table.describe(),
    }
    metadata = {
        **_layout(table.shape, table.dtype, chunks),
        "attributes": {"seedbed": described},
    }
    return {METADATA: (json.dumps(metadata, indent=1) + "\n").encode()}


def _layout(shape: tuple[int, ...], dtype: np.dtype, chunks: Chunks) -> dict[str, Any]:
    """Return the metadata of an array as it is written here."""
    endian = {} if dtype.itemsize == 1 else {"configuration": {"endian": "little"}}
    codecs: list[Any] = [{"name": "bytes", **endian}]
    if chunks.rows != chunks.shard:
        sharding = {
            "chunk_shape": [chunks.rows, *shape[1:]],
            "codecs": codecs,
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
            "index_location": "start",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    zero: Any = {"b": False, "c": [0.0, 0.0], "i": 0, "u": 0}.get(dtype.kind, 0.0)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [chunks.shard, *shape[1:]]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": zero,
        "codecs": codecs,
    }


def tensors(path: Place) -> list[Tensor]:
    """Return what every file of an array holds, if it is laid out as here."""
    try:
        data = read_small(path / METADATA, MAX_METADATA)
    except FileNotFoundError:
        if isinstance(path, Remote) and is_unfinished(path):
            raise FormatError(f"{path}: is unfinished; see seedbed info {path}") from None
        raise FormatError(f"{path}: has no {METADATA}: no Zarr array, or not complete") from None
    with understanding(path / METADATA, "not a Zarr array"):
        found = mapping(parse_json(data), METADATA)
        if found.get("zarr_format") != 3 or found.get("node_type") != "array":
            raise FormatError("no array of Zarr version 3")
        shape, dtype, chunks = _array(found)
        ours = mapping(mapping(found.get("attributes", {}), "attributes").get("seedbed", {}), "")
        pieces = _pieces(path, shape, dtype, chunks, ours)
    with understanding(path, "damaged"):
        return list(pieces)


def _array(found: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype, Chunks]:
    """Return shape, dtype and chunks of an array that is laid out as here."""
    shape = naturals(found.get("shape"), "shape")
    name = text(found.get("data_type"), "data_type")
    if name not in NAMES:
        raise FormatError(f"data_type is {brief(name)}; known are {', '.join(NAMES)}")
    if not math.prod(shape):
        raise FormatError("holds no element")
    grid = mapping(mapping(found.get("chunk_grid"), "chunk_grid").get("configuration"), "grid")
    outer, *_ = naturals(grid.get("chunk_shape"), "chunk_shape", len(shape))
    inner = outer
    codecs = found.get("codecs")
    if isinstance(codecs, list) and codecs and mapping(codecs[0], "codec").get("configuration"):
        inside = mapping(codecs[0]["configuration"], "configuration").get("chunk_shape")
        inner = outer if inside is None else naturals(inside, "chunk_shape", len(shape))[0]
    dtype = as_dtype(name)
    if inner and outer and outer % inner == 0:
        chunks = Chunks(inner, outer)
        written = _layout(shape, dtype, chunks)
        found = {"storage_transformers": [], **found}
        written["storage_transformers"] = []
        if all(found.get(key) == value for key, value in written.items() if key != "fill_value"):
            return shape, dtype, chunks
    raise FormatError(
        "its chunks are not whole rows without compression, as Seedbed writes them; "
        "open it with zarr.open_array"
    )


def _pieces(
    path: Place, shape: tuple[int, ...], dtype: np.dtype, chunks: Chunks, ours: dict[str, Any]
) -> Iterator[Tensor]:
    row = math.prod(shape[1:]) * dtype.itemsize
    if -(-shape[0] // chunks.shard) > MOST or chunks.shard // chunks.rows > MAX_METADATA:
        raise FormatError("has more files, or chunks in a file, than Seedbed writes")
    metadata = {key: str(ours[key]) for key in ("seedbed_version", "stream_version") if key in ours}
    name = text(ours.get("name", "weight"), "name")
    known = ("initializer", "shape", "dtype", "kept_rows", "placed")
    description = {key: ours[key] for key in known if key in ours} if "initializer" in ours else {}
    count = -(-shape[0] // chunks.shard)
    chunk_files = {name for name in inside(path) if name.startswith("c.")}
    if other := chunk_files - {_key(number, len(shape)) for number in range(count)}:
        raise FormatError(f"{path / min(other)}: is no file of the array")
    for start in range(0, shape[0], chunks.shard):
        rows = min(chunks.shard, shape[0] - start)
        file = path / _key(start // chunks.shard, len(shape))
        header = _index(rows, row, chunks)
        size = len(header) + -(-rows // chunks.rows) * chunks.rows * row
        if size_of(file) != size:
            raise FormatError(f"{file}: must have {size:,} bytes")
        told: dict[str, Any] = {"saved_offsets": [start, *(0 for _ in shape[1:])]}
        if description:
            description = {**description, "rows": [start, start + rows]}
            if "seed" in ours:
                told["seed"] = natural(ours["seed"], "seed")
        yield Tensor(
            file,
            name,
            len(header),
            (rows, *shape[1:]),
            dtype,
            metadata,
            description or None,
            told,
            header,
        )


def joined(path: Place, pieces: Sequence[Tensor]) -> Tensor:
    """Return the array that files hold together, as a tensor of the folder."""
    first = pieces[0]
    rows = sum(piece.shape[0] for piece in pieces)
    described = first.description
    if described is not None:
        described = {key: value for key, value in described.items() if key != "rows"}
    return replace(first, file=path, shape=(rows, *first.shape[1:]), description=described)
