"""Which sampler a truncated normal has is decided exactly, and so on every machine alike."""

import math
import random

import pytest
from scipy.special import ndtr

from seedbed.values.recipes import keeps_little

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
