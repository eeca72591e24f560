"""Keras on one backend, in a process of its own; run by test_backends.py.

``make FOLDER`` builds models in each policy, checks and saves them, and prints hashes of their
weights. ``load FOLDER`` loads what another backend saved.
"""

import sys

import keras

from tests.keras import scoped_models


def make(folder):
    from tests.keras import given_world, own_tests, scoped_world

    scoped_world.models(folder)
    scoped_world.deferred()
    scoped_world.again()
    given_world.make(folder)
    own_tests.run()


def load(folder):
    scoped_models.load(folder)
    assert not [name for name in sys.modules if name.split(".")[0] == "seedbed"]
    from tests.keras import given_world

    given_world.load(folder)


if __name__ == "__main__":
    {"make": make, "load": load}[sys.argv[1]](*sys.argv[2:])
    print("done on", keras.backend.backend())
