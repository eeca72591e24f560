"""Seedbed in JAX: sharded arrays, and initializers that take a key.

`array` makes an array of any sharding, in each process only the pieces that its devices hold.
`initializer` adapts to the ``(key, shape, dtype)`` protocol of ``jax.nn.initializers``, which Flax
and Equinox call. float64 needs ``jax_enable_x64``; without it a float64 array is a float32 one, as
everywhere in JAX.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
    from jax.core import Tracer
    from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
except ImportError as error:
    raise ImportError("seedbed.jax needs JAX: python -m pip install 'seedbed[jax]'") from error

from . import initializers
from .initializers import Initializer
from .initializers.initializer import RandomInitializer
from .values.dtypes import as_dtype
from .values.recipes import Random, Window
from .values.request import check_shape
from .values.seeds import SeedGenerator


def array(
    init: Initializer | str, shape: Sequence[int], sharding: Any, dtype: Any = None
) -> jax.Array:
    """Return an array of an initializer's values under a sharding.

    Parameters
    ----------
    init : Initializer or str
        An initializer of `seedbed.initializers`, or its name, but not with a `SeedGenerator`. Where
        there are several processes it must have a seed.
    shape : sequence of int
        The full array, which need not fit in one process' memory.
    sharding : jax.sharding.Sharding
        Over the devices of one process or of many; each process calls this function. A piece held
        by several devices of a process is made once.
    dtype : dtype or name, optional
        float32 by default.

    Returns
    -------
    jax.Array
        Equal to ``init(shape, dtype)``, bit for bit, whatever the sharding. Pieces of random values
        on NVIDIA GPUs are drawn there, if ``seedbed[cuda]`` is installed; all others on the host.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as said above, or the shape does not divide as the sharding says.

    Examples
    --------
    >>> import jax
    >>> from jax.sharding import NamedSharding, PartitionSpec
    >>> from seedbed import initializers
    >>> mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    >>> init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    >>> table = array(init, (64, 16), NamedSharding(mesh, PartitionSpec("rows")), "bfloat16")
    >>> bool((table == init((64, 16), "bfloat16")).all())
    True
    """
    found = _found(init, "array")
    if jax.process_count() > 1 and not found.seeded:
        raise ValueError(f"array: init must have a seed where processes are many; given {init!r}")
    if isinstance(getattr(found, "seed", None), SeedGenerator):
        raise ValueError(f"array: init must have an integer seed, for all pieces; given {init!r}")
    if not isinstance(sharding, Sharding):
        raise TypeError(f"array: sharding must be a jax.sharding.Sharding; given {sharding!r}")
    if isinstance(jax.device_put(0), Tracer):
        raise TypeError("array: must be called outside jit, where initializer may be called")
    size = check_shape(shape, "array")
    kind = _canonical(dtype, "array")
    windows = {
        device: _plain(index, size)
        for device, index in sharding.addressable_devices_indices_map(size).items()
    }
    uses = Counter(windows.values())
    made: dict[tuple[tuple[int, int], ...], np.ndarray] = {}
    pieces = []
    whole = None if found.windowed or len(uses) == 1 else found(size, kind)
    # Piece by piece: make_array_from_callback would hold all of them here and on the devices.
    with contextlib.ExitStack() as drawing:  # GPUs draw side by side; whatever happens, it ends
        for device, bounds in windows.items():
            window = tuple(slice(*ends) for ends in bounds)
            place = SingleDeviceSharding(device, memory_kind=sharding.memory_kind)
            piece = None
            if whole is None:
                piece = _drawn_there(found, size, kind, window, place, drawing)
            if piece is None:
                if bounds not in made:
                    made[bounds] = (
                        found(size, kind, window=window) if whole is None else whole[window]
                    )
                piece = jax.device_put(made[bounds], place).block_until_ready()
            pieces.append(piece)
            uses[bounds] -= 1
            if uses[bounds] == 0:
                made.pop(bounds, None)
    return jax.make_array_from_single_device_arrays(size, sharding, pieces, dtype=kind)


def _drawn_there(
    init: Initializer,
    shape: tuple[int, ...],
    dtype: Any,
    window: Window,
    place: Any,
    drawing: contextlib.ExitStack,
) -> jax.Array | None:
    """Return a piece being drawn on its own GPU, in JAX's memory; None where it cannot be.

    It is complete when `drawing` ends: JAX's streams are its own, so the host waits there. Values
    that are not random are made on the host; so are products of Orthogonal, which a GPU has within
    rounding only.
    """
    (device,) = place.device_set
    size = tuple(axis.stop - axis.start for axis in window)
    if 0 in size or not _is_nvidias(device) or place.memory_kind not in (None, "device"):
        return None
    if not init.windowed or not isinstance(init.recipe(shape), Random):
        return None
    from .gpu import DeviceError, adopt

    piece = jnp.zeros(size, dtype, device=place).block_until_ready()  # fresh, and nobody else's
    number = device.local_hardware_id
    try:
        out = adopt.at(piece.unsafe_buffer_pointer(), size, dtype, number, keep_alive=piece)
    except DeviceError:
        return None
    drawing.callback(out.synchronize)
    init(shape, dtype, window=window, out=out)
    return piece


def _is_nvidias(device: Any) -> bool:
    return device.platform == "gpu" and "cuda" in device.client.platform_version.lower()


def initializer(init: Initializer | str) -> Callable[..., jax.Array]:
    """Return a function of a key, a shape and a dtype, as Flax and Equinox call them.

    The seed is made of the key's first two words, so that ``jax.random.key(7)`` is seed 7, and the
    values are those of NumPy with that seed. Traced (`jit`, `eval_shape`, `vmap`, `scan`), the
    function makes its values by a callback to the host: the whole array, on each run, in the
    process' memory. For arrays that must be born sharded call it outside `jit` with an
    `out_sharding`, or call `array`.

    Parameters
    ----------
    init : Initializer or str
        An initializer without a seed, or its name.

    Returns
    -------
    callable
        ``function(key, shape, dtype=None, out_sharding=None)``, which returns a `jax.Array`. A key
        may be of the new style or the old; `out_sharding` a sharding, or a PartitionSpec of the
        mesh that `jax.set_mesh` has set.

    Raises
    ------
    ValueError
        If `init` has a seed.

    Examples
    --------
    >>> import jax
    >>> from seedbed import initializers
    >>> glorot = initializer("glorot_uniform")
    >>> weight = jax.jit(lambda key: glorot(key, (4, 3)))(jax.random.key(7))
    >>> bool((weight == initializers.GlorotUniform(seed=7)((4, 3))).all())
    True
    """
    found = _found(init, "initializer")
    if isinstance(found, RandomInitializer) and found.seeded:
        raise ValueError(f"initializer: init must have no seed, for the key is it; given {init!r}")

    def initialize(
        key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None
    ) -> jax.Array:
        size, kind = check_shape(shape, "initializer"), _canonical(dtype, "initializer")
        words = _words(key)
        if isinstance(words, Tracer):
            nothing = (slice(0, 0),) * len(size)
            _seeded(found, (0, 0))(size, kind, window=nothing)  # errors come here, and not in a run
            result = jax.ShapeDtypeStruct(size, kind)
            made = jax.pure_callback(
                lambda words: _seeded(found, words)(size, kind),
                result,
                words,
                vmap_method="sequential",
            )
            return made if out_sharding is None else _placed(made, out_sharding)
        seeded = _seeded(found, words)
        if out_sharding is None:
            return jax.numpy.asarray(seeded(size, kind), kind)  # without a dtype it would copy
        if isinstance(out_sharding, PartitionSpec):
            out_sharding = NamedSharding(jax.sharding.get_mesh(), out_sharding)
        return array(seeded, size, out_sharding, kind)

    return initialize


def _found(init: Any, owner: str) -> Initializer:
    found = initializers.get(init) if isinstance(init, str) else init
    if not isinstance(found, Initializer):
        raise TypeError(f"{owner}: init must be a Seedbed initializer or its name; given {init!r}")
    return found


def _canonical(dtype: Any, owner: str) -> np.dtype:
    """Return a dtype as JAX holds it: without `jax_enable_x64`, of 32 bits instead of 64."""
    return np.dtype(jax.dtypes.canonicalize_dtype(as_dtype(dtype, owner)))


def _plain(index: Window | None, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the bounds of an index, in which JAX leaves out those of the full axis."""
    parts = index or (slice(None),) * len(shape)
    return tuple(part.indices(size)[:2] for part, size in zip(parts, shape, strict=True))


def _words(key: Any) -> Any:
    """Return the words of a key of either style, traced wherever JAX traces."""
    if isinstance(key, (jax.Array, np.ndarray)):
        if jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.key_data(key)
        if key.ndim == 1 and key.size >= 2 and key.dtype == np.uint32:
            return jax.lax.bitwise_or(jax.numpy.asarray(key), jax.numpy.uint32(0))
        given = f"words of shape {key.shape} and {key.dtype}"
    else:
        given = repr(key)
    raise TypeError(f"initializer: key must be one key, as jax.random.key gives it; given {given}")


def _placed(made: jax.Array, sharding: Any) -> jax.Array:
    """Return a traced array under a sharding, or under a PartitionSpec of the mesh in use."""
    mesh = getattr(sharding, "mesh", None) or jax.sharding.get_abstract_mesh()
    if AxisType.Explicit in mesh.axis_types:
        return jax.sharding.reshard(made, sharding)
    return jax.lax.with_sharding_constraint(made, sharding)


def _seeded(init: Initializer, words: Any) -> Initializer:
    """Return an initializer with the seed that a key's words say."""
    high, low = np.asarray(words).ravel()[:2].tolist()
    return init.with_seed(high << 32 | low)
