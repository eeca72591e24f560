"""A scope in which every weight of Keras is drawn by Seedbed, with a seed of its own."""

import contextvars
import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, Self

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.name_scope import current_path
from keras.src.utils.naming import auto_name

from ..errors import ArgumentTypeError, warn
from ..locks import renewed_lock
from ..values.seeds import check_master, derive
from .twins import Drawn, twin

TOLD = 8  # weights that a warning names


class Scope:
    """What `scope` gives: which seed a weight has, and which weights were left as they are.

    Attributes
    ----------
    seed : int
        The master seed.
    left : dict of str to initializer
        Weights whose initializers Seedbed does not know, by path.
    """

    def __init__(
        self, seed: int, keep_seeds: bool, names: Callable[[str], str] | None, owner: str
    ) -> None:
        if names is not None and not callable(names):
            raise ArgumentTypeError(
                f"names must be a function of a weight's path; given {names!r}"
            ).named(owner)
        self.seed = check_master(seed, owner=owner)
        self.left: dict[str, Any] = {}
        self._keep_seeds, self._names, self._owner = bool(keep_seeds), names, owner
        self._weights: dict[str, Any] = {}
        self._equal: list[str] = []

    def name(self, path: str) -> str:
        """Return the name that a weight's seed is derived from."""
        if self._names is None:
            return path
        name = self._names(path)
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"names must return a string; given {name!r} for {path!r}"
            ).named(self._owner)
        return name

    def initializer(self, path: str, init: Any, layer: Any = None, weight: Any = None) -> Any:
        """Return what initializes a weight in the place of its layer's initializer."""
        name = self.name(path)
        found = twin(init, derive(self.seed, name), self._keep_seeds, layer)
        if found is None:
            self.left[path] = init
            return init
        if isinstance(found, Drawn) and weight is not None:
            other = self._weights.get(name, lambda: None)()
            if other is not None and other is not weight:
                self._equal.append(f"{path} (as {other.path})")
            self._weights[name] = weakref.ref(weight)
        return found

    def __enter__(self) -> Self:
        self._token = _active.set(self)
        _hook.enter()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        _hook.leave()
        _active.reset(self._token)
        if kind is None:
            self.tell()

    def tell(self) -> None:
        """Warn of the weights that were left, and of those that are named like others."""
        if self.left:
            told = [f"{path} ({_described(init)})" for path, init in self.left.items()]
            warn(
                f"seedbed.keras.{self._owner}: {_some(told)} keep initializers that Seedbed does "
                "not know: their values are not decided by the seed"
            )
        if self._equal:
            warn(
                f"seedbed.keras.{self._owner}: {_some(self._equal)} have the name, and so the "
                "random numbers, of another weight: name layers apart, or pass names="
            )


_active: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("scope", default=None)
_installed: Scope | None = None


def scope(
    seed: int, *, keep_seeds: bool = False, names: Callable[[str], str] | None = None
) -> Scope:
    """Draw every weight that this thread makes inside with Seedbed, and a seed of its own.

    Whatever initializers layers name, by default or by argument, their distribution counts, and
    the values are those of the same initializer of `seedbed.initializers` under the seed
    ``seedbed.seeds.derive(seed, path)``, on every backend. Layers keep their initializers: a model
    made inside is saved and loaded without Seedbed. Weights are those of layers; variables of
    optimizers and metrics are not touched.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    keep_seeds : bool
        Whether an initializer that has a seed of its own keeps it.
    names : callable, optional
        A function of a weight's path, as ``weight.path`` has it, that returns the name to derive
        its seed from. Paths have the numbers that Keras gives layers without names ("dense_3"),
        which count all layers that the process has made.

    Returns
    -------
    Scope
        A context manager, to be entered once.

    Warns
    -----
    UserWarning
        At the end, once for all weights whose initializers are of other kinds (functions, classes
        of other packages), which are left as they are; and for weights of the same name.

    Examples
    --------
    >>> import keras
    >>> from seedbed import initializers, seeds
    >>> with scope(seed=7):
    ...     model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="out")])
    >>> kernel = model.layers[0].kernel
    >>> values = initializers.GlorotUniform(seeds.derive(7, kernel.path))((8, 4))
    >>> bool((keras.ops.convert_to_numpy(kernel) == values).all())
    True
    """
    return Scope(seed, keep_seeds, names, "scope")


def install(
    seed: int, *, keep_seeds: bool = False, names: Callable[[str], str] | None = None
) -> None:
    """Draw every weight of Keras with Seedbed from now on, in all threads, as `scope` does.

    A second call replaces the first. A `scope` inside counts before it. Weights of other kinds are
    told of by `uninstall`, which also runs when the program ends.

    Examples
    --------
    >>> install(seed=7)
    >>> uninstall()
    """
    global _installed
    made = Scope(seed, keep_seeds, names, "install")
    uninstall()
    _installed = made
    _hook.enter()


def uninstall() -> None:
    """Undo `install`; without one it does nothing."""
    global _installed
    ended, _installed = _installed, None
    if ended is not None:
        _hook.leave()
        ended.tell()


def _current() -> Scope | None:
    return _active.get() or _installed


class _Hook:
    """The constructor of Keras' variables, replaced while a scope is open anywhere."""

    def __init__(self) -> None:
        self._open = 0
        self._lock = renewed_lock()

    def enter(self) -> None:
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._replaced = vars(keras.Variable).get("__init__")
                self._ours = _initializing(keras.Variable.__init__)
                keras.Variable.__init__ = self._ours

    def leave(self) -> None:
        with self._lock:
            self._open -= 1
            # What others have put on top in the meantime stays, with ours, which does nothing.
            if self._open == 0 and vars(keras.Variable).get("__init__") is self._ours:
                if self._replaced is None:
                    del keras.Variable.__init__
                else:
                    keras.Variable.__init__ = self._replaced


_hook = _Hook()


def _initializing(original: Callable[..., None]) -> Callable[..., None]:
    """Return a variable's constructor that asks the scope for the initializer."""
    place = list(inspect.signature(original).parameters).index("name") - 2  # among further ones

    @functools.wraps(original)
    def __init__(variable: Any, initializer: Any, *further: Any, **options: Any) -> None:  # noqa: N807
        entered, layer = _current(), _caller()
        if entered is not None and (layer is None or isinstance(layer, keras.layers.Layer)):
            if isinstance(initializer, str):
                initializer = keras.initializers.get(initializer)
            if callable(initializer) and not inspect.isclass(initializer):
                # The name that Keras would give: the path is needed before the variable has it.
                positional = len(further) > place
                name = further[place] if positional else options.get("name")
                name = name or auto_name(type(variable).__name__)
                if positional:
                    further = (*further[:place], name, *further[place + 1 :])
                else:
                    options["name"] = name
                path = "/".join(filter(None, (current_path(), name)))
                initializer = entered.initializer(path, initializer, layer, variable)
        original(variable, initializer, *further, **options)

    return __init__


def _caller() -> Any:
    """Return the layer, optimizer or metric within whose name a variable is made."""
    stack = global_state.get_global_attribute("name_scope_stack")
    return stack[-1].caller if stack else None


def _described(init: Any) -> str:
    if init is None:
        return "its layer has no configuration"
    return getattr(init, "__qualname__", None) or type(init).__name__


def _some(told: list[str]) -> str:
    more = len(told) - TOLD
    return ", ".join(told[:TOLD]) + (f" and {more} more" if more > 0 else "")
