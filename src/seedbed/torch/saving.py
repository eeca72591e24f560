"""A model's initial weights, straight to disk, in the memory of one parameter at most."""

import contextlib
import copy
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import ArgumentError, OutputError, naming
from ..storage.atomic import opened, sync_folder, write_text
from ..storage.direct import place, read_all, room, sync, write_all
from ..tables.origin import stream_hash
from ..tables.progress import bar
from . import modules
from .checkpoints import INDEX, Chunk, File, digest_of, files_of, index_of, tensors_of

CHUNK_BYTES = 16 << 20
CHECKPOINT_SECONDS = 2.0
RECHECKED = 2  # chunks that must be right for a run to go on after them
STATE = "seedbed.json"


class Saved(NamedTuple):
    """What `save_initialized` wrote, or `verify_initialized` compared.

    Parameters
    ----------
    folder : Path
        Where it is.
    files : list of str
        The files of weights.
    values, nbytes : int
        All values, and how many bytes of them this call wrote or compared.
    wrong : str
        The first tensor that is not as it should be, and where; empty if there is none.
    """

    folder: Path
    files: list[str]
    values: int
    nbytes: int
    wrong: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return not self.wrong


def save_initialized(
    model: torch.nn.Module,
    folder: str | os.PathLike[str],
    seed: int,
    rules: modules.Rules | None = None,
    *,
    using: Callable[[Any], Any] | None = None,
    max_shard_size: int | str = "5GB",
    dtype: Any = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    allow_foreign: bool = False,
) -> Saved:
    """Write a model's initial weights as a checkpoint that Hugging Face and others load.

    The values are those that `init_module_` gives the plain model, bit for bit. They are made and
    written in chunks; a parameter that needs more than one pass, or is a matrix with orthonormal
    rows, is held whole while it is written. Until all is complete it is in ``folder + ".part"``.

    Parameters
    ----------
    model : torch.nn.Module
        On ``meta``; what has values is left as it is.
    folder : path
        Of ``model.safetensors``, or shards with ``model.safetensors.index.json``, and the model's
        configuration, where it has one.
    seed, rules, using, allow_foreign
        As for `init_module_`.
    max_shard_size : int or str
        Of a file, such as ``"5GB"``.
    dtype : torch.dtype or name, optional
        Of the floating-point parameters, which `init_module_` would give a model of that dtype.
    resume : bool
        Continue an earlier call that was interrupted, after a look at its last chunks.
    force : bool
        Replace a folder of that name, once the new one is complete; drop an unfinished one.
    progress : bool
        Show a progress bar if standard error is a terminal.

    Returns
    -------
    Saved
        What was written.

    Raises
    ------
    ArgumentError
        As `init_module_`, or if a buffer has no values.
    OutputError
        If there is something of that name already, the disk has no room, or another process is
        writing it; before any work.

    Examples
    --------
    >>> import tempfile
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(8, 4)
    >>> saved = save_initialized(model, tempfile.mkdtemp() + "/linear", seed=7)
    >>> saved.files, saved.values
    (['model.safetensors'], 36)
    """
    with naming("save_initialized"):
        session = modules.recorded(
            model,
            rules,
            seed,
            using=using,
            allow_foreign=allow_foreign,
            dtype=_dtype(dtype),
            buffers=True,
        )
        files = files_of(tensors_of(session), max_shard_size)
        folder = Path(folder)
        run = {"weights": digest_of(files), "code": stream_hash(), "torch": torch.__version__}
        partial = folder.with_name(folder.name + ".part")
        state = _starting_state(folder, partial, run, resume=resume, force=force)
        total = sum(tensor.nbytes for file in files for tensor in file.tensors)
        if state.get("complete") != run["weights"]:
            done = _write_all(partial, files, state, run, total, progress)
            _save_config(model, partial, dtype)
            if len(files) > 1:
                write_text(partial / INDEX, index_of(files))
            _publish(partial, folder, force=force)
        else:
            done = 0
        values = sum(tensor.root.meta.numel() for file in files for tensor in file.tensors)
        return Saved(folder, [file.name for file in files], values, done)


