"""Models that name no initializer. Keras only: they load where Seedbed was never imported."""

import hashlib
from pathlib import Path

import keras
import numpy as np

POLICIES = ("float32", "bfloat16", "mixed_bfloat16")
layers = keras.layers


@keras.saving.register_keras_serializable("tests")
class Position(layers.Layer):
    """One learned vector a position, as KerasHub's layers have it."""

    def build(self, shape):
        self.embeddings = self.add_weight(shape=shape[1:], name="embeddings")
        self.built = True

    def call(self, x):
        return x + self.embeddings


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """A decoder block, whose layers are made in `build`."""

    def __init__(self, heads, width, **others):
        super().__init__(**others)
        self.heads, self.width = heads, width

    def build(self, shape):
        size, kind = shape[-1], self.dtype_policy
        self.attention = layers.MultiHeadAttention(self.heads, size // self.heads, dtype=kind)
        self.attention.build(shape, shape)
        self.norms = [layers.LayerNormalization(dtype=kind) for _ in range(2)]
        self.inner = layers.Dense(self.width, activation="gelu", dtype=kind)
        self.outer = layers.Dense(size, dtype=kind)
        for layer in (*self.norms, self.inner):
            layer.build(shape)
        self.outer.build((*shape[:-1], self.width))
        self.built = True

    def call(self, x):
        y = self.norms[0](x)
        x = x + self.attention(y, y, use_causal_mask=True)
        return x + self.outer(self.inner(self.norms[1](x)))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "width": self.width}


def transformer():
    words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 16)(words)
    x = Position()(x)
    for _ in range(2):
        x = Block(4, 32)(x)
    return keras.Model(words, layers.Dense(50, use_bias=False)(layers.LayerNormalization()(x)))


def recurrent():
    series = keras.Input((5, 7))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(series)
    x = layers.GRU(9, return_sequences=True)(x)
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 6), bias_axes="e")(x)
    return keras.Model(series, layers.EinsumDense("abde,dec->abc", (None, 8))(x))


def images():
    image = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=8)(image)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(10, 3)(x)
    x = layers.Conv2DTranspose(6, 3)(x)
    return keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def attention():
    x = keras.Input((6, 16))
    x = layers.GroupQueryAttention(8, 4, 2)(y := x, y)
    return keras.Model(y, layers.MultiHeadAttention(2, 8, output_shape=10)(x, y))


def resnet():
    return keras.applications.ResNet50(weights=None)


SMALL = {build.__name__: build for build in (transformer, recurrent, images, attention)}
MODELS = {**SMALL, "resnet": resnet}


def numbers(model):
    return [keras.ops.convert_to_numpy(weight.value) for weight in model.weights]


def digest(arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def equal(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def load(folder):
    """Load what was saved inside a scope."""
    for name in SMALL:
        model = keras.models.load_model(Path(folder, f"scoped_{name}.keras"), compile=False)
        assert digest(numbers(model)) == str(np.load(Path(folder, f"scoped_{name}.npy")))
