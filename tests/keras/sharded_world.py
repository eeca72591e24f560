"""JAX's sharded variables on eight devices of the host; run by test_sharded.py."""

import jax
import keras
import numpy as np
from keras.distribution import DeviceMesh, LayoutMap, ModelParallel, set_distribution

import seedbed.keras as sk
from seedbed import initializers
from seedbed.seeds import derive
from tests.keras import own_tests


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def large():
    """An embedding of 2 GB, with the initializer it has by default, is not held twice."""
    layouts = LayoutMap(DeviceMesh((8,), ("model",)))
    layouts[".*embeddings"] = ("model", None)
    set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="model"))
    shape = 2**22, 128
    sk.RandomUniform(seed=1)((64, 64))
    before = peak()
    with sk.scope(7):
        layer = keras.layers.Embedding(*shape)
        layer.build((None,))
    table = jax.block_until_ready(layer.embeddings.value)
    assert type(table).__name__ == "ArrayImpl", type(table)
    grown = (peak() - before) / table.nbytes
    assert 0.9 < grown < 1.3, grown
    plain = initializers.RandomUniform(seed=derive(7, layer.embeddings.path))
    assert len({str(shard.index) for shard in table.addressable_shards}) == 8
    for shard in table.addressable_shards:
        rows = range(shape[0])[shard.index[0]]
        window = slice(rows.start, rows.stop), slice(None)
        assert (np.asarray(shard.data) == plain(shape, window=window)).all()


def born():

    made, call = [], initializers.TruncatedNormal.__call__

    def counted(self, shape, dtype=None, **others):
        values = call(self, shape, dtype, **others)
        made.append(values.shape)
        return values

    initializers.TruncatedNormal.__call__ = counted

    layouts = LayoutMap(DeviceMesh((2, 4), ("batch", "model")))
    layouts[".*embeddings"], layouts[".*kernel"] = ("model", None), (None, "model")
    set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="batch"))
    generator = keras.random.SeedGenerator(3)
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(
                2**18, 64, embeddings_initializer=sk.TruncatedNormal(stddev=0.02, seed=5)
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(
                8, kernel_initializer=sk.HeNormal(generator), bias_initializer=sk.Zeros()
            ),
        ]
    )
    assert made == [(2**16, 64)] * 4, made  # never the whole, and no replica twice
    whole = initializers.TruncatedNormal(stddev=0.02, seed=5)((2**18, 64))
    kernel = initializers.HeNormal(initializers.SeedGenerator(3))((256, 8))
    for variable, values in ((model.weights[0], whole), (model.weights[1], kernel)):
        shards = variable.value.addressable_shards
        assert len(shards) == 8
        assert len({str(shard.index) for shard in shards}) == 4
        for shard in shards:
            np.testing.assert_array_equal(shard.data, values[shard.index], strict=True)
    model.compile("sgd", "mse")
    model.fit(np.arange(32).reshape(8, 4), np.ones((8, 8)), verbose=0)
    assert model.weights[0].value.addressable_shards[0].data.shape == (2**16, 64)
    assert (np.asarray(model.weights[0].value)[:32] != whole[:32]).any()

    layout = keras.distribution.TensorLayout(("model", None), layouts.device_mesh)
    table = sk.TruncatedNormal(seed=5)((8, 2), "bfloat16", layout)
    assert len({str(shard.index) for shard in table.addressable_shards}) == 4
    generator = initializers.SeedGenerator
    table = sk.HeNormal(generator(3))((8, 2), "float32", layout)
    assert (np.asarray(table) == initializers.HeNormal(generator(3))((8, 2))).all()

    def without_layout(shape, dtype=None):  # as Keras calls before 3.15
        return sk.GlorotUniform(seed=7)(shape, dtype)

    dense = keras.layers.Dense(8, kernel_initializer=without_layout)
    dense.build((None, 6))
    assert (np.asarray(dense.kernel.value) == initializers.GlorotUniform(7)((6, 8))).all()

    whole = initializers.GlorotUniform(7)((6, 8))
    for function in (
        lambda x: 0.5 * x,
        lambda x: np.float32(2) * -x,
        lambda x: x.astype("bfloat16"),
        lambda x: jax.numpy.clip(x, -0.1, 0.1),
        lambda x: keras.ops.clip(x, -0.1, 0.1),
    ):

        def of_the_user(shape, dtype=None, layout=None, function=function):
            return function(sk.GlorotUniform(seed=7)(shape, dtype=dtype, layout=layout))

        dense = keras.layers.Dense(8, kernel_initializer=of_the_user)
        dense.build((None, 6))
        assert len({str(s.index) for s in dense.kernel.value.addressable_shards}) == 4
        found, wanted = np.asarray(dense.kernel.value), function(jax.numpy.asarray(whole))
        np.testing.assert_array_equal(found, np.asarray(wanted))


if __name__ == "__main__":
    large()
    born()
    set_distribution(None)
    own_tests.run(own_tests.SHARDED)
    print("done")