def verify_initialized(
    model: torch.nn.Module,
    folder: str | os.PathLike[str],
    seed: int,
    rules: modules.Rules | None = None,
    *,
    using: Callable[[Any], Any] | None = None,
    max_shard_size: int | str = "5GB",
    dtype: Any = None,
    progress: bool = False,
    allow_foreign: bool = False,
) -> Saved:
    """Compare a folder with what `save_initialized` writes for the same arguments.

    Returns
    -------
    Saved
        ``ok`` if all values are right; ``wrong`` names the first tensor that is not.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/linear"
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(8, 4)
    >>> _ = save_initialized(model, folder, seed=7)
    >>> verify_initialized(model, folder, seed=7).ok, verify_initialized(model, folder, seed=8).wrong
    (True, 'weight: element 0 differs')
    """
    with naming("verify_initialized"):
        session = modules.recorded(
            model,
            rules,
            seed,
            using=using,
            allow_foreign=allow_foreign,
            dtype=_dtype(dtype),
            buffers=True,
        )
        files, folder = files_of(tensors_of(session), max_shard_size), Path(folder)
        total = sum(tensor.nbytes for file in files for tensor in file.tensors)
        values = sum(tensor.root.meta.numel() for file in files for tensor in file.tensors)
        names, compared = [file.name for file in files], 0
        with bar(values, total, 0, progress) as shown:
            for file in files:
                path = folder / file.name
                if not path.is_file() or path.stat().st_size != file.size:
                    return Saved(folder, names, values, compared, f"{file.name}: is not there whole")
                with path.open("rb", buffering=0) as opened_file:
                    fd = opened_file.fileno()
                    if os.pread(fd, len(file.header), 0) != file.header:
                        return Saved(folder, names, values, compared, f"{file.name}: other header")
                    for chunk, whole in _with_whole(file.chunks(CHUNK_BYTES)):
                        at = _difference(fd, chunk, whole)
                        if at is not None:
                            wrong = f"{chunk.tensor.name}: element {at} differs"
                            return Saved(folder, names, values, compared, wrong)
                        compared += chunk.nbytes
                        shown.update(chunk.nbytes)
        return Saved(folder, names, values, compared)


def _dtype(dtype: Any) -> torch.dtype | None:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found is None and dtype is None:
        return None
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ArgumentError(f"dtype must be a floating-point dtype of PyTorch; given {dtype!r}")
    return found


def _starting_state(
    folder: Path, partial: Path, run: dict[str, str], *, resume: bool, force: bool
) -> dict[str, Any]:
    """Return how far an earlier run is; refuse to touch what is there without leave."""
    if not folder.parent.is_dir():
        raise OutputError(f"{folder}: there is no folder {folder.parent}")
    if folder.exists() and not force:
        if resume and not partial.exists():
            return {"complete": run["weights"]} if _is_complete(folder, run) else _refuse(folder)
        if not folder.is_dir() or any(folder.iterdir()):
            _refuse(folder)
    if not partial.exists():
        return {"done": 0}
    if not resume and not force:
        raise OutputError(f"{partial}: is there from an earlier run; resume=True continues it, "
                          "force=True starts again")
    if not resume:
        return {"done": 0}
    try:
        state = json.loads((partial / STATE).read_bytes())
        there, done = state["run"], int(state["done"])
    except FileNotFoundError:
        return {"done": 0}
    except (ValueError, TypeError, KeyError):
        raise OutputError(f"{partial / STATE}: damaged; force=True starts again") from None
    if there != run:
        raise OutputError(f"{partial}: of another run; force=True starts again")
    return {"done": done}


def _refuse(folder: Path) -> Any:
    raise OutputError(f"{folder}: exists; force=True replaces it")


def _is_complete(folder: Path, run: dict[str, str]) -> bool:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return json.loads((folder / STATE).read_bytes())["run"]["weights"] == run["weights"]
    return False


def _write_all(
    partial: Path,
    files: list[File],
    state: dict[str, Any],
    run: dict[str, str],
    total: int,
    progress: bool,
) -> int:
    """Write the chunks that are missing; return how many bytes."""
    partial.mkdir(exist_ok=True)
    _check_space(partial, sum(file.size for file in files) - state["done"])
    with contextlib.ExitStack() as stack:
        fds = {f.name: stack.enter_context(opened(partial / f.name, 1, 1)) for f in files}
        for file in files:
            if not state["done"]:
                os.ftruncate(fds[file.name], 0)
            os.ftruncate(fds[file.name], file.size)
            write_all(fds[file.name], np.frombuffer(file.header, np.uint8), 0)
        chunks = [chunk for file in files for chunk in file.chunks(CHUNK_BYTES)]
        first, done = _resume_point(chunks, fds, state["done"])
        journal = _Journal(partial, fds, run, done)
        journal.save()
        values = sum(chunk.end - chunk.begin for chunk in chunks)
        with bar(values, total, done, progress) as shown:
            journal.write(chunks[first:], shown)
        journal.save()
    return total - done


