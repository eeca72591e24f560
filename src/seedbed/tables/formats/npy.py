"""The `.npy` format: one nameless array, without metadata. The bytes are those of `numpy.save`."""

import ast
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ...errors import ArgumentError, FormatError, brief
from ...storage.foreign import understanding
from ...storage.places import Opened, Place, opened
from ..layout import Chunks, File, Tensor
from ..table import Table

NAME: str = ".npy"
SUFFIX: str = NAME
NAMELESS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # in this format
MAX_HEADER = 10_000  # bytes: NumPy reads no more of strangers
LENGTHS = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # bytes that say how long a header is, by version
_KEYS = ["descr", "fortran_order", "shape"]


def arrange(tables: Sequence[Table], shards: int | None, chunks: Chunks | None) -> tuple[File, ...]:
    """Return the file of an output."""
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables)
        raise ArgumentError(f".npy holds one table; given {names}: write .safetensors")
    (table,) = tables
    if table.dtype.name in NAMELESS:
        raise ArgumentError(f".npy has no {table.dtype.name}; write .safetensors, which has")
    return (File("", (table,), lambda: header(table)),)


def last(tables: Sequence[Table], chunks: Chunks | None) -> Mapping[str, bytes]:
    """Return nothing: no further file is needed."""
    return {}


def header(table: Table) -> bytes:
    """Return the bytes before the data."""
    fields = {
        "descr": npy.dtype_to_descr(table.dtype),
        "fortran_order": False,
        "shape": table.stored_shape,
    }
    file = io.BytesIO()
    npy.write_array_header_1_0(file, fields)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def tensors(path: Place) -> list[Tensor]:
    """Return the array in a file."""
    with understanding(path, "not a .npy file"), opened(path) as file:
        size = file.size
        length, text = _header(file)
        shape, fortran, dtype = _fields(text)
        if fortran and len(shape) > 1:
            raise FormatError(f"{path}: is in Fortran order; tables are in C order")
        if length + math.prod(shape) * dtype.itemsize != size:
            raise FormatError(f"{path}: of {size:,} bytes, does not hold {shape} of {dtype.name}")
    return [Tensor(path, "", length, shape, dtype)]


def _header(file: Opened) -> tuple[int, str]:
    """Return how many bytes come before the data, and the text among them."""
    start = _read(file, 8, 0)
    if start[:6] != npy.MAGIC_PREFIX:
        raise FormatError("it does not begin with \\x93NUMPY")
    version = (start[6], start[7])
    if version not in LENGTHS:
        raise FormatError(f"of version {version[0]}.{version[1]}; known are 1.0, 2.0 and 3.0")
    begin = 8 + LENGTHS[version]
    length = int.from_bytes(_read(file, LENGTHS[version], 8), "little")
    if length > MAX_HEADER:
        raise FormatError(f"its header has {length:,} bytes; at most {MAX_HEADER:,} are read")
    text = _read(file, length, begin).decode("utf-8" if version == (3, 0) else "latin1")
    return begin + length, text


def _read(file: Opened, count: int, offset: int) -> bytes:
    if offset + count > file.size:
        raise FormatError("it ends within its header")
    data = bytearray(count)
    file.fill(data, offset)
    return bytes(data)


def _fields(text: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and dtype that a header says, which is a Python dictionary."""
    # Of one pair of braces and one of parentheses: nothing can be deep, and nothing long.
    if not re.fullmatch(r" *\{[^][(){}]*\([0-9 ,L]*\)[^][(){}]*\}[ \n]*", text):
        raise FormatError(f"header {brief(text)}")
    text = re.sub(r"([0-9])L", r"\1", text)  # of Python 2
    node = ast.parse(text.strip(" \n"), mode="eval").body
    if not isinstance(node, ast.Dict):
        raise FormatError(f"header {brief(text)}")
    keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
    if sorted(map(str, keys)) != _KEYS or len(node.keys) != len(_KEYS):
        raise FormatError(f"its header has keys {brief(keys)}, not {', '.join(_KEYS)}")
    found: dict[str, Any] = ast.literal_eval(node)
    descr, fortran, shape = (found[key] for key in _KEYS)
    if not isinstance(descr, str) or type(fortran) is not bool:
        raise FormatError(f"descr is {brief(descr)}, fortran_order {brief(fortran)}")
    if not isinstance(shape, tuple) or not all(type(s) is int and 0 <= s < 2**63 for s in shape):
        raise FormatError(f"shape must be a tuple of integers of at least 0; given {brief(shape)}")
    if len(shape) > 64:
        raise FormatError(f"of {len(shape)} axes; NumPy has 64")
    dtype = np.dtype(descr)
    if dtype.hasobject or dtype.kind in "VSU" or dtype.itemsize == 0:
        raise FormatError(f"descr is {brief(descr)}; tables hold numbers")
    return shape, fortran, dtype
