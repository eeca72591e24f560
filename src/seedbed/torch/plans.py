"""A plan of a model's weights, which ``seedbed table --plan`` writes without PyTorch."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..errors import ArgumentError, naming
from ..storage.atomic import Folder, failing
from ..values.dtypes import as_dtype
from ..values.seeds import check_master, derive
from . import modules
from .checkpoints import Tensor, described_by_initializer, files_of, tensors_of
from .saving import as_floating, save_config


def plan(
    model: torch.nn.Module,
    rules: modules.Rules | int | None = None,
    seed: int | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    using: Callable[[Any], Any] | None = None,
    max_shard_size: int | str = "5GB",
    dtype: Any = None,
) -> str:
    """Return the plan, a TOML file, that writes what `save_initialized` would.

    ``seedbed table --plan model.toml --hf`` then writes it: on any machine, in parts by several
    processes, on a GPU, without PyTorch.

    Parameters
    ----------
    model : torch.nn.Module
        On ``meta``.
    rules, seed, using
        As for `init_module_`.
    path : path, optional
        Write it there, and the model's configuration beside it, where it has one.
    max_shard_size, dtype
        As for `save_initialized`.

    Returns
    -------
    str
        The text.

    Raises
    ------
    ArgumentError
        If a tensor is not what one initializer of `seedbed.initializers` makes: an embedding with a
        row of zeros for padding, a packed matrix. `save_initialized` writes those, too.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(8, 4)
    >>> print(plan(model, {"bias": "zeros", "weight": "glorot_uniform"}, seed=7))
    seed = 7
    <BLANKLINE>
    [[table]]
    name = "weight"
    shape = [4, 8]
    dtype = "float32"
    initializer = "glorot_uniform"
    file = "model.safetensors"
    <BLANKLINE>
    [[table]]
    name = "bias"
    shape = [4]
    dtype = "float32"
    initializer = "zeros"
    file = "model.safetensors"
    <BLANKLINE>
    """
    with naming("plan"):
        if isinstance(rules, int) and seed is None:
            rules, seed = None, rules
        session = modules.recorded(
            model, rules, seed, using=using, dtype=as_floating(dtype), buffers=True
        )
        master = check_master(seed)
        text = f"seed = {master}\n"
        for file in files_of(tensors_of(session), max_shard_size):
            for tensor in file.tensors:
                text += _entry(tensor, file.name, master)
        if path is not None:
            path = Path(path)
            with failing(path), Folder(path.parent) as folder:
                folder.write_text(path.name, text)
                save_config(model, path.parent, dtype)
    return text


def _entry(tensor: Tensor, file: str, master: int) -> str:
    found = described_by_initializer(tensor.root)
    if found is None:
        raise ArgumentError(
            f"{tensor.name}: no single initializer makes it; save_initialized writes such tensors"
        )
    init, seed = found
    arguments = {
        name: value
        for name, value in init.get_config().items()
        if name != "seed" and value is not None
    }
    kind = type(init).__name__
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind)
    lines = {
        "name": json.dumps(tensor.name),
        "shape": str(list(tensor.root.shape)),
        "dtype": json.dumps(as_dtype(tensor.dtype).name),
        "initializer": json.dumps(words.strip("_")),
    }
    if arguments:
        inner = ", ".join(f"{name} = {_toml(value)}" for name, value in arguments.items())
        lines["arguments"] = f"{{ {inner} }}"
    if seed is not None and seed != derive(master, tensor.name):
        lines["seed"] = str(seed)
    lines["file"] = json.dumps(file)
    return "\n[[table]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def _toml(value: Any) -> str:
    if (isinstance(value, float) and value != value) or value in (float("inf"), -float("inf")):
        return str(value)
    return json.dumps(value)
