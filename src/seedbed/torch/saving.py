"""A model's initial weights, straight to disk, in the memory of one parameter at most."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import ArgumentError, naming
from ..tables.progress import bar
from ..values.digest import stream_hash
from . import modules
from .checkpoints import CHUNK_BYTES, digest_of, files_of, tensors_of
from .writing import Job, difference, with_whole


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
            dtype=as_floating(dtype),
            buffers=True,
        )
        files = files_of(tensors_of(session), max_shard_size)
        run = {"weights": digest_of(files), "code": stream_hash(), "torch": torch.__version__}
        job = Job(Path(folder), files, run, resume=resume, force=force)
        done = job.run(lambda partial: save_config(model, partial, dtype), progress)
        return Saved(job.folder, [file.name for file in files], job.values, done)


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
    >>> verify_initialized(model, folder, seed=7).ok
    True
    >>> verify_initialized(model, folder, seed=8).wrong
    'weight: element 0 differs'
    """
    with naming("verify_initialized"):
        session = modules.recorded(
            model,
            rules,
            seed,
            using=using,
            allow_foreign=allow_foreign,
            dtype=as_floating(dtype),
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
                    return Saved(
                        folder, names, values, compared, f"{file.name}: is not there whole"
                    )
                with path.open("rb", buffering=0) as opened_file:
                    fd = opened_file.fileno()
                    if os.pread(fd, len(file.header), 0) != file.header:
                        return Saved(folder, names, values, compared, f"{file.name}: other header")
                    for chunk, whole in with_whole(file.chunks(CHUNK_BYTES)):
                        at = difference(fd, chunk, whole)
                        if at is not None:
                            wrong = f"{chunk.tensor.name}: element {at} differs"
                            return Saved(folder, names, values, compared, wrong)
                        compared += chunk.nbytes
                        shown.update(chunk.nbytes)
        return Saved(folder, names, values, compared)


def as_floating(dtype: Any) -> torch.dtype | None:
    """Return a floating-point dtype of PyTorch, or None."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found is None and dtype is None:
        return None
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ArgumentError(f"dtype must be a floating-point dtype of PyTorch; given {dtype!r}")
    return found


def save_config(model: Any, folder: Path, dtype: Any) -> None:
    """Write a model's configuration, where it has one as Hugging Face's have."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "save_pretrained"):
        config = copy.deepcopy(config)
        config.architectures = [type(model).__name__.removeprefix("FSDP")]
        if dtype is not None:
            config.dtype = as_floating(dtype)
        config.save_pretrained(folder)
    generation: Any = getattr(model, "generation_config", None)
    if hasattr(generation, "save_pretrained"):
        generation.save_pretrained(folder)
