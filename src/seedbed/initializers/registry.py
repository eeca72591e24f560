"""Initializers by name and by configuration."""

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, brief, naming
from ..values.dtypes import as_dtype
from ..values.request import check_shape
from .arguments import PLAIN, as_array, is_array, serialized
from .constants import Constant, Identity, Ones, Zeros
from .initializer import Initializer, RandomInitializer
from .orthogonal import DeltaOrthogonal, Orthogonal
from .random import RandomNormal, RandomUniform, TruncatedNormal
from .stft import STFT
from .variance_scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

PACKAGE = "seedbed"
LIBRARIES = (PACKAGE, "keras", "tf_keras", "tensorflow")  # whose classes are meant by their names
CLASSES: dict[str, type[Initializer]] = {
    "constant": Constant,
    "delta_orthogonal": DeltaOrthogonal,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "identity": Identity,
    "initializer": Initializer,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "stft": STFT,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "zeros": Zeros,
}
ALIASES: dict[str, type[Initializer]] = {
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "STFTInitializer": STFT,
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}
# What other libraries call them, without PyTorch's last "_": named in errors, as the scales differ.
ELSEWHERE = {
    "delta": "delta_orthogonal",
    "dirac": "delta_orthogonal",
    "eye": "identity",
    "gaussian": "random_normal",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
    "msra": "he_normal",
    "trunc_normal": "truncated_normal",
    "xavier": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "xavier_uniform": "glorot_uniform",
}
BY_NAME = {**CLASSES, **{kind.__name__: kind for kind in CLASSES.values()}, **ALIASES}


def get(identifier: Any) -> Any:
    """Return the initializer that an identifier means.

    Parameters
    ----------
    identifier : str, dict, class, callable, array or None
        A name in either spelling (``"glorot_uniform"``, ``"GlorotUniform"``,
        ``"seedbed>GlorotUniform"``), a configuration as `serialize` or Keras 2 writes it, a class,
        which is called without arguments, any callable, which is returned, or an array of any
        library, which becomes a callable for its own shape. None is returned as None.

    Raises
    ------
    ValueError
        If there is no such initializer; the message has the nearest names.

    Examples
    --------
    >>> get("he_normal")
    HeNormal()
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        with naming("get"):
            return _made(identifier, {}, BY_NAME)
    if inspect.isclass(identifier):
        return identifier()
    if not isinstance(identifier, (*PLAIN, list, tuple, range)) and is_array(identifier):
        with naming("get"):
            return _from_array(as_array(identifier))
    if callable(identifier):
        return identifier
    raise ArgumentError(
        "Could not interpret initializer identifier: get: identifier must be a name, "
        f"configuration, class, callable or array; given {brief(identifier)}"
    ).named("")


def _from_array(array: np.ndarray) -> Callable[..., np.ndarray]:
    def initialize(shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        if check_shape(shape, "array initializer") != array.shape:
            raise ArgumentError(
                f"Expected `shape` to be {array.shape} for an array as initializer; given {shape}"
            )
        return array.astype(as_dtype(dtype, "array initializer"))

    return initialize


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Return an initializer's configuration, in the shape that Keras 3 uses.

    Examples
    --------
    >>> serialize(Zeros())["registered_name"]
    'seedbed>Zeros'
    """
    if not isinstance(initializer, Initializer):
        raise ArgumentTypeError(
            f"must be an initializer of Seedbed; given {brief(initializer)}"
        ).named("serialize")
    return serialized(initializer)


def deserialize(
    config: dict[str, Any] | str,
    custom_objects: dict[str, Any] | None = None,
    known: Mapping[str, type] = BY_NAME,
) -> Any:
    """Return the initializer of a configuration.

    Parameters
    ----------
    config : dict or str
        ``{"class_name": ..., "config": {...}}`` as Keras 2 writes it, or what `serialize` or
        Keras 3 writes, for its own initializers or Seedbed's. Or a name alone. A class of another
        module is found if that has been imported: none is imported because a file names it.
    custom_objects : dict, optional
        Further classes by name: that of the class, or the one it is registered under.
    known : mapping, optional
        The classes of Seedbed by name.

    Raises
    ------
    ValueError
        If the name is unknown or the configuration does not fit the class.

    Examples
    --------
    >>> deserialize({"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.02}})
    RandomNormal(stddev=0.02)
    """
    with naming("deserialize"):
        return _made(config, custom_objects or {}, known)


def _made(config: Any, custom: Mapping[str, Any], known: Mapping[str, type]) -> Any:
    if isinstance(config, str):
        config = {"class_name": config}
    arguments = config.get("config") if isinstance(config, dict) else False
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict) or not isinstance(config.get("class_name"), str):
        raise ArgumentError(
            "config must be a name, or a dict with a class_name and a dict config; "
            f"given {brief(config)}"
        )
    kind = _find(config, custom, known)
    if not inspect.isclass(kind):
        return kind
    arguments = dict(arguments)
    allowed = inspect.signature(kind.__init__).parameters
    if "dtype" in arguments and "dtype" not in allowed:  # TensorFlow 1 saved it with the rest
        del arguments["dtype"]
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in allowed.values())
    unknown = [] if anything else [key for key in arguments if key not in allowed]
    if unknown:
        names = [key for key in allowed if key != "self"]
        raise ArgumentError(
            f"unknown argument {brief(unknown[0])}; allowed: {', '.join(names) or 'none'}"
        ).named(kind.__name__)
    return kind.from_config(arguments)  # pyright: ignore[reportAttributeAccessIssue]


def _find(config: dict[str, Any], custom: Mapping[str, Any], known: Mapping[str, type]) -> Any:
    """Return the class that a configuration names."""
    name = config["class_name"].removeprefix(f"{PACKAGE}>")
    module, registered = config.get("module"), config.get("registered_name")
    for found in (registered, name):
        if isinstance(found, str) and found in custom:
            return custom[found]
    if isinstance(registered, str) and ">" in registered:
        foreign = not registered.startswith(f"{PACKAGE}>")
    else:
        foreign = isinstance(module, str) and module.split(".")[0] not in LIBRARIES
    if foreign:
        kind = getattr(sys.modules.get(str(module)), name, None)
        if inspect.isclass(kind) and issubclass(kind, Initializer):
            return kind
        raise ArgumentError(
            f"unknown initializer {brief(registered or name)}: {name[:100]} of the module "
            f"{str(module)[:100]} is no "
            "class of Seedbed; import that module first, or name the class in custom_objects"
        )
    for found in (name, name.removesuffix("V2")):  # as Keras 2 calls them, too
        if found in known:
            return known[found]
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().rstrip("_")
    if plain in CLASSES or plain in ELSEWHERE:  # in another spelling, or of another library
        nearest = ELSEWHERE.get(plain, plain)
        raise ArgumentError(f"unknown initializer {brief(name)}; nearest: {nearest}")
    near = difflib.get_close_matches(name, known, 4, 0.6) or sorted(CLASSES)
    raise ArgumentError(f"unknown initializer {brief(name)}; nearest: {', '.join(near)}")


__all__ = [
    "ALIASES",
    "BY_NAME",
    "CLASSES",
    "Initializer",
    "RandomInitializer",
    "deserialize",
    "get",
    "serialize",
]
