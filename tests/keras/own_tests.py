"""Keras' own tests of its initializers, as installed, with Seedbed's classes in their place."""

import importlib.util
import sys
import types
import unittest

import keras
from keras.src import initializers as theirs

import seedbed.keras as ours

TESTS = ("constant_initializers_test", "random_initializers_test")
SHARDED = ("initializer_test",)  # for JAX with four devices or more
INSTALLED = importlib.util.find_spec("keras.src.initializers.initializer_test") is not None
NAMES = [name for name in vars(theirs) if name in ours.__all__]


def run(tests=TESTS):
    if not INSTALLED:
        return
    assert {"VarianceScaling", "STFT", "get", "deserialize", "serialize"} <= set(NAMES)
    for name in NAMES:
        setattr(theirs, name, getattr(ours, name))
    theirs.random_initializers.compute_fans = ours.compute_fans
    stub = types.ModuleType("conftest")  # of Keras' repository, which is not installed
    stub.skip_if_backend = lambda *backends: lambda test: test
    sys.modules["conftest"] = stub
    suite = unittest.defaultTestLoader.loadTestsFromNames(
        f"keras.src.initializers.{name}" for name in tests
    )
    result = unittest.TextTestRunner().run(suite)
    assert result.wasSuccessful()
    assert not result.skipped
    assert result.testsRun >= 2 * len(tests)
    assert keras.src.initializers.HeNormal is ours.HeNormal