def _check_space(partial: Path, needed: int) -> None:
    there = sum(one.stat().st_blocks * 512 for one in partial.iterdir() if one.is_file())
    free = shutil.disk_usage(partial).free
    if needed - there > free:
        raise OutputError(f"{partial}: {needed:,} bytes are needed, {free:,} are free")


class _Journal:
    """Writes chunks on a thread of its own, and notes now and then how many are on the disk."""

    def __init__(self, partial: Path, fds: dict[str, int], run: dict[str, str], done: int) -> None:
        self._partial, self._fds, self._run, self._done = partial, fds, run, done
        self._last = time.monotonic()

    def save(self) -> None:
        """Flush what is written, then say so."""
        for fd in self._fds.values():
            sync(fd)
        write_text(self._partial / STATE, json.dumps({"run": self._run, "done": self._done}) + "\n")
        self._last = time.monotonic()

    def write(self, chunks: list[Chunk], shown: Any) -> None:
        """Make chunks and have them written, while the next ones are made."""
        spare = [room(CHUNK_BYTES) for _ in range(3)]
        written: deque[tuple[Future[None], np.ndarray]] = deque()
        thread = ThreadPoolExecutor(1, thread_name_prefix="seedbed-writer")
        try:
            for chunk, whole in _with_whole(iter(chunks)):
                if not spare:
                    future, memory = written.popleft()
                    future.result()
                    spare.append(memory)
                memory = spare.pop()
                data = memory[place(chunk.offset, chunk.nbytes)]
                chunk.make(data, whole)
                written.append((thread.submit(self._put, chunk, data, shown), memory))
            for future, _ in written:
                future.result()
        finally:
            thread.shutdown(cancel_futures=True)

    def _put(self, chunk: Chunk, data: np.ndarray, shown: Any) -> None:
        write_all(self._fds[chunk.file], data, chunk.offset)
        self._done += chunk.nbytes
        shown.update(chunk.nbytes)
        if time.monotonic() - self._last >= CHECKPOINT_SECONDS:
            self.save()


def _with_whole(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, torch.Tensor | None]]:
    """Yield chunks with all values of their tensor, where no window of it can be made alone."""
    whole, of = None, None
    for chunk in chunks:
        if chunk.tensor is not of:
            whole, of = None, chunk.tensor
            if not chunk.tensor.root.windowed:
                with torch.no_grad():
                    whole = chunk.tensor.root.made().cpu()
        yield chunk, whole


def _resume_point(chunks: list[Chunk], fds: dict[str, int], done: int) -> tuple[int, int]:
    """Return how many chunks, and bytes, to go on after: the last of them are right there."""
    count, end = 0, 0
    while count < len(chunks) and end + chunks[count].nbytes <= done:
        end += chunks[count].nbytes
        count += 1
    right = 0
    at, at_end = count, end
    while at > 0 and right < RECHECKED:
        at -= 1
        chunk = chunks[at]
        at_end -= chunk.nbytes
        ((_, whole),) = _with_whole(iter([chunk]))
        if _difference(fds[chunk.file], chunk, whole) is None:
            right += 1
        else:
            count, end, right = at, at_end, 0
    return count, end


def _difference(fd: int, chunk: Chunk, whole: torch.Tensor | None) -> int | None:
    """Return the number of the first element that a file does not hold as it should."""
    where = place(chunk.offset, chunk.nbytes)
    there, right = room(chunk.nbytes)[where], room(chunk.nbytes)[where]
    read_all(fd, there, chunk.offset)
    chunk.make(right, whole)
    if np.array_equal(there, right):
        return None
    return chunk.begin + int((there != right).argmax()) // chunk.tensor.dtype.itemsize


def _save_config(model: Any, folder: Path, dtype: Any) -> None:
    """Write a model's configuration, where it has one as Hugging Face's have."""
    config = getattr(model, "config", None)
    if hasattr(config, "save_pretrained"):
        config = copy.deepcopy(config)
        config.architectures = [type(model).__name__.removeprefix("FSDP")]
        if dtype is not None:
            config.dtype = _dtype(dtype)
        config.save_pretrained(folder)
    generation = getattr(model, "generation_config", None)
    if hasattr(generation, "save_pretrained"):
        generation.save_pretrained(folder)


def _publish(partial: Path, folder: Path, *, force: bool) -> None:
    """Give the folder its name: the old one of that name, if there is, goes first."""
    for one in partial.iterdir():
        with one.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(partial)
    old = folder.with_name(folder.name + ".old")
    if force and folder.is_dir() and any(folder.iterdir()):
        os.rename(folder, old)
    os.rename(partial, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
