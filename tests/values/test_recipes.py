"""Which sampler a recipe has is decided exactly, and so on every machine alike."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import ndtr

from seedbed.values.dtypes import as_dtype, largest
from seedbed.values.recipes import Normal, keeps_little, kernel_sampler
from seedbed_kernels import samplers

INF = math.inf


@pytest.mark.parametrize(
    ("lower", "upper", "little"),
    [
        # Beside the limit; mpmath with 60 digits says on which side.
        (1.6448536269514722, INF, False),
        (1.6448536269514729, INF, True),
        (-INF, -1.6448536269514722, False),
        (-INF, -1.6448536269514729, True),
        (float.fromhex("0x1.3caf8ffed845cp+0"), float.fromhex("0x1.924dacb00eb3fp+0"), True),
        (-2.0, 2.0, False),
        (-INF, INF, False),
        (-1e308, 1e308, False),
        (-0.0, 0.1253, True),
        (0.0, 0.1258, False),
        (9.0, 12.0, True),
        (2.0**60, INF, True),
        (-5e-324, 5e-324, True),
    ],
)
def test_sides_of_the_limit(lower, upper, little):
    assert keeps_little(lower, upper) is little
    assert keeps_little(-upper, -lower) is little


def test_as_scipy_says_away_from_the_limit():
    generator = random.Random(1)
    for _ in range(3000):
        lower = generator.uniform(-7, 7)
        upper = lower + abs(generator.gauss(0, 1)) * generator.choice([0.01, 0.2, 1, 3])
        kept = ndtr(upper) - ndtr(lower)
        if abs(kept - 0.05) > 1e-12:
            assert keeps_little(lower, upper) is bool(kept < 0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_normal_without_bounds_stays_in_its_dtype(dtype):
    """At the values farthest from the mean that a kernel makes: see `test_contract`."""
    generator, most = random.Random(2), largest(as_dtype(dtype))
    real = np.float64 if dtype == "float64" else np.float32
    farthest = Fraction(9.493 if real is np.float64 else 6.764)
    beyond = (
        Fraction(most) + (Fraction(most) - Fraction(float(np.nextafter(real(most), real(0))))) / 2
    )
    seen = set()
    for _ in range(2000):
        stddev = most * 2.0 ** generator.uniform(-60, 0) * generator.choice([-1, 1])
        mean = (most - 10 * abs(stddev) * generator.uniform(0.6, 1.4)) * generator.choice([-1, 1])
        mean = max(-most, min(mean, most))
        sampler = kernel_sampler(Normal(mean, stddev), as_dtype(dtype))
        reached = abs(Fraction(float(real(mean)))) + farthest * abs(Fraction(float(real(stddev))))
        seen.add(type(sampler))
        if type(sampler) is samplers.Normal:
            assert reached < beyond, (mean, stddev)  # from there on it is rounded up
        else:
            assert (-sampler.low, sampler.high) == (most, most)
            assert (sampler.lower, sampler.upper) == (-math.inf, math.inf)
    assert seen == {samplers.Normal, samplers.TruncatedNormal}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("mean", [0.0, -0.5, 3.0])
def test_usual_normals_have_no_bounds(dtype, mean):
    assert type(kernel_sampler(Normal(mean, 0.05), as_dtype(dtype))) is samplers.Normal
