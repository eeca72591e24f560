"""What all initializers share: the call, the configuration, the seed."""

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..errors import SeedbedError, brief, warn
from ..values.dtypes import as_dtype
from ..values.fill import fill
from ..values.recipes import Recipe
from ..values.request import Request
from ..values.seeds import Seed, SeedGenerator, Stream, check_seed, random_seed
from ..values.window import Window


class Initializer:
    """Base of all initializers: a description of a table that makes it, or a window of it.

    Subclasses implement `source`, or else `__call__`, and `get_config` with the arguments of their
    constructor.

    Attributes
    ----------
    windowed : bool
        Whether a window costs less than the whole; if not, the whole is made once and kept where
        many windows are needed.
    """

    windowed = True

    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: Window | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a table.

        Parameters
        ----------
        shape : sequence of int
            The full table, below 2**63 bytes. It need not fit in memory if `window` does.
        dtype : dtype or name, optional
            That of `out` if there is one, else float32.
        window : tuple of slice, optional
            One step-1 slice an axis, inside `shape`; all of it by default. Fans come from the full
            shape, never from the window.
        out : array, optional
            C-contiguous and writable, of the window's shape and of `dtype`; filled in place.
        device : str, optional
            ``"cpu"`` (default), ``"cuda"`` or ``"cuda:1"``.

        Returns
        -------
        array
            `out` if given, else a new array: of NumPy, or on the GPU. ``init(shape)[window]`` and
            ``init(shape, window=window)`` are equal bit for bit.
        """
        try:
            request = Request(shape, dtype, window=window, out=out, device=device)
            recipe = self.recipe(request.shape)
            recipe.check(request.shape, request.dtype)
            return fill(recipe, request, self.stream(window is None))
        except SeedbedError as error:
            error.named(type(self).__name__)
            raise

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Return what the values of a table are."""
        raise NotImplementedError(f"{type(self).__name__} must implement source or __call__")

    def stream(self, whole: bool = True) -> Stream | None:
        """Return the random numbers of the next call, for a whole table or a window; or none."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer; JSON can hold them."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an initializer from the result of `get_config`."""
        return cls(**config)

    @property
    def seeded(self) -> bool:
        """Whether the values are the same in every process: no seed was drawn at random."""
        return True

    def with_seed(self, seed: Seed | Stream) -> Self:
        """Return an equal initializer of another seed; itself where there are no random numbers."""
        return self

    def clone(self) -> Self:
        """Return a new initializer of the same configuration."""
        return type(self).from_config(self.get_config())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class RandomInitializer(Initializer):
    """Base of the initializers that draw random numbers.

    Parameters
    ----------
    seed : int, None or SeedGenerator
        An integer in [0, 2**64) gives the same values on every call. None draws such an integer
        once, now: every call gives the same values, and a second whole table warns so. The
        attribute `seed` has the integer drawn, the configuration says None, as Keras does. A
        `SeedGenerator` gives new values on every call, of a window too; to make windows of one
        table, take an integer, or a `Stream`: one draw of a generator, the same on every call.
    """

    def __init__(self, seed: Any = None) -> None:
        if isinstance(seed, dict) and seed.get("class_name") == "SeedGenerator":  # as serialized
            seed = SeedGenerator.from_config(seed.get("config") or {})
        if isinstance(seed, dict) and seed.get("class_name") == "Stream":
            seed = Stream(**seed["config"])
        self._init_seed = check_seed(seed, type(self).__name__)
        self.seed: int | SeedGenerator | Stream
        self.seed = random_seed() if self._init_seed is None else self._init_seed
        self._calls = 0

    @property
    def seeded(self) -> bool:
        """Whether the values are the same in every process: no seed was drawn at random."""
        seed = self._init_seed
        if isinstance(seed, SeedGenerator):
            return seed.get_config()["seed"] is not None
        return seed is not None

    def with_seed(self, seed: Seed | Stream) -> Self:
        """Return an equal initializer of another seed."""
        return type(self).from_config({**self.get_config(), "seed": seed})

    def stream(self, whole: bool = True) -> Stream:
        """Return the random numbers of the next call, for a whole table or a window."""
        if isinstance(self.seed, SeedGenerator):
            return self.seed.next()
        if isinstance(self.seed, Stream):
            return self.seed
        if self._init_seed is None and whole:
            self._calls += 1
            if self._calls == 2:
                warn(
                    f"{type(self).__name__} without a seed is used again and gives equal values; "
                    "pass a SeedGenerator for new ones on each call, or an initializer to each use"
                )
        return Stream(self.seed)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer.

        The seed is the argument as it was given, so without one a clone has values of its own.
        """
        seed = self._init_seed
        if isinstance(seed, SeedGenerator):
            return {"seed": serialized(seed)}
        if isinstance(seed, Stream):
            return {"seed": {"class_name": "Stream", "config": seed._asdict()}}
        return {"seed": seed}


def serialized(thing: Initializer | SeedGenerator) -> dict[str, Any]:
    """Return an object as Keras 3 writes objects of other packages."""
    name = type(thing).__name__
    return {
        "module": "seedbed.initializers",
        "class_name": name,
        "config": thing.get_config(),
        "registered_name": f"seedbed>{name}",
    }


def plain(value: Any) -> Any:
    """Return an array or number as JSON can hold it; `restored` is the inverse.

    Arrays become what Keras makes of them, complex numbers what Python writes.
    """
    if isinstance(value, np.ndarray):
        array = {"value": plain(value.tolist()), "dtype": value.dtype.name}
        return {"class_name": "__numpy__", "config": array}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    value = as_number(value)
    return str(value) if isinstance(value, complex) else value


def restored(owner: str, name: str, value: Any) -> Any:
    """Return what `plain` made plain, or Keras, which has tensors too."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return complex(value)
    if isinstance(value, list):
        return [restored(owner, name, item) for item in value]
    if not isinstance(value, dict):
        return value
    config = value.get("config")
    if value.get("class_name") in ("__numpy__", "__tensor__") and isinstance(config, dict):
        with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
            array = restored(owner, name, config["value"])
            return np.array(array, as_dtype(config["dtype"], owner))
    raise ValueError(
        f"{owner}: {name} must be a number, a list of them, or a dict as Keras writes arrays; "
        f"given {brief(value)}"
    )


def as_number(value: Any) -> Any:
    """Return a scalar of NumPy's as Python's own number, and anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def finite(owner: object, name: str, value: Any, least: float = -math.inf) -> Any:
    """Return a number that is finite and not below `least`, as Python's own type."""
    number = as_number(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{type(owner).__name__}: {name} must be a number; given {value!r}")
    if not max(least, -sys.float_info.max) <= number <= sys.float_info.max:
        allowed = "a finite number" + (f" of at least {least:g}" if math.isfinite(least) else "")
        raise ValueError(f"{type(owner).__name__}: {name} must be {allowed}; given {brief(value)}")
    return number
