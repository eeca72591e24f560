"""What all initializers share: the call, the configuration, the seed."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal, Self, TypeVar, overload

import numpy.typing as npt

from ..errors import ArgumentError, ArgumentTypeError, SeedbedError, brief, is_one_of, warn
from ..values.fill import fill
from ..values.recipes import Recipe
from ..values.request import KeyedRequest, Request
from ..values.seeds import Seed, SeedGenerator, Stream, check_seed, random_seed
from ..values.untraced import untraced
from .arguments import serialized
from .whole import cutting, makes_parts

Out = TypeVar("Out")


class Initializer:
    """Base of all initializers: a description of a table that makes it, or a window of it.

    Subclasses implement `recipe`, or else `__call__`, and `get_config` with the arguments of their
    constructor. Where `__call__` takes shape and dtype only, parts are cut from the whole table.

    Attributes
    ----------
    windowed : bool
        Whether a window costs less than the whole; if not, the whole is made once and kept where
        many windows are needed.
    """

    windowed = True

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        call = vars(cls).get("__call__")
        if call is not None and not makes_parts(call):
            cls.__call__, cls.windowed = cutting(call), False

    @overload
    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: tuple[slice | None, ...] | None = None,
        rows: Any = None,
        out: None = None,
        device: Literal["cpu"] | None = None,
    ) -> npt.NDArray[Any]: ...
    @overload
    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: tuple[slice | None, ...] | None = None,
        rows: Any = None,
        out: Out,
        device: str | None = None,
    ) -> Out: ...
    @overload
    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: tuple[slice | None, ...] | None = None,
        rows: Any = None,
        out: None = None,
        device: str,
    ) -> Any: ...
    @untraced
    def __call__(
        self,
        shape: Sequence[int],
        dtype: Any = None,
        *,
        window: Any = None,
        rows: Any = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return the values of a table.

        Parameters
        ----------
        shape : sequence of int
            The full table, of at most 2**66 elements (2**65 of 8 bytes). It need not fit in memory
            if what is asked of it does.
        dtype : dtype or name, optional
            That of `out` if there is one, else float32.
        window : tuple of slice, optional
            One step-1 slice an axis, inside `shape`; all of it by default. Fans come from the full
            shape, never from the window.
        rows : slice, or array or sequence of int, optional
            Numbers of rows, from 0, in any order, repeated or not: ``rows=ids`` gives
            ``init(shape)[ids]``, and ``rows=slice(3, None, 8)`` every eighth row. With `window`
            for the other axes, of which the first is None: ``window=(None, slice(0, 32))``.
            Arrays on a GPU stay there; their numbers are not checked.
        out : array, optional
            Writable, of the shape of what is asked and of `dtype`; filled in place. C-contiguous;
            with `rows` its rows may be those of a wider array.
        device : str, optional
            ``"cpu"`` (default), ``"cuda:1"``, or ``"cuda"``: the GPU of what is given, else the
            current one.

        Returns
        -------
        array
            `out` if given, else a new array: of NumPy, or on the GPU. ``init(shape)[window]`` and
            ``init(shape, window=window)`` are equal bit for bit.

        Raises
        ------
        ArgumentError, ArgumentTypeError, DeviceError
            If an argument is not as said above; before any work, and before a random seed is drawn.

        Examples
        --------
        >>> from seedbed import initializers
        >>> init = initializers.RandomNormal(stddev=0.02, seed=7)
        >>> table = init((1000, 64))
        >>> bool((init((1000, 64), rows=[7, 3, 7]) == table[[7, 3, 7]]).all())
        True
        """
        try:
            request = Request(shape, dtype, window=window, rows=rows, out=out, device=device)
            recipe = self.recipe(request.shape)
            request.check(recipe)
            return fill(recipe, request, self.stream(window is None and rows is None))
        except SeedbedError as error:
            error.named(type(self).__name__)
            raise

    @untraced
    def keyed(
        self,
        keys: Any,
        width: int,
        dtype: Any = None,
        *,
        columns: slice | None = None,
        fans: tuple[float, float] | None = None,
        out: Any = None,
        device: str | None = None,
    ) -> Any:
        """Return rows of 64-bit keys: of hashed ids, for which there is no table of any height.

        A row depends on the seed, its key and nothing else; a wider one begins with it.

        Parameters
        ----------
        keys : array or sequence of int
            In [-2**63, 2**64), of any shape. They are taken as 64 bits: -1 and 2**64 - 1 are the
            same key. `seedbed.seeds.key` makes one of text.
        width : int
            Columns of a row: at most 2**33, or 2**32 in float64.
        dtype : dtype or name, optional
            That of `out` if there is one, else float32.
        columns : slice, optional
            Of step 1: make only these columns.
        fans : (number, number), optional
            Inputs and outputs, for initializers whose values depend on the number of rows.
        out : array, optional
            Writable, of shape ``keys.shape + (columns,)``; its rows may be those of a wider array.
        device : str, optional
            ``"cpu"`` (default), ``"cuda:1"``, or ``"cuda"``: the GPU of what is given, else the
            current one.

        Returns
        -------
        array
            `out` if given, else a new array of shape ``keys.shape + (columns,)``.

        Raises
        ------
        ArgumentError, ArgumentTypeError, DeviceError
            If an argument is not as said above, if the initializer has no rows of its own
            (Orthogonal, Identity, STFT, a Constant of an array), or has a seed that advances.

        Examples
        --------
        >>> from seedbed import initializers
        >>> init = initializers.RandomUniform(seed=7)
        >>> rows = init.keyed([12345678901234567890, -1], 64)
        >>> bool((init.keyed([-1], 32) == rows[1:, :32]).all())
        True
        """
        try:
            request = KeyedRequest(keys, width, dtype, columns=columns, out=out, device=device)
            recipe = self.keyed_recipe(request.width, fans)
            request.check(recipe)
            return fill(recipe, request, self.keyed_stream())
        except SeedbedError as error:
            error.named(type(self).__name__)
            raise

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Return what the values of a table are."""
        raise NotImplementedError(f"{type(self).__name__} must implement recipe or __call__")

    def keyed_recipe(self, width: int, fans: tuple[float, float] | None) -> Recipe:
        """Return what the values of rows of keys are."""
        raise ArgumentError("has no rows of keys: its values depend on the whole table")

    def stream(self, whole: bool = True) -> Stream | None:
        """Return the random numbers of the next call, for a whole table or a window; or none."""
        return None

    def keyed_stream(self) -> Stream | None:
        """Return the random numbers of rows of keys; or none."""
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

    def with_seed(self, seed: Seed) -> Self:
        """Return an equal initializer of another seed; itself where there are no random numbers."""
        return self

    def clone(self) -> Self:
        """Return a new initializer of the same configuration."""
        return type(self).from_config(self.get_config())

    def plot(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a figure of the values of a table beside the density that theory gives.

        A notebook shows what the last line of a cell returns. Needs matplotlib
        (``pip install 'seedbed[plot]'``).

        Parameters
        ----------
        shape : sequence of int
            Of the table, of which at most 2**22 values are made: its first rows.
        dtype : dtype or name, optional
            Of real numbers; float32 by default.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ArgumentError, ArgumentTypeError, MissingPackageError
            If an argument is not as said above, or matplotlib is not installed.

        Examples
        --------
        >>> from seedbed import initializers
        >>> figure = initializers.HeNormal(seed=7).plot((1000, 64))
        >>> figure.axes[0].get_title(loc="left")
        '1,000 × 64 float32 HeNormal seed 7'
        """
        from .picture import picture

        return picture(self, shape, dtype).figure

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        arguments = ", ".join(
            f"{name}={brief(value)}"
            for name, value in self.get_config().items()
            if name not in defaults or not _same(value, defaults[name])
        )
        return f"{type(self).__name__}({arguments})"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, bool) != isinstance(default, bool):
        return False
    try:
        return bool(value == default)
    except (TypeError, ValueError):  # an array
        return False


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

    def __init__(self, seed: Seed = None) -> None:
        if isinstance(seed, dict):
            seed = _from_configuration(seed, type(self).__name__)
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

    def with_seed(self, seed: Seed) -> Self:
        """Return an equal initializer of another seed."""
        return type(self).from_config({**self.get_config(), "seed": seed})

    def stream(self, whole: bool = True) -> Stream:
        """Return the random numbers of the next call, for a whole table or a window."""
        seed = self.seed
        if isinstance(seed, SeedGenerator):
            return seed.next()
        if isinstance(seed, Stream):
            return seed
        if self._init_seed is None and whole:
            self._calls += 1
            if self._calls == 2:
                warn(
                    f"{type(self).__name__} without a seed is used again and gives equal values; "
                    "pass a SeedGenerator for new ones on each call, or an initializer to each use"
                )
        return Stream(seed)

    def keyed_stream(self) -> Stream:
        """Return the random numbers of rows of keys."""
        if isinstance(self.seed, SeedGenerator) or (
            isinstance(self.seed, Stream) and self.seed.draw
        ):
            raise ArgumentError(
                "seed must be an integer for rows of keys, which are the same on every call; "
                f"given {brief(self.seed)}"
            )
        return self.seed if isinstance(self.seed, Stream) else Stream(self.seed)

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


def _from_configuration(config: dict[str, Any], owner: str) -> SeedGenerator | Stream:
    """Return the generator or stream of a configuration, as `get_config` and Keras write them."""
    kind, arguments = config.get("class_name"), config.get("config")
    if is_one_of(("SeedGenerator",), kind) and isinstance(arguments, (dict, type(None))):
        return SeedGenerator.from_config(arguments or {})
    ours = {"seed", "draw"}
    if is_one_of(("Stream",), kind) and isinstance(arguments, dict) and arguments.keys() == ours:
        return Stream(**arguments)
    raise ArgumentTypeError(
        f"seed must be an integer, or a generator as it was saved; given {brief(config)}"
    ).named(owner)
