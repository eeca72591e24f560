"""A model whose layers are given Seedbed's initializers, on one backend; part of world.py."""

import contextlib
import json
from pathlib import Path

import keras
import numpy as np

import seedbed.keras as sk
from seedbed import initializers as plain
from seedbed_kernels import memory
from tests.keras.scoped_models import POLICIES, digest, equal, numbers


def build(policy):
    layers = keras.layers
    glorot = sk.GlorotUniform(seed=3)
    words = keras.Input((4,), dtype="int32")
    image = keras.Input((6, 6, 3))
    x = layers.Embedding(11, 8, embeddings_initializer=sk.RandomUniform(seed=1), dtype=policy)(
        words
    )
    x = layers.MultiHeadAttention(2, 4, kernel_initializer=glorot, use_bias=False, dtype=policy)(
        x, x
    )
    x = layers.EinsumDense(
        "abc,cde->abde", (None, 2, 5), kernel_initializer="seedbed>HeNormal", dtype=policy
    )(x)
    x = layers.EinsumDense(
        "abde,dec->abc", (None, 6), kernel_initializer=sk.HeNormal(seed=4), dtype=policy
    )(x)
    x = layers.LSTM(
        5,
        kernel_initializer=sk.LecunNormal(seed=5),
        recurrent_initializer=sk.Orthogonal(seed=6),
        bias_initializer=sk.Constant(0.25),
        unit_forget_bias=False,
        dtype=policy,
    )(x)
    y = layers.Conv2D(
        7, 3, kernel_initializer=sk.VarianceScaling(2.0, seed=8), use_bias=False, dtype=policy
    )(image)
    y = layers.BatchNormalization(
        gamma_initializer=sk.RandomUniform(0.5, 1.5, seed=9),
        beta_initializer=sk.RandomNormal(seed=10),
        moving_mean_initializer=sk.Zeros(),
        moving_variance_initializer=sk.Ones(),
        dtype=policy,
    )(y)
    z = layers.Concatenate(dtype=policy)([x, layers.Flatten(dtype=policy)(y)])
    config = {"class_name": "seedbed>TruncatedNormal", "config": {"stddev": 0.1, "seed": 11}}
    z = layers.Dense(2, kernel_initializer=config, bias_initializer=sk.Zeros(), dtype=policy)(z)
    return keras.Model([words, image], z)


def expected(dtype):
    """Return what NumPy gives for all weights but the unseeded one, in no order of layers."""
    inward, outward = {"input_axes": [0], "output_axes": [1, 2]}, {"output_axes": [2]}
    query = plain.GlorotUniform(3, **inward)((8, 2, 4), dtype)
    return [
        plain.RandomUniform(seed=1)((11, 8), dtype),
        *[query] * 3,
        plain.GlorotUniform(3, input_axes=[0, 1], **outward)((2, 4, 8), dtype),
        plain.HeNormal(4, input_axes=[0, 1], **outward)((2, 5, 6), dtype),
        plain.LecunNormal(5)((6, 20), dtype),
        plain.Orthogonal(seed=6)((5, 20), dtype),
        np.full(20, 0.25).astype(query.dtype),
        plain.VarianceScaling(2.0, seed=8)((3, 3, 3, 7), dtype),
        plain.RandomUniform(0.5, 1.5, seed=9)((7,), dtype),
        plain.RandomNormal(seed=10)((7,), dtype),
        np.zeros(7, query.dtype),
        np.ones(7, query.dtype),
        plain.TruncatedNormal(stddev=0.1, seed=11)((5 + 4 * 4 * 7, 2), dtype),
        np.zeros(2, query.dtype),
    ]


def by_shape(arrays):
    return sorted(arrays, key=lambda array: (array.ndim, array.shape))


def inputs():
    random = np.random.default_rng(1)
    return [random.integers(0, 11, (2, 4)), random.random((2, 6, 6, 3), np.float32)]


def make(folder):
    for policy in POLICIES:
        keras.utils.set_random_seed(5)
        model = build(policy)
        first = numbers(model)
        unseeded = next(i for i, w in enumerate(model.weights) if w.shape == (8, 2, 5))
        wanted = expected("bfloat16" if policy == "bfloat16" else "float32")
        equal(by_shape(first[:unseeded] + first[unseeded + 1 :]), by_shape(wanted))
        print(policy, digest(first))

        keras.utils.set_random_seed(5)
        equal(numbers(build(policy)), first)
        equal(numbers(build(policy))[:unseeded], first[:unseeded])
        clone = numbers(keras.models.clone_model(model))
        equal(by_shape(clone[:unseeded] + clone[unseeded + 1 :]), by_shape(wanted))
        assert (clone[unseeded] != first[unseeded]).any()

        model.compile("adam", "mse")
        model.fit(inputs(), np.ones((2, 2), np.float32), verbose=0)
        assert any((a != b).any() for a, b in zip(numbers(model), first, strict=True))
        model.save(Path(folder, f"{policy}.keras"))
        np.save(Path(folder, f"{policy}.npy"), digest(numbers(model)))
    one_by_one()
    cloned_and_slots()
    seeds()
    deferred()
    plain_ones()
    tensors()
    large()
    kept()


