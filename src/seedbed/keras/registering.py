"""Names under which Keras, and `tf_keras`, find the classes of saved models."""

import sys

import keras

from ..values.seeds import SeedGenerator


def register(kind: type) -> None:
    """Register a class under ``seedbed``, or one of the user's under its module's name.

    Without a name of its own a class that is called like one of Keras would load as that one.
    """
    module = kind.__module__
    package = "seedbed" if module.split(".")[0] == "seedbed" else module
    keras.saving.register_keras_serializable(package)(kind)
    if sys.modules.get("tf_keras"):
        _register_in_tf_keras(package, kind)


def register_tf_keras() -> None:
    """Register all initializers with `tf_keras`, which has been imported after `seedbed.keras`.

    Examples
    --------
    >>> import tf_keras  # doctest: +SKIP
    >>> register_tf_keras()  # doctest: +SKIP
    >>> tf_keras.initializers.get("seedbed>HeNormal")  # doctest: +SKIP
    """
    from .initializer import Initializer

    for name, kind in keras.saving.get_custom_objects().items():
        if kind is SeedGenerator or (isinstance(kind, type) and issubclass(kind, Initializer)):
            _register_in_tf_keras(name.split(">")[0], kind)


def _register_in_tf_keras(package: str, kind: type) -> None:
    import tf_keras

    tf_keras.utils.register_keras_serializable(package)(kind)


register(SeedGenerator)
