"""Kernels of a convolution that computes a short-time Fourier transform."""

from typing import Any, Self

import numpy as np

from seedbed_kernels import arithmetic, forking

from ..errors import ArgumentError, ArgumentTypeError, brief, is_one_of
from ..values import recipes
from ..values.dtypes import FLOATING
from .arguments import as_array, as_keras, plain, restored
from .initializer import Initializer

SIDES = ("real", "imag")
SCALINGS = ("density", "spectrum")


class STFT(Initializer):
    """The real or imaginary part of the discrete Fourier basis, under a window function.

    Parameters
    ----------
    side : {"real", "imag"}
        Cosines, or minus the sines.
    window : str, array_like or None
        A name that `scipy.signal.get_window` knows, values one a frame sample, or no window.
    scaling : {"density", "spectrum", None}
        Divide by the window's L2 norm, by its L1 norm, or not.
    periodic : bool
        Whether a named window is periodic, as for spectral analysis, or symmetric.

    Notes
    -----
    Source: ``keras.initializers.STFT``. The shape is (frame samples, 1, frequencies); frequencies
    are the lower half of the transform, frame length / 2 + 1 for a full one. Computed in float64.

    Examples
    --------
    >>> from seedbed import initializers
    >>> initializers.STFT("real", window=None)((4, 1, 3)).round(3)[:, 0]
    array([[ 1.,  1.,  1.],
           [ 1.,  0., -1.],
           [ 1., -1.,  1.],
           [ 1., -0., -1.]], dtype=float32)
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        owner = type(self).__name__
        if not is_one_of(SIDES, side):
            raise as_keras(
                f"side should be 'real' or 'imag', not {side}.",
                self,
                f"side must be 'real' or 'imag'; given {brief(side)}",
            )
        if scaling is not None and not is_one_of(SCALINGS, scaling):
            raise as_keras(
                "Scaling is invalid, it must be `None`, 'density' or 'spectrum'.",
                self,
                f"scaling must be 'density', 'spectrum' or None; given {brief(scaling)}",
            )
        if isinstance(window, str):
            with forking.first_use():
                from scipy.signal import get_window

            try:
                get_window(window, 1)
            except ValueError as error:
                raise ArgumentError(
                    f"window must be one of SciPy's; given {brief(window)} "
                    f"({' '.join(str(error).split())})"
                ).named(owner) from None
        elif window is not None:
            try:
                values = as_array(window)
            except Exception:  # rows of different lengths, a tensor without values
                values = np.array(None)
            real = values.ndim == 1 and values.dtype.kind in "biufV"
            if not real or not np.isfinite(values.astype(np.float64)).all():
                raise ArgumentError(
                    "window must be a name, a sequence of finite real numbers or None; "
                    f"given {brief(window)}"
                ).named(owner)
            if not isinstance(window, (list, tuple, np.ndarray)):
                window = values
        self.side = side
        self.window = window
        self.scaling = scaling
        if not isinstance(periodic, (bool, np.bool_)):
            raise ArgumentTypeError(
                f"periodic must be True or False; given {brief(periodic)}"
            ).named(owner)
        self.periodic = bool(periodic)

    def recipe(self, shape: tuple[int, ...]) -> recipes.Recipe:
        """Return what a table's values are."""
        if len(shape) != 3:
            raise ArgumentError(
                f"shape must have rank 3; given {shape} of rank {len(shape)}"
            ).named(type(self).__name__)
        weights = self._weights(shape[0])

        @arithmetic.usual()
        def basis(window: recipes.Window, dtype: np.dtype) -> np.ndarray:
            if dtype.name not in FLOATING:
                raise ArgumentError(
                    f"dtype must be one of {', '.join(FLOATING)}; given {dtype.name}"
                ).named(type(self).__name__)
            samples, channels, frequencies = (np.arange(part.start, part.stop) for part in window)
            # Whole turns drop out before the angle is taken, so long frames stay exact.
            period = max(2 * (shape[2] - 1), 1)
            turns = samples[:, None] * frequencies % period / period
            angle = -2.0 * np.pi * turns
            values = np.cos(angle) if self.side == "real" else np.sin(angle)
            values *= weights[samples, None]
            return np.broadcast_to(values[:, None], (len(samples), len(channels), len(frequencies)))

        return recipes.Computed(basis, cut=True)

    @arithmetic.usual()
    def _weights(self, length: int) -> np.ndarray:
        """Return the scaled window."""
        if self.window is None or length == 0:
            return np.ones(length)
        if isinstance(self.window, str):
            with forking.first_use():
                from scipy.signal import get_window

            values = np.asarray(get_window(self.window, length, self.periodic), np.float64)
        else:
            values = as_array(self.window).astype(np.float64)
        if values.shape != (length,):
            raise as_keras(
                "The shape of `window` must be equal to [frame_length].",
                self,
                f"window must have one value for each of {length} frame samples; "
                f"given shape {values.shape}",
            )
        if not np.isfinite(values).all():  # SciPy has some of such windows
            raise ArgumentError(
                f"window must be finite; given {brief(self.window)} for {length} frame samples"
            ).named(type(self).__name__)
        if self.scaling is None:
            return values
        norm = float(np.linalg.norm(values, 2 if self.scaling == "density" else 1))
        if norm == 0.0:
            raise ArgumentError(
                f"window must not be zero everywhere, to be scaled; given {brief(self.window)} "
                f"for {length} frame samples"
            ).named(type(self).__name__)
        return values / norm

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer, as JSON can hold them."""
        return {
            "side": self.side,
            "window": self.window if isinstance(self.window, str) else plain(self.window),
            "periodic": self.periodic,
            "scaling": self.scaling,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return an initializer from the result of `get_config`."""
        window = config.get("window", "hann")
        if not isinstance(window, str):
            window = restored(cls.__name__, "window", window)
        return cls(**{**config, "window": window})
