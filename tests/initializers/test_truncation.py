"""TruncatedNormal between bounds of one's own."""

import math

import numpy as np
import pytest
from scipy import stats

from seedbed.initializers import RandomNormal, TruncatedNormal


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "bounds",
    [
        (-1.0, 0.5),
        (0.0, 3.0),
        (1.6, 9.0),
        (-math.inf, 0.3),
        (0.0, 0.1),  # from here on less than 5 % of the normal
        (-0.06, 0.05),
        (1.0, 1.2),
        (-10.1, -10.0),
        (2.0, 2.5),
        (2.0, 9.0),
        (-math.inf, -5.0),
        (40.0, math.inf),
    ],
)
def test_distribution_and_bounds(bounds, dtype):
    lower, upper = bounds
    values = TruncatedNormal(0.5, 0.25, 11, lower, upper)((200, 500), dtype).ravel()
    assert values.min() >= 0.5 + 0.25 * lower
    assert values.max() <= 0.5 + 0.25 * upper
    law = stats.truncnorm(lower, upper, loc=0.5, scale=0.25)
    with np.errstate(under="ignore"):
        fit = stats.kstest(values, law.cdf)
    assert fit.pvalue > 1e-7  # false alarms, for all: 3e-6


@pytest.mark.parametrize("lower", [1000.0, 1e9])
def test_far_tails_are_exponential(lower):
    """Beyond a far bound a, a times the distance from it is exponential but for terms in 1 / a²."""
    init = TruncatedNormal(-lower, 1.0, 3, lower, math.inf)  # mean + lower is 0: every digit shows
    values = lower * init((400, 500)).ravel().astype(np.float64)
    assert values.min() >= 0
    assert stats.kstest(values, stats.expon.cdf).pvalue > 1e-7
    # Mean and kurtosis of 200,000 exponentials, within six standard errors (1 and 73 / √n).
    assert abs(values.mean() - 1) < 6 / 447
    assert abs(stats.kurtosis(values) - 6) < 6 * 73 / 447


def test_a_value_is_the_normal_one_unless_that_is_outside():
    normal = RandomNormal(stddev=1.0, seed=5)((1000, 64))
    values = TruncatedNormal(0.0, 1.0, 5, -0.5, 3.0)((1000, 64))
    kept = (normal >= -0.5) & (normal <= 3.0)
    assert (values[kept] == normal[kept]).all()
    assert (values[~kept] != normal[~kept]).all()


def test_windows_of_the_table():
    init = TruncatedNormal(seed=5, lower=1.0, upper=2.0)
    window = slice(13, 71), slice(5, 40)
    whole = init((100, 50), "bfloat16")
    np.testing.assert_array_equal(init((100, 50), "bfloat16", window=window), whole[window])


def test_configuration_is_that_of_keras_unless_bounds_are_given():
    assert TruncatedNormal(seed=1).get_config() == {"mean": 0.0, "stddev": 0.05, "seed": 1}
    init = TruncatedNormal(seed=1, lower=-1.0)
    assert init.get_config() == {"mean": 0.0, "stddev": 0.05, "seed": 1, "lower": -1.0, "upper": 2}
    assert (init.clone()((9,)) == init((9,))).all()


def test_zero_stddev_and_infinite_bounds():
    values = TruncatedNormal(3.0, 0.0, 1, -math.inf, math.inf)((4,))
    assert (values == 3).all()


@pytest.mark.parametrize(
    ("lower", "upper", "error", "message"),
    [
        (1.0, 1.0, ValueError, "lower must be below upper; given 1.0 and 1.0"),
        (2.0, math.nan, ValueError, "lower must be below upper"),
        (2.0**61, math.inf, ValueError, r"must not both lie beyond ±2\*\*60; given 2.3"),
        (-math.inf, -(2.0**61), ValueError, "must not both lie beyond"),
        ("0", 1.0, TypeError, "lower and upper must be numbers"),
    ],
)
def test_errors(lower, upper, error, message):
    with pytest.raises(error, match=f"TruncatedNormal: .*{message}"):
        TruncatedNormal(lower=lower, upper=upper)


@pytest.mark.parametrize(
    ("dtype", "arguments"),
    [
        ("float16", (60000.0, 10000.0, 1, 1.0, 3.0)),
        ("float32", (3e38, 1e38, 1, 1.0, 3.0)),
        ("bfloat16", (-3e38, 1e38, 1, -math.inf, -1.0)),
        ("float64", (1.5e308, 1e308, 1, 1.0, 3.0)),
    ],
)
def test_bounds_beyond_the_dtype_are_refused(dtype, arguments):
    with pytest.raises(ValueError, match=f"TruncatedNormal: no {dtype} number lies from mean"):
        TruncatedNormal(*arguments)((4,), dtype)
