"""What goes into a checkpoint of a model: tensors, files, and where in them everything is."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import initializers
from ..errors import ArgumentError
from ..storage.direct import PAGE
from ..values.dtypes import as_dtype
from ..values.window import windows
from .layouts import has_values
from .names import Member
from .session import Session
from .standins import Root
from .steps import Copy, Draw, Operation, Write

CHUNK_BYTES = 16 << 20
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint.

    Parameters
    ----------
    name : str
        As a state dict has it.
    root : Root
        What makes its values.
    """

    name: str
    root: Root

    @property
    def dtype(self) -> torch.dtype:
        """Of its elements."""
        return self.root.meta.dtype

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.root.meta.numel() * self.dtype.itemsize


class Chunk(NamedTuple):
    """Elements `begin` to `end` of a tensor, in a file from byte `offset`."""

    file: str
    tensor: Tensor
    offset: int
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return (self.end - self.begin) * self.tensor.dtype.itemsize

    def make(self, memory: np.ndarray, whole: torch.Tensor | None) -> None:
        """Make the values in memory of that many bytes; `whole` has them where windows cannot."""
        root = self.tensor.root
        out = torch.from_numpy(memory).view(self.tensor.dtype)
        if whole is not None:
            out.copy_(whole.reshape(-1)[self.begin : self.end])
            return
        done = 0
        for window in windows(root.shape, self.begin, self.end):
            lengths = [part.stop - part.start for part in window]
            count = math.prod(lengths)
            root.write(out[done : done + count].view(lengths), window)
            done += count


