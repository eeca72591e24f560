"""seedbed.keras on JAX with `keras.distribution`: variables are born sharded."""

import pytest

from tests.keras.runner import run

pytest.importorskip("jax")

pytestmark = pytest.mark.frameworks


def test_variables_are_born_sharded_and_large_ones_are_not_held_twice():
    flags = "--xla_force_host_platform_device_count=8"
    assert "done" in run("jax", "-m", "tests.keras.sharded_world", XLA_FLAGS=flags)
