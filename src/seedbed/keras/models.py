"""New values for the weights of a model that is built."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state

from ..errors import ArgumentTypeError
from .scopes import Scope
from .twins import Drawn


def init_model_(
    model: Any,
    seed: int,
    *,
    keep_seeds: bool = False,
    names: Callable[[str], str] | None = None,
) -> Any:
    """Give the weights of a built model or layer new values, those that `scope` gives.

    Each layer is built again, without values, to see which initializer it names for which weight.
    For that it needs a configuration, as every layer of Keras has one.

    Parameters
    ----------
    model : keras.Model or keras.Layer
        Built: its weights exist. On PyTorch they may be on ``meta``; then they are made on the
        current device.
    seed, keep_seeds, names
        As in `scope`.

    Returns
    -------
    keras.Model or keras.Layer
        `model`.

    Warns
    -----
    UserWarning
        Once for all weights whose initializers are not known, which are left as they are.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as said above.

    Examples
    --------
    >>> import keras
    >>> from seedbed import initializers, seeds
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> kernel = init_model_(model, seed=7).layers[0].kernel
    >>> values = initializers.GlorotUniform(seeds.derive(7, kernel.path))((8, 4))
    >>> bool((keras.ops.convert_to_numpy(kernel) == values).all())
    True
    """
    if not isinstance(model, keras.layers.Layer):
        raise ArgumentTypeError(f"model must be a Keras model or layer; given {model!r}").named(
            "init_model_"
        )
    settings = Scope(seed, keep_seeds, names, "init_model_")
    named = _named(model)
    for weight in {id(weight): weight for weight in model.weights}.values():
        if id(weight) in named:
            init, layer = named[id(weight)]
            _set(weight, settings.initializer(weight.path, init, layer, weight))
        else:
            settings.left[weight.path] = None
    settings.tell()
    return model


Named = dict[int, tuple[Any, Any]]  # by the identity of a weight: its initializer and its layer


def _named(layer: Any) -> Named:
    """Return the initializers of a layer's weights, as far as they are known.

    Each of its layers is asked, the inner ones first: the configuration of an outer one need not
    hold what the inner were made with.
    """
    found: Named = {}
    for inner in layer._layers:
        found = {**_named(inner), **found}
    if all(id(weight) in found for weight in layer.weights):
        return found
    return {**_rebuilt(layer), **found}


def _rebuilt(layer: Any) -> Named:
    """Return the initializers that an equal layer asks for when it is built.

    There are none if the layer has no configuration, or the other makes other weights.
    """
    with _traceless():
        try:
            again = _like(layer)
            again.build_from_config(layer.get_build_config())
        except Exception:
            return {}
        owners = {id(weight): inner for inner in again._flatten_layers() for weight in _own(inner)}
        for mine, its in ((layer.weights, again.weights), (_own(layer), _own(again))):
            if [tuple(weight.shape) for weight in mine] == [tuple(other.shape) for other in its]:
                return {
                    id(weight): (other._initializer, owners[id(other)])
                    for weight, other in zip(mine, its, strict=True)
                }
    return {}


def _own(layer: Any) -> list[Any]:
    return layer._trainable_variables + layer._non_trainable_variables


def _like(layer: Any) -> Any:
    """Return a layer of the same configuration, with the very initializers of the layer."""
    config = layer.get_config()
    kept = {}
    for name in [name for name in config if name.endswith("initializer")]:
        for attribute in (name, f"_{name}"):
            if attribute in vars(layer):
                kept[attribute], config[name] = vars(layer)[attribute], "zeros"
    again = type(layer).from_config(config)
    for attribute, init in kept.items():
        setattr(again, attribute, init)
    return again


@contextlib.contextmanager
def _traceless() -> Iterator[None]:
    """Make variables without values, that leave no trace in what Keras numbers and keeps."""
    numbers = global_state.get_global_attribute("object_name_uids")
    waiting = global_state.get_global_attribute("uninitialized_variables")
    counts = None if numbers is None else numbers.copy()
    variables = None if waiting is None else list(waiting)
    try:
        with warnings.catch_warnings(), keras.StatelessScope(initialize_variables=False):
            warnings.simplefilter("ignore")  # of functions that a configuration does not hold
            yield
    finally:
        global_state.set_global_attribute("object_name_uids", counts)
        global_state.set_global_attribute("uninitialized_variables", variables or [])


def _set(weight: Any, init: Any) -> None:
    """Give a variable the values of an initializer: in place, or in the place of the old ones."""
    backend = keras.backend.backend()
    if backend == "torch":
        _set_in_torch(weight, init)
    elif backend == "jax" and not keras.config.is_nnx_enabled():
        weight._value = None  # not beside the new ones in memory
        weight._initialize_with_initializer(init)
    else:
        weight.assign(init(tuple(weight.shape), dtype=weight._dtype))


def _set_in_torch(weight: Any, init: Any) -> None:
    import torch
    from keras.src.backend.torch.core import get_device

    tensor = weight._value
    if tensor.is_meta:
        device = get_device()
        made = torch.nn.Parameter(torch.empty_like(tensor, device=device), tensor.requires_grad)
        torch.utils.swap_tensors(tensor, made)  # whoever holds the parameter has the new one
    if isinstance(init, Drawn):
        from ..torch.tensors import write

        write(tensor, init.init)
        return
    with torch.no_grad():
        tensor.copy_(init(tuple(weight.shape), dtype=weight._dtype))
