"""Seed generators as objects: copies go on where the original stands, on their own."""

import copy
import pickle

import pytest

from seedbed import SeedGenerator, initializers


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_generator_goes_on_by_itself(copied):
    generator = SeedGenerator(7)
    generator.next()
    init = copied(initializers.RandomNormal(seed=generator))
    assert init.get_config() == initializers.RandomNormal(seed=generator).get_config()
    assert init.seed.next() == (7, 2)
    assert init.seed.next() == (7, 3)
    assert generator.next() == (7, 2)