def one_by_one():
    shapes = {"Identity": (4, 4), "STFT": (8, 1, 5), "DeltaOrthogonal": (3, 2, 4)}
    for name in sorted({kind.__name__ for kind in plain.registry.CLASSES.values()}):
        if name == "Initializer":
            continue
        kind = getattr(sk, name)
        init = kind(seed=7) if issubclass(kind, sk.RandomInitializer) else kind()
        theirs = getattr(keras.initializers, name, keras.initializers.Initializer)
        assert isinstance(init, theirs)
        assert isinstance(keras.initializers.get(f"seedbed>{name}"), kind)
        again = keras.initializers.deserialize(keras.initializers.serialize(init))
        assert type(again) is kind
        assert again.get_config() == init.get_config()
        assert keras.initializers.deserialize(plain.serialize(init)).get_config() == (
            init.get_config()
        )
        shape = shapes.get(name, (3, 5))
        for dtype in ("float32", "float16", "bfloat16", None):
            values = getattr(plain, name).from_config(init.get_config())(shape, dtype)
            found = init(shape, dtype)
            assert keras.ops.is_tensor(found)
            equal([keras.ops.convert_to_numpy(found)], [values])
    keras.config.set_floatx("float16")
    assert keras.backend.standardize_dtype(sk.HeNormal(seed=1)((2, 2)).dtype) == "float16"
    keras.config.set_floatx("float32")
    part = sk.HeNormal(seed=1)((4, 4), window=(slice(2), slice(2)))
    assert type(part) is np.ndarray


def cloned_and_slots():
    """A layer that clones its initializer four times, and variables of an optimizer."""
    layer = keras.layers.GroupQueryAttention(
        4, 4, 2, kernel_initializer=sk.GlorotUniform(seed=3), use_bias=False
    )
    layer.build((None, 5, 8), (None, 5, 8))
    heads, out = {"input_axes": [0], "output_axes": [1, 2]}, [[0, 1], [2]]
    wanted = [plain.GlorotUniform(3, **heads)((8, n, 4), "float32") for n in (4, 2, 2)]
    wanted.append(plain.GlorotUniform(3, *out)((4, 4, 8), "float32"))
    equal([keras.ops.convert_to_numpy(weight.value) for weight in layer.weights], wanted)

    optimizer = keras.optimizers.Adam()
    optimizer.build(layer.trainable_variables)
    init = sk.RandomNormal(seed=4)
    like = optimizer.add_variable_from_reference(layer.weights[0], "slot", initializer=init)
    alone = optimizer.add_variable((7,), initializer=init, dtype="float32", name="alone")
    wanted = [plain.RandomNormal(seed=4)(shape, "float32") for shape in ((8, 4, 4), (7,))]
    equal([keras.ops.convert_to_numpy(v.value) for v in (like, alone)], wanted)


def seeds():
    """Generators of Keras and of Seedbed give the same, and survive a configuration."""
    generator = plain.SeedGenerator(3)
    init = plain.HeNormal(generator)
    draws = [init((3, 2)), init((3, 2))]
    for seed in (keras.random.SeedGenerator(3), plain.SeedGenerator(3)):
        init = sk.HeNormal(seed)
        equal([keras.ops.convert_to_numpy(init((3, 2))) for _ in draws], draws)
        again = keras.initializers.deserialize(keras.initializers.serialize(init))
        assert type(again.seed) is type(seed)
        equal([keras.ops.convert_to_numpy(again((3, 2)))], draws[:1])


def deferred():
    """Variables made in `call` are read while tracing, which must not draw."""

    class Model(keras.Model):
        def __init__(self, generator):
            super().__init__()
            self.one, self.two = (
                keras.layers.Dense(3, kernel_initializer=sk.HeNormal(generator), use_bias=False)
                for _ in range(2)
            )

        def call(self, x):
            return self.two(self.one(x) + self.one.kernel[0])

    init = plain.HeNormal(plain.SeedGenerator(3))
    wanted = [init((2, 3)), init((3, 3))]
    for generator in (keras.random.SeedGenerator(3), plain.SeedGenerator(3)):
        model = Model(generator)
        model.compile("adam", "mse")
        model.predict(np.ones((4, 2), np.float32), verbose=0)
        equal([keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables], wanted)


def plain_ones():
    """Seedbed's plain initializers may be passed, too."""
    for policy in ("float32", "bfloat16", "mixed_bfloat16"):
        embedding, kernel = plain.RandomUniform(seed=1), plain.GlorotUniform(seed=2)
        model = keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                keras.layers.Embedding(10, 4, embeddings_initializer=embedding, dtype=policy),
                keras.layers.Flatten(),
                keras.layers.Dense(
                    5, kernel_initializer=kernel, bias_initializer=plain.Ones(), dtype=policy
                ),
            ]
        )
        dtype = "bfloat16" if policy == "bfloat16" else "float32"
        expected = [embedding((10, 4), dtype), kernel((12, 5), dtype), plain.Ones()((5,), dtype)]
        for weight, values in zip(model.weights, expected, strict=True):
            assert weight.dtype == dtype, (policy, weight.dtype)
            found = keras.ops.convert_to_numpy(keras.ops.cast(weight.value, "float32"))
            assert (found == values.astype("float32")).all(), (policy, weight.path)
        model(np.zeros((2, 3), "int32"))


