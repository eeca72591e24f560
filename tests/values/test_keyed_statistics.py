"""Statistics of rows of keys, of fixed seeds: a test fails in each run or in none.

Each of about 1,000 p-values is refused below 1e-10, so that with another seed all of them together
fail once in 10**7 runs.
"""

import numpy as np
import pytest
from scipy import stats

from seedbed import initializers

LIMIT = 1e-10
COUNT = 1 << 18
LAWS = {
    "uniform": (initializers.RandomUniform(0.0, 1.0, seed=11), stats.uniform()),
    "normal": (initializers.RandomNormal(0.0, 1.0, seed=11), stats.norm()),
    "truncated": (initializers.TruncatedNormal(0.0, 1.0, seed=11), stats.truncnorm(-2, 2)),
}
FAR = np.arange(COUNT, dtype=np.uint64) * np.uint64(2**46)
SAMPLES = {
    "keys": lambda init, dtype: init.keyed(np.arange(COUNT), 7, dtype, columns=slice(6, 7)),
    "far keys": lambda init, dtype: init.keyed(FAR, 3, dtype, columns=slice(2, 3)),
    "columns": lambda init, dtype: init.keyed([12345678901234567890], COUNT, dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", LAWS)
def test_distribution_and_moments(name, sample, dtype):
    init, law = LAWS[name]
    values = SAMPLES[sample](init, dtype).ravel().astype(np.float64)
    with np.errstate(under="ignore"):  # in SciPy's densities
        assert stats.kstest(values, law.cdf).pvalue > LIMIT
        moments = {p: law.expect(lambda x, p=p: (x - law.mean()) ** p) for p in (1, 2, 3, 4, 6, 8)}
    central = values - law.mean()
    for power in (1, 2, 3, 4):
        mean, square = moments[power], moments[2 * power]
        z = (np.mean(central**power) - mean) / np.sqrt((square - mean**2) / COUNT)
        assert 2 * stats.norm.sf(abs(z)) > LIMIT


def correlated(a, b):
    """Return the p-value of no correlation."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    z = np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()) * np.sqrt(a.size)
    return 2 * stats.norm.sf(abs(z))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAWS)
def test_nothing_is_correlated(name, dtype):
    init = LAWS[name][0]
    block = init.keyed(np.arange(1 << 13), 32, dtype)
    dense = init((1 << 13, 32), dtype)
    for transform in (np.asarray, lambda x: (x - x.mean()) ** 2):
        some, others = transform(block), transform(dense)
        for lag in (1, 2, 3, 4, 8, 16):
            assert correlated(some[lag:], some[:-lag]) > LIMIT  # along keys, at every column
            assert correlated(some[:, lag:], some[:, :-lag]) > LIMIT  # along columns
        assert correlated(some, others) > LIMIT
        assert correlated(some.T, others.reshape(32, -1)) > LIMIT
    for column in range(32):
        assert correlated(block[1:, column], block[:-1, column]) > LIMIT
    other = init.with_seed(12).keyed(np.arange(1 << 13), 32, dtype)
    assert correlated(block, other) > LIMIT


def test_half_of_the_bits_change_from_key_to_key():
    words = np.floor(LAWS["uniform"][0].keyed(np.arange(1 << 14), 8) * 2**24).astype(np.uint32)
    flipped = words[1:] ^ words[:-1]
    for bit in range(24):
        changed = int((flipped >> bit & 1).sum())
        assert stats.binomtest(changed, flipped.size, 0.5).pvalue > LIMIT
