"""Every random initializer against its theory: mean, variance, kurtosis, shape and end points.

Seeds are fixed, so a run that passes once always does; had the seed been drawn anew, each assertion
would fail a correct sampler with probability below 1e-6.
"""

import math

import numpy as np
import pytest
from scipy import stats

from seedbed import initializers
from seedbed.initializers import compute_fans

SHAPE = (1500, 1000)
FAN_IN, FAN_OUT = compute_fans(SHAPE)
Z = stats.norm.isf(0.5e-6)
TRUNCATED = 0.87962566103423978


def uniform(limit):
    return stats.uniform(-limit, 2 * limit)


def truncated(variance):
    return stats.truncnorm(-2, 2, scale=math.sqrt(variance) / TRUNCATED)


# initializer, its theoretical distribution, the bounds that no value may leave
CASES = {
    "RandomUniform": (
        initializers.RandomUniform(-0.3, 0.1, seed=11),
        stats.uniform(-0.3, 0.4),
        (-0.3, 0.1),
    ),
    "RandomNormal": (initializers.RandomNormal(0.5, 2.0, seed=12), stats.norm(0.5, 2.0), None),
    "TruncatedNormal": (
        initializers.TruncatedNormal(0.5, 2.0, seed=13),
        stats.truncnorm(-2, 2, loc=0.5, scale=2.0),
        (-3.5, 4.5),
    ),
    "GlorotUniform": (
        initializers.GlorotUniform(seed=14),
        uniform(math.sqrt(6 / (FAN_IN + FAN_OUT))),
        None,
    ),
    "GlorotNormal": (
        initializers.GlorotNormal(seed=15),
        truncated(2 / (FAN_IN + FAN_OUT)),
        None,
    ),
    "HeUniform": (initializers.HeUniform(seed=16), uniform(math.sqrt(6 / FAN_IN)), None),
    "HeNormal": (initializers.HeNormal(seed=17), truncated(2 / FAN_IN), None),
    "LecunUniform": (initializers.LecunUniform(seed=18), uniform(math.sqrt(3 / FAN_IN)), None),
    "LecunNormal": (initializers.LecunNormal(seed=19), truncated(1 / FAN_IN), None),
    "VarianceScaling": (
        initializers.VarianceScaling(0.7, "fan_out", "untruncated_normal", seed=20),
        stats.norm(0, math.sqrt(0.7 / FAN_OUT)),
        None,
    ),
}


@pytest.fixture(scope="module")
def draws():
    made = {}

    def draw(name, dtype):
        if (name, dtype) not in made:
            made[name, dtype] = CASES[name][0](SHAPE, dtype).astype(np.float64).ravel()
        return made[name, dtype]

    return draw


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_moments(draws, name, dtype):
    values, theory = draws(name, dtype), CASES[name][1]
    standard = (values - theory.mean()) / theory.std()
    reference = stats.truncnorm(-2, 2) if "truncnorm" in theory.dist.name else theory
    with np.errstate(under="ignore"):
        scaled = [reference.expect(lambda x, k=k: _standard(x, reference) ** k) for k in range(9)]
    for order in (1, 2, 3, 4):
        spread = math.sqrt((scaled[2 * order] - scaled[order] ** 2) / values.size)
        difference = (standard**order).mean() - scaled[order]
        assert abs(difference) < Z * spread, (
            f"moment {order} is {difference / spread:.1f} sigma off"
        )


def _standard(x, distribution):
    return (x - distribution.mean()) / distribution.std()


@pytest.mark.parametrize("name", CASES)
def test_distribution_function(draws, name):
    values, theory = draws(name, "float32")[:300_000], CASES[name][1]
    assert stats.kstest(values, theory.cdf).pvalue > 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_end_points(draws, name, dtype):
    values, theory = draws(name, dtype), CASES[name][1]
    low, high = CASES[name][2] or theory.support()
    if math.isfinite(low):
        # scipy's support is rounded: a few ulp of slack there, none at the bounds given.
        slack = 0.0 if CASES[name][2] else 4 * np.spacing(high)
        assert values.min() >= low - slack
        assert values.max() <= high + slack
        if "Uniform" in name:
            assert values.max() < high
    # The extremes come near the ends: P(no value beyond the quantile) < 1e-6.
    rare = 14.0 / values.size
    largest, smallest = theory.isf(rare), theory.ppf(rare)
    coarse = 2.0**-7 if dtype in ("float16", "bfloat16") else 0.0
    assert values.max() > largest - coarse * abs(largest)
    assert values.min() < smallest + coarse * abs(smallest)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_sixteen_bits_are_rounded_float32(draws, name, dtype):
    exact, coarse = draws(name, "float32"), draws(name, dtype)
    ulp = 2.0 ** (-11 if dtype == "float16" else -8)
    # Half an ulp from rounding, and one whole where a bound pushes the value back inside.
    assert (np.abs(coarse - exact) <= 2 * ulp * np.abs(exact) + 2.0**-24).all()
    assert (np.abs(coarse - exact) <= ulp * np.abs(exact) * 1.001 + 2.0**-25).mean() > 0.99


def test_truncated_normal_is_not_corrected_and_variance_scaling_is():
    plain = initializers.TruncatedNormal(0.0, 1.0, seed=21)(SHAPE, "float64")
    scaled = initializers.VarianceScaling(float(FAN_IN), seed=21)(SHAPE, "float64")
    kurtosis = stats.truncnorm(-2, 2).stats("k") + 3
    spread = math.sqrt((kurtosis - 1) / (4 * plain.size))  # of std, relative
    assert abs(plain.std() / TRUNCATED - 1) < Z * spread
    assert abs(scaled.std() - 1) < Z * spread


def test_no_correlation_between_neighbours():
    values = initializers.RandomNormal(0.0, 1.0, seed=22)((1_000_000,), "float64")
    for lag in (1, 2, 31, 32, 33, 64, 96, 127, 128, 129, 4096):
        product = (values[:-lag] * values[lag:]).mean() * math.sqrt(values.size - lag)
        assert abs(product) < stats.norm.isf(0.5e-7)
