"""The `.npy` format: one nameless array, without metadata. The bytes are those of `numpy.save`."""

import io
import math
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from .table import Table

SUFFIX = ".npy"
NAMELESS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # in this format
Entries = dict[str, tuple[int, tuple[int, ...], np.dtype]]


def arrange(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Return the tables in the order in which they go into the file."""
    if len(tables) != 1:
        names = ", ".join(table.name for table in tables)
        raise ValueError(f".npy holds one table; given {names}: write .safetensors")
    if tables[0].dtype.name in NAMELESS:
        name = tables[0].dtype.name
        raise ValueError(f".npy has no {name}; write .safetensors, which has")
    return tuple(tables)


def header(tables: Sequence[Table]) -> bytes:
    """Return the bytes before the data: version 1 of the format, or 2 for a very long shape."""
    (table,) = tables
    fields = {
        "descr": npy.dtype_to_descr(table.dtype),
        "fortran_order": False,
        "shape": table.stored_shape,
    }
    file = io.BytesIO()
    try:
        npy.write_array_header_1_0(file, fields)
    except ValueError:
        npy.write_array_header_2_0(file, fields)
    return file.getvalue()


def read(file: BinaryIO, path: Path) -> tuple[Entries, dict[str, str]]:
    """Return offset, shape and dtype of the array in a file by its name, "", and no metadata."""
    try:
        version = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(file)
    except (ValueError, TypeError, KeyError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"{path}: not a .npy file: {error}") from None
    if fortran and len(shape) > 1:
        raise ValueError(f"{path}: is in Fortran order; tables are in C order")
    offset, size = file.tell(), path.stat().st_size
    if offset + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{path}: of {size} bytes, does not hold {shape} of {dtype.name}")
    return {"": (offset, shape, dtype)}, {}