@dataclass(frozen=True)
class File:
    """A file of a checkpoint, in the safetensors format."""

    name: str
    tensors: tuple[Tensor, ...]

    @property
    def header(self) -> bytes:
        """All before the data, which begin at a page."""
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for tensor in self.tensors:
            begin, end = end, end + tensor.nbytes
            entries[tensor.name] = {
                "dtype": CODES[tensor.dtype],
                "shape": list(tensor.root.shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % PAGE)
        return len(text).to_bytes(8, "little") + text

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)

    def chunks(self, nbytes: int) -> Iterator[Chunk]:
        """Yield all elements in pieces of at most so many bytes."""
        offset = len(self.header)
        for tensor in self.tensors:
            step = max(nbytes // tensor.dtype.itemsize, 1)
            count = tensor.root.meta.numel()
            for begin in range(0, count, step):
                end = min(begin + step, count)
                yield Chunk(self.name, tensor, offset + begin * tensor.dtype.itemsize, begin, end)
            offset += tensor.nbytes


def tensors_of(session: Session) -> list[Tensor]:
    """Return what a state dict of the model would hold, each tensor once.

    Raises
    ------
    ArgumentError
        If a buffer has values neither in memory nor by the initialization, or a dtype that the
        format has not.
    """
    ignored = set(getattr(session.model, "_keys_to_ignore_on_save", None) or ())
    found = []
    for one in session.members.values():
        name = session.saved_name(one)
        if one.tied_to is not None or name in ignored or (one.buffer and not _is_saved(one)):
            continue
        root = session.roots[one.name]
        if not root.complete:
            if one.layout.sharded or not has_values(one.tensor):
                raise ArgumentError(
                    f"{one.name}: has no values, and the model's initialization sets none; give "
                    "using= that does"
                )
            with torch.no_grad():
                root.value = root.made()
        if root.meta.dtype not in CODES:
            raise ArgumentError(f"{one.name}: the safetensors format has no {root.meta.dtype}")
        found.append(Tensor(name, root))
    return found


def _is_saved(one: Member) -> bool:
    place = one.places[0]
    return place.attribute not in place.module._non_persistent_buffers_set


def files_of(tensors: list[Tensor], max_shard_size: int | str) -> list[File]:
    """Return files of at most that size, unless a tensor is larger, named as Hugging Face does."""
    limit, groups, total = parsed_size(max_shard_size), [[]], 0
    for tensor in tensors:
        if groups[-1] and total + tensor.nbytes > limit:
            groups.append([])
            total = 0
        groups[-1].append(tensor)
        total += tensor.nbytes
    if len(groups) == 1:
        return [_file(WEIGHTS, groups[0])]
    of = len(groups)
    name = WEIGHTS.replace(".", "-{:05d}-of-{:05d}.")
    return [_file(name.format(number, of), group) for number, group in enumerate(groups, 1)]


def _file(name: str, tensors: list[Tensor]) -> File:
    return File(name, tuple(sorted(tensors, key=lambda one: -one.dtype.itemsize)))  # aligned


def parsed_size(size: int | str) -> int:
    """Return a number of bytes.

    Examples
    --------
    >>> parsed_size("5GB"), parsed_size("1.5 MiB")
    (5000000000, 1572864)
    """
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\s*", str(size).upper())
    if not match or isinstance(size, bool) or not float(match.group(1)):
        raise ArgumentError(f"max_shard_size must be such as '5GB' or 500_000_000; given {size!r}")
    number, unit, binary = match.groups()
    scale = 1024 ** " KMGT".index(unit or " ") if binary else UNITS[unit]
    return max(int(float(number) * scale), 1)


def index_of(files: list[File]) -> str:
    """Return the text of the index of several files."""
    tensors = [(tensor, file) for file in files for tensor in file.tensors]
    metadata = {
        "total_parameters": sum(tensor.root.meta.numel() for tensor, _ in tensors),
        "total_size": sum(tensor.nbytes for tensor, _ in tensors),
    }
    weights = {tensor.name: file.name for tensor, file in sorted(tensors, key=lambda p: p[0].name)}
    return json.dumps({"metadata": metadata, "weight_map": weights}, indent=2) + "\n"


def digest_of(files: list[File]) -> str:
    """Return a SHA-256 of all that the files' bytes depend on, but for the code."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.header)
        for tensor in file.tensors:
            digest.update(json.dumps(described(tensor.root)).encode() + b"\0")
    return digest.hexdigest()


def described(root: Root) -> Any:
    """Return what makes the values of a tensor, as JSON."""
    if root.value is not None:
        return {"values": _hash(root.value)}
    steps: list[Any] = []
    for step in root.steps:
        view = [list(step.view.shape), list(step.view.stride()), step.view.storage_offset()]
        if isinstance(step, Operation):
            steps.append([view, step.name, repr(step.args), repr(step.kwargs)])
        elif isinstance(step, Copy):
            source = step.source
            what = _hash(source) if isinstance(source, torch.Tensor) else described(source)
            steps.append([view, "copy_", what])
        elif isinstance(step, Write):
            steps.append([view, type(step.init).__name__, _config(step)])
    return {"dtype": str(root.meta.dtype), "shape": list(root.shape), "steps": steps}


def _config(step: Write) -> str:
    seed = step.holder.seed if isinstance(step, Draw) else None
    return f"{step.init!r} {seed}"


def _hash(tensor: torch.Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def described_by_initializer(root: Root) -> tuple[initializers.Initializer, int | None] | None:
    """Return the initializer, and its seed, that makes all values of a tensor; None without one."""
    if root.value is not None or len(root.steps) != 1:
        return None
    (step,) = root.steps
    if tuple(step.view.shape) != root.shape or not hasattr(initializers, _kind(step)):
        return None
    if isinstance(step, Draw):
        return step.init, step.holder.seed
    if isinstance(step, Write):
        seed = getattr(step.init, "seed", None)
        return step.init, seed if isinstance(seed, int) else None
    if isinstance(step, Operation):
        value = step.args[0] if step.args else 0
        value = value if as_dtype(root.meta.dtype).kind in "bc" else float(value)
        constant = initializers.Zeros() if value == 0 else initializers.Constant(value)
        return (initializers.Ones() if value == 1 else constant), None
    return None


def _kind(step: Any) -> str:
    return type(step.init).__name__ if isinstance(step, Write) else "Constant"
