"""Seedbed's plain initializers in Keras 3 models, passed as they are, on each backend."""

import pytest

from tests import processes

pytest.importorskip("keras")

pytestmark = pytest.mark.frameworks

MODEL = """
import keras, numpy as np
from seedbed import initializers

for policy in ("float32", "bfloat16", "mixed_bfloat16"):
    embedding, kernel = initializers.RandomUniform(seed=1), initializers.GlorotUniform(seed=2)
    model = keras.Sequential([
        keras.Input((3,), dtype="int32"),
        keras.layers.Embedding(10, 4, embeddings_initializer=embedding, dtype=policy),
        keras.layers.Flatten(),
        keras.layers.Dense(
            5, kernel_initializer=kernel, bias_initializer=initializers.Ones(), dtype=policy
        ),
    ])
    dtype = "bfloat16" if policy == "bfloat16" else "float32"
    expected = [
        embedding((10, 4), dtype), kernel((12, 5), dtype), initializers.Ones()((5,), dtype)
    ]
    for weight, values in zip(model.weights, expected, strict=True):
        assert weight.dtype == dtype, (policy, weight.dtype)
        found = keras.ops.convert_to_numpy(keras.ops.cast(weight.value, "float32"))
        assert (found == values.astype("float32")).all(), (policy, weight.path)
    model(np.zeros((2, 3), "int32"))
print("equal on", keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_weights_equal_the_numpy_values(backend):
    said = processes.output(MODEL, KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3")
    assert f"equal on {backend}" in said
