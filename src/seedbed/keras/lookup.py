"""Initializers by name and by configuration, as `keras.initializers` finds its own."""

import inspect
from typing import Any

import keras

from ..initializers import registry
from . import classes
from .initializer import Initializer

BY_NAME: dict[str, type] = {
    name: Initializer if kind is registry.Initializer else getattr(classes, kind.__name__)
    for name, kind in registry.BY_NAME.items()
}


def get(identifier: Any) -> Any:
    """Return the initializer that an identifier means, as `keras.initializers.get` does.

    Parameters
    ----------
    identifier : str, dict, class, callable, tensor or None
        A name or a configuration, of Keras' or of Seedbed's, is one of `seedbed.keras`; a tensor
        becomes a callable for its own shape, a class is called, and a callable is returned.

    Raises
    ------
    ValueError
        If there is no such initializer.

    Examples
    --------
    >>> import seedbed.keras
    >>> type(seedbed.keras.get("he_normal")) is seedbed.keras.HeNormal
    True
    """
    if isinstance(identifier, (str, dict)):
        found = deserialize(identifier)
        return found() if inspect.isclass(found) else found
    return keras.initializers.get(identifier)


def serialize(initializer: Any) -> dict[str, Any]:
    """Return an initializer's configuration, as `keras.initializers.serialize` does.

    Examples
    --------
    >>> import seedbed.keras
    >>> serialize(seedbed.keras.Zeros())["registered_name"]
    'seedbed>Zeros'
    """
    return keras.initializers.serialize(initializer)  # pyright: ignore[reportReturnType]


def deserialize(config: dict[str, Any] | str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the initializer of a configuration, whether Keras or Seedbed wrote it.

    Parameters
    ----------
    config : dict or str
        As `seedbed.initializers.deserialize` takes it.
    custom_objects : dict, optional
        Further classes by name, besides those that are registered with Keras.

    Raises
    ------
    ValueError
        If the name is unknown or the configuration does not fit the class.

    Examples
    --------
    >>> import seedbed.keras
    >>> config = {"class_name": "RandomNormal", "config": {"stddev": 0.02}}
    >>> type(seedbed.keras.deserialize(config)) is seedbed.keras.RandomNormal
    True
    """
    known = {
        name: kind
        for name, kind in keras.saving.get_custom_objects().items()
        if not name.startswith(f"{registry.PACKAGE}>")
    }
    return registry.deserialize(config, {**known, **(custom_objects or {})}, BY_NAME)
