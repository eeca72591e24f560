"""Haar-distributed orthonormal columns on a CUDA GPU: what `haar_cpu` does, by CuPy and cuBLAS.

The Gaussian vectors are the CPU's, bit for bit; products are cuBLAS's, so Q is the CPU's within
rounding. The array module is a parameter of `columns`: NumPy's will do as well.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import driver_cuda
from .driver_cuda import LEGACY_STREAM
from .samplers import Normal

PANEL = 256  # vectors whose squares are in memory at a time, in float64


def columns(
    x: Any,
    corner: tuple[int, int],
    size: tuple[int, int],
    gain: float,
    xp: Any,
    solve_triangular: Callable[..., Any],
) -> Any:
    """Return a window of gain times the Q that Gaussian vectors reflect to.

    Parameters
    ----------
    x : (n, rows) array of `xp`, float32 or float64, written
        A vector in each row; of vector k the elements from k on count. As many as there are
        columns of Q up to the window's last.
    corner, size : (int, int)
        First row and column of the window; rows and columns in it.
    gain : float
    xp : module
        With NumPy's interface.
    solve_triangular : callable
        With SciPy's interface, for upper triangles in arrays of `xp`.

    Notes
    -----
    With reflectors v_k, the columns of V, Q is I - V S⁻¹ V₁ᵀ with signs on its columns: S has half
    the squared norms on its diagonal and VᵀV above it, V₁ is the top square of V.

    Examples
    --------
    >>> import scipy.linalg
    >>> x = np.random.default_rng(7).normal(size=(3, 5))
    >>> q = columns(x, (0, 0), (5, 3), 1.0, np, scipy.linalg.solve_triangular)
    >>> bool(np.allclose(q.T @ q, np.eye(3)))
    True
    """
    n, rows = x.shape
    every = xp.arange(n)
    v = xp.triu(x)  # its rows are V's columns
    first = v[every, every].astype(xp.float64)
    squares = xp.concatenate(
        [
            xp.square(v[start : start + PANEL], dtype=xp.float64).sum(axis=1)
            for start in range(0, n, PANEL)
        ]
    )
    diagonal = -xp.copysign(xp.sqrt(squares), first)
    v[every, every] = first - diagonal
    head = v[every, every].astype(xp.float64)
    half = 0.5 * ((squares - first * first) + head * head)
    half[squares == 0.0] = 1.0
    if n == rows:  # a single element: any vector reflects it, this one exactly
        v[n - 1, n - 1], half[n - 1] = 1.0, 0.5
    scales = (gain * xp.where(squares == 0.0, 1.0, xp.copysign(1.0, diagonal))).astype(v.dtype)

    s = xp.triu(v @ v.T)
    s[every, every] = half
    top, left = corner
    m = solve_triangular(s, v[:, left:n], check_finite=False)
    q = v[:, top : top + size[0]].T @ m
    xp.negative(q, out=q)
    both = xp.arange(max(top, left), min(top + size[0], left + size[1]))
    q[both - top, both - left] += 1
    q *= scales[left:]
    return q


def rounded(q: Any, dtype: np.dtype, xp: Any) -> Any:
    """Return a matrix as the elements of an array of the kernels hold it: 16-bit ones as bits."""
    if dtype == np.uint16:  # bfloat16: nearest, ties to even
        bits = q.view(xp.int32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(xp.uint16)
    return q.astype(xp.float16).view(xp.int16) if dtype == np.int16 else q


def on_stream(stream: Any) -> Any:
    """Return a context in which CuPy works on a CUDA stream."""
    streams, handle = importlib.import_module("cupy").cuda, int(stream)
    return streams.ExternalStream(handle) if handle > 1 else streams.Stream.null


def haar(
    out: Any,
    corner: tuple[int, int],
    shape: tuple[int, int],
    key: tuple[np.uint64, np.uint64, np.uint64],
    gain: float = 1.0,
    stream: Any = LEGACY_STREAM,
) -> None:
    """Write a window of gain times a tall matrix with Haar-distributed orthonormal columns.

    Parameters
    ----------
    out : 2-D CuPy array, written
        float32, float64, or the bits of bfloat16 (as uint16) or float16 (as int16).
    corner, shape, key, gain
        As `haar_cpu.haar` takes them.
    stream : CUDA stream, optional
        Where the work is queued.
    """
    from . import fills_cuda

    if out.size == 0:
        return
    real = np.float64 if out.dtype == np.float64 else np.float32
    normal = Normal(real(1), real(0))
    cupy, linalg = importlib.import_module("cupy"), importlib.import_module("cupyx.scipy.linalg")
    with on_stream(stream):
        x = cupy.empty((corner[1] + out.shape[1], shape[0]), real)
        draw = fills_cuda.Filler(normal, x.dtype)
        flat = driver_cuda.as_cuda_array(x.reshape(-1), sync=False)
        draw(flat, 0, flat.size, draw.WHOLE, fills_cuda.packed_key(key), stream)
        q = columns(x, corner, out.shape, gain, cupy, linalg.solve_triangular)
        out[...] = rounded(q, out.dtype, cupy)