def tensors():
    """Tensors and variables are arguments like numbers, in both packages."""
    tensor = keras.ops.convert_to_tensor
    scalars = [tensor(0.5), tensor(0.5, "bfloat16"), keras.Variable(0.5), keras.Variable(0.5).value]
    arrays = [tensor([[1.0, 2.5]], dtype) for dtype in ("float32", "bfloat16", "float16")]
    arrays += [keras.Variable([[1.0, 2.5]]), [tensor([1.0, 2.5])]]
    for module in (plain, sk):
        for half in scalars:
            for init in (
                module.RandomNormal(half, half, seed=1),
                module.TruncatedNormal(half, half, seed=1, upper=half),
                module.RandomUniform(half, half, seed=1),
                module.VarianceScaling(half, seed=1),
                module.Orthogonal(half, seed=1),
                module.DeltaOrthogonal(half, seed=1),
                module.Identity(half),
                module.Constant(half),
            ):
                config = json.loads(json.dumps(init.get_config()))
                assert 0.5 in config.values()
                assert init.from_config(config).get_config() == init.get_config()
        for array in arrays:
            init = module.Constant(array)
            config = json.loads(json.dumps(init.get_config()))
            for each in (init, module.Constant.from_config(config)):
                found = keras.ops.convert_to_numpy(each((3, 2), "float32"))
                equal([found], [np.full((3, 2), [1.0, 2.5], "float32")])
        window = module.STFT(window=tensor([1.0, 2.0, 2.0, 1.0]))
        json.dumps(window.get_config())
        assert window((4, 1, 3)).shape == (4, 1, 3)


def large():
    """Large tables lie where they were made."""
    made, call = [], plain.TruncatedNormal.__call__

    def noted(self, *arguments, **others):
        values = call(self, *arguments, **others)
        made.append(values.ctypes.data)
        return values

    plain.TruncatedNormal.__call__ = noted

    def address(tensor):
        if keras.backend.backend() == "jax":
            return tensor.unsafe_buffer_pointer()
        if keras.backend.backend() == "torch":
            return tensor.data_ptr()
        import tensorflow as tf

        return np.from_dlpack(tf.bitcast(tensor, f"uint{8 * tensor.dtype.size}")).ctypes.data

    for dtype in ("float32", "bfloat16", "float16"):
        init = sk.TruncatedNormal(seed=7)
        own = plain.TruncatedNormal(seed=7)
        tensor = init((2048, 1024), dtype)
        assert address(tensor) == made[-1], dtype
        layer = keras.layers.Embedding(2048, 1024, embeddings_initializer=init, dtype=dtype)
        layer.build((None,))
        of_torch = keras.backend.backend() == "torch"  # where it would lie in the tensor's memory
        variable = keras.Variable(keras.ops.copy(tensor) if of_torch else tensor)
        variable.assign_add(keras.ops.ones(tensor.shape, dtype))  # trained
        values = own((2048, 1024), dtype)
        for found in (tensor, layer.embeddings):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), values, strict=True)
        del tensor
        variable.assign_add(keras.ops.ones(variable.shape, dtype))
        assert (keras.ops.convert_to_numpy(variable) > 1).all()
        for _ in range(3):  # in memory that others may have been given since
            np.full((2048, 1024), 7.0, values.dtype)
        found = keras.ops.convert_to_numpy(layer.embeddings)
        np.testing.assert_array_equal(found, values, strict=True)


def kept():
    """A class of the user may keep the array it returns: weights have memory of their own."""

    class Pretrained(plain.Initializer):
        table = memory.empty((1024, 1024), np.float32)
        table[:] = 0.5

        def __call__(self, shape, dtype=None):
            return self.table

    for scope in (contextlib.nullcontext(), sk.scope(7)):
        with scope:
            layers = [keras.layers.Embedding(1024, 1024, Pretrained()) for _ in range(2)]
            for layer in layers:
                layer.build()
        first, second = (layer.embeddings for layer in layers)
        first.assign_add(keras.ops.ones(first.shape))
        assert (keras.ops.convert_to_numpy(first) == 1.5).all()
        assert (keras.ops.convert_to_numpy(second) == 0.5).all()
        assert (Pretrained.table == 0.5).all()
        Pretrained.table[:] = 3
        assert (keras.ops.convert_to_numpy(second) == 0.5).all()
        Pretrained.table[:] = 0.5


def load(folder):
    for policy in POLICIES:
        model = keras.models.load_model(Path(folder, f"{policy}.keras"), compile=False)
        assert digest(numbers(model)) == str(np.load(Path(folder, f"{policy}.npy")))
        assert isinstance(model.layers[-1].kernel_initializer, sk.TruncatedNormal)
        outputs = model.predict(inputs(), verbose=0)
        assert np.isfinite(outputs.astype("float32")).all()
