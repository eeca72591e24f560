"""seedbed.keras on JAX with `keras.distribution`: variables are born sharded."""

from tests.keras.runner import run


def test_variables_of_jax_are_born_sharded_and_large_ones_are_not_held_twice():
    flags = "--xla_force_host_platform_device_count=8"
    assert "done" in run("jax", "-m", "tests.keras.sharded_world", XLA_FLAGS=flags)
