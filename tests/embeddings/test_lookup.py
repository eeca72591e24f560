"""A table that is filled as keys are looked up: a key has one row, whatever came before it."""

import numpy as np
import pytest

from seedbed import initializers

INIT = initializers.RandomNormal(stddev=0.02, seed=7)
BATCHES = [[1, 2, 3], [2**40, -7, 2], [3, 9, 1, 9]]


class Table:
    """As `Variable` of TensorFlow Recommenders Addons: each shard asks once for its new keys."""

    def __init__(self, shards, rows_of):
        self.shards, self.rows_of = [{} for _ in range(shards)], rows_of

    def lookup(self, keys):
        for number, shard in enumerate(self.shards):
            new = [k for k in dict.fromkeys(keys) if self._home(k) == number and k not in shard]
            shard.update(zip(new, self.rows_of(np.array(new, np.int64)), strict=True))
        return [self.shards[self._home(k)][k].tobytes() for k in keys]

    def _home(self, key):
        return key % len(self.shards)


def rows_seen(rows_of):
    """Return the different rows that each key had: two orders, one shard and two."""
    seen = {}
    for shards in (1, 2):
        for order in (BATCHES, BATCHES[::-1]):
            table = Table(shards, rows_of)
            for keys in order:
                for key, row in zip(keys, table.lookup(keys), strict=True):
                    seen.setdefault(key, set()).add(row)
    return seen


def test_a_key_has_one_row_in_every_order_and_on_every_number_of_shards():
    seen = rows_seen(lambda keys: INIT.keyed(keys, 16))
    assert all(len(rows) == 1 for rows in seen.values())
    assert len(set().union(*seen.values())) == len(seen) == 6
    for key, rows in seen.items():
        assert rows == {INIT.keyed([key], 16)[0].tobytes()}


@pytest.mark.parametrize("width", [1, 16])
def test_an_initializer_that_sees_only_a_shape_repeats_rows(width):
    """What goes wrong without keys; it also shows that the test above can fail."""
    seen = rows_seen(lambda keys: INIT((len(keys), width)))
    assert any(len(rows) > 1 for rows in seen.values())
    assert len(set().union(*seen.values())) < len(seen)
