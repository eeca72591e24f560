"""How far Box-Muller's values are from exact, given the same unit floats.

The reference is 80-bit arithmetic where the platform has it; its own error is far below the bounds.
"""

import numba
import numpy as np
import pytest

from seedbed_kernels import floats, gaussian

LONG = np.longdouble
PI = LONG("3.14159265358979323846264338327950288")
COUNT = 1_000_000


@numba.njit
def narrow(words, u, t, z):
    for i in range(len(words)):
        u[i] = floats.unit_float32_open_closed(words[i, 0])
        t[i] = floats.half_turn_float32_closed_closed(words[i, 1])
        z[0, i], z[1, i] = gaussian.box_muller_float32(words[i, 0], words[i, 1])


@numba.njit
def wide(words, u, t, z):
    for i in range(len(words)):
        w0, w1, w2, w3 = words[i]
        u[i] = floats.unit_float64_open_closed(w0, w1)
        t[i] = floats.half_turn_float64_closed_closed(w2, w3)
        z[0, i], z[1, i] = gaussian.box_muller_float64(w0, w1, w2, w3)


# Error in units of the radius: three or four roundings, as kernels/README.md says.
@pytest.mark.parametrize(
    ("dtype", "transform", "mirror", "bound"),
    [(np.float32, narrow, 1, 3.5e-7), (np.float64, wide, 2, 6.5e-16)],
)
def test_error_in_units_of_the_radius(dtype, transform, mirror, bound):
    generator = np.random.default_rng(4)
    words = generator.integers(0, 2**32, (COUNT, 4), dtype=np.uint64)
    words[:50_000, 0] >>= 20  # far tail
    words[50_000:100_000, 0] |= 0xFFFFF000  # centre
    u, t, z = np.empty(COUNT, dtype), np.empty(COUNT, dtype), np.empty((2, COUNT), dtype)
    transform(words, u, t, z)
    radius = np.sqrt(-2 * np.log(u.astype(LONG)))
    cosine, sine = np.cos(PI * t.astype(LONG)), np.sin(PI * t.astype(LONG))
    cosine = np.where(words[:, mirror] >> 31, -cosine, cosine)
    there = radius > 0
    for found, exact in zip(z, (radius * cosine, radius * sine), strict=True):
        assert (found[~there] == 0).all()
        error = np.abs(found[there].astype(LONG) - exact[there]) / radius[there]
        print(dtype.__name__, float(error.max()))
        assert error.max() < bound
