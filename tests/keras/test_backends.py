"""seedbed.keras in real models: each backend, JAX's sharded variables, TensorFlow's partitions."""

import functools
import importlib.util
import tempfile
from pathlib import Path

import pytest

from tests import processes
from tests.keras.runner import run

BACKENDS = ("tensorflow", "jax", "torch")


@pytest.fixture(scope="module")
def made():
    """Return a function that makes the models of a backend: their folder, and hashes of them."""
    with tempfile.TemporaryDirectory() as root:

        @functools.cache
        def make(backend):
            folder = Path(root, backend)
            folder.mkdir()
            printed = run(backend, "-m", "tests.keras.world", "make", folder).splitlines()
            assert printed[-1] == f"done on {backend}"
            policies = ("float32", "bfloat16", "mixed_bfloat16")
            return folder, [line for line in printed if line.split(" ")[0] in policies]

        yield make


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_have_the_numpy_values(made, backend):
    _, hashes = made(backend)
    assert len(hashes) == 3 * 5 + 3  # policies by models in a scope, and one given initializers


def test_the_own_tests_of_keras_are_among_what_is_run():
    folder = Path(importlib.util.find_spec("keras").origin).parent / "src" / "initializers"
    if not (folder / "initializer_test.py").exists():
        pytest.skip("needs Keras' own tests, which Keras 3.15.0 does not install")
    assert (folder / "random_initializers_test.py").exists()


@pytest.mark.jax
@pytest.mark.tensorflow
@pytest.mark.torch
def test_models_are_the_same_on_each_backend(made):
    hashes = [made(backend)[1] for backend in BACKENDS]
    assert hashes[0] == hashes[1] == hashes[2]


@pytest.mark.parametrize(
    ("backend", "other"), [("tensorflow", "jax"), ("jax", "torch"), ("torch", "tensorflow")]
)
def test_models_load_in_a_new_process_on_another_backend(made, backend, other):
    assert f"done on {backend}" in run(backend, "-m", "tests.keras.world", "load", made(other)[0])


@pytest.mark.parametrize("missing", ["keras", "tensorflow"])
def test_without_keras_or_a_backend_an_error_says_what_to_install(missing):
    code = f"import sys; sys.modules['{missing}'] = None; import seedbed.keras"
    done = processes.run(processes.python(code), {"KERAS_BACKEND": "tensorflow"}, check=False)
    hint = f"python -m pip install 'seedbed[{missing}]'"
    assert f"seedbed.keras needs Keras and a backend: {hint}" in done.stderr
