# pyright: strict
"""What a user writes: checked by pyright and by ``mypy --strict``, and run by the tests."""

import numpy as np
import numpy.typing as npt

import seedbed
from seedbed import initializers, seeds
from seedbed.initializers import Initializer


def make(init: Initializer, rows: int) -> npt.NDArray[np.float32]:
    table: npt.NDArray[np.float32] = init((rows, 8), "float32")
    return table


generator = seedbed.SeedGenerator(7)
init = initializers.VarianceScaling(2.0, "fan_in", "truncated_normal", seed=generator)
first, second = make(init, 100), make(init, 100)
assert not np.array_equal(first, second)

truncated = initializers.TruncatedNormal(stddev=0.02, seed=seeds.derive(7, "user"))
assert truncated.seeded
other = truncated.with_seed(8)
buffer = np.empty((4, 8), np.float32)
filled = truncated((100, 8), window=(slice(4, 8), slice(None)), out=buffer)
assert filled is buffer
rows = truncated((100, 8), rows=[7, 5, 4], window=(None, slice(None)))
assert np.array_equal(rows[2], filled[0])
keyed: npt.NDArray[np.float32] = truncated.keyed([seeds.key("a"), -1], 8)
assert keyed.shape == (2, 8) and other.get_config()["seed"] == 8  # noqa: PT018
