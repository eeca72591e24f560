"""`seedbed.keras.scope` on one backend; run by test_backends.py, as part of world.py."""

import math
import warnings
from pathlib import Path

import keras
import numpy as np

import seedbed.keras as sk
from seedbed import initializers as plain
from seedbed.seeds import derive
from tests.keras.scoped_models import MODELS, POLICIES, SMALL, attention, digest, equal, numbers

SEED = 7
BACKEND = keras.backend.backend()
DRAWN = ("kernel", "recurrent_kernel", "pointwise_kernel", "depthwise_kernel", "embeddings")
# Axes of inputs and outputs of the kernels that are no plain matrices or convolutions.
EINSUM = {"input_axes": [0], "output_axes": [1, 2]}
BACK = {"input_axes": [0, 1], "output_axes": [2]}
AXES = {
    "query": EINSUM,
    "key": EINSUM,
    "value": EINSUM,
    "attention_output": BACK,
    "einsum_dense": EINSUM,
    "einsum_dense_1": BACK,
}


def expected(path, shape, dtype):
    """Return what a weight is, by what Keras documents of its layer."""
    *_, layer, name = path.split("/")
    if name in ("bias", "beta", "moving_mean"):
        values = np.zeros(shape, dtype)
        if "lstm" in layer:
            values[shape[0] // 4 : shape[0] // 2] = 1  # the forget gate's
        return values
    if name in ("gamma", "moving_variance"):
        return np.ones(shape, dtype)
    seed = derive(SEED, path)
    if name == "recurrent_kernel":
        return plain.Orthogonal(seed=seed)(shape, dtype)
    if name == "embeddings" and not layer.startswith("position"):
        return plain.RandomUniform(seed=seed)(shape, dtype)
    return plain.GlorotUniform(seed, **AXES.get(layer, {}))(shape, dtype)


def scheme(path, shape):
    """Return the variance that Keras' documents give the numbers of a kernel."""
    *_, layer, name = path.split("/")
    if name == "embeddings" and not layer.startswith("position"):
        return 0.1**2 / 12  # uniform in ±0.05
    if name == "recurrent_kernel":
        return 1 / max(shape)  # the shorter side's vectors have length 1
    axes = AXES.get(layer)
    if axes:
        fans = [math.prod(shape[axis] for axis in some) for some in axes.values()]
    else:
        # Those of a convolution are its taps times the channels; a matrix has no taps.
        taps = math.prod(shape[:-2])
        fans = [taps * side for side in shape[-2:]]
    return 2 / sum(fans)  # Glorot's


def as_the_scheme_says(path, values):
    """Mean and variance of a kernel: six standard errors, a false alarm in 5·10**8 of them.

    The variance of a sample varies most with normal numbers, by a factor of (2 / n) ** 0.5.
    """
    values, variance = values.astype("float64"), scheme(path, values.shape)
    assert abs(values.mean()) <= 6 * (variance / values.size) ** 0.5, path
    assert abs(values.var() / variance - 1) <= 6 * (2 / values.size) ** 0.5, path


def models(folder):
    for policy in POLICIES:
        for name, build in MODELS.items():
            keras.utils.clear_session()  # of the policy, too
            keras.config.set_dtype_policy(policy)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with sk.scope(SEED):
                    model = build()
            found = numbers(model)
            dtype = found[0].dtype.name
            assert dtype == ("bfloat16" if policy == "bfloat16" else "float32")
            equal(found, (expected(w.path, tuple(w.shape), dtype) for w in model.weights))
            names = [weight.name for weight in model.weights]
            drawn = [a for a, name in zip(found, names, strict=True) if name in DRAWN]
            assert len({(a.shape, a.tobytes()) for a in drawn}) == len(drawn)
            for weight, ours in zip(model.weights, found, strict=True):
                if weight.name in DRAWN:
                    as_the_scheme_says(weight.path, ours)
            print(policy, name, digest(found), flush=True)
            if BACKEND != "jax":  # the hashes are equal, and JAX compiles for every shape
                as_keras_draws(build, policy, model, found)
            if policy == "float32" and name in SMALL:
                model.save(Path(folder, f"scoped_{name}.keras"))
                np.save(Path(folder, f"scoped_{name}.npy"), digest(found))
    keras.config.set_dtype_policy("float32")


def as_keras_draws(build, policy, model, found):
    """Mean and standard deviation of each kernel are those of Keras' own, drawn outside.

    Six standard errors, of fixed seeds: a false alarm in 10**8 kernels. Keras' own are compared in
    float32 with those in bfloat16, in which it cannot make orthogonal matrices.
    """
    keras.utils.clear_session()
    keras.config.set_dtype_policy("float32" if policy == "bfloat16" else policy)
    keras.utils.set_random_seed(1)
    own = build()
    assert [weight.path for weight in own.weights] == [weight.path for weight in model.weights]
    for weight, ours, theirs in zip(own.weights, found, numbers(own), strict=True):
        error = 6 / ours.size**0.5
        ours, theirs = ours.astype("float64"), theirs.astype("float64")
        assert abs(ours.mean() - theirs.mean()) <= 1.5 * error * theirs.std(), weight.path
        assert abs(ours.std() - theirs.std()) <= error * theirs.std(), weight.path
    for layer, other in zip(model.layers, own.layers, strict=True):
        named = isinstance(layer, keras.layers.Bidirectional)  # after the layer that it copied
        if policy != "bfloat16" and not named:
            assert layer.get_config() == other.get_config()
        for name, init in vars(layer).items():
            if isinstance(init, keras.initializers.Initializer):
                assert type(init) is type(vars(other)[name])


def deferred():
    """Variables made while tracing are drawn once each, when they are made."""
    drawn, fill = [], plain.initializer.fill

    def counted(recipe, request, stream):
        drawn.append(request.shape)
        return fill(recipe, request, stream)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.LSTM(3), keras.layers.Dense(4)

        def call(self, x):
            return self.two(self.one(x)) + self.two.kernel[0, 0]

    class Other(Model):
        def call(self, x):
            return self.one(x)[:, :1] + self.two(self.one(x))

    plain.initializer.fill = counted
    try:
        for kind in (Model, Other):
            drawn.clear()
            with sk.scope(SEED):
                model = kind()
                model.compile("sgd", "mse")
                model.fit(np.ones((4, 5, 2)), np.ones((4, 4)), epochs=2, verbose=0)
            assert sorted(drawn) == [(2, 12), (3, 4), (3, 12)], drawn
        drawn.clear()
        with sk.scope(SEED):
            layer = keras.layers.Dense(4)
            with keras.StatelessScope():  # computes with the values that it will have
                layer.build((None, 3))
                read = keras.ops.convert_to_numpy(layer.kernel.value)
                assert (keras.ops.convert_to_numpy(layer.kernel.value) == read).all()
        assert (keras.ops.convert_to_numpy(layer.kernel.value) == read).all()
        assert drawn == [(3, 4)], drawn
        wanted = plain.GlorotUniform(derive(SEED, layer.kernel.path))((3, 4))
        assert (read == wanted).all()
    finally:
        plain.initializer.fill = fill


def again():
    """`init_model_` gives what the scope gave, on torch to a model on ``meta``, too."""
    keras.utils.clear_session()
    with sk.scope(SEED):
        model = attention()
    wanted = numbers(model)
    for weight in model.weights:
        weight.assign(weight.value + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sk.init_model_(model, SEED) is model
    equal(numbers(model), wanted)
    if BACKEND == "torch":
        keras.utils.clear_session()
        with keras.device("meta"), sk.scope(SEED):
            model = attention()
        assert all(weight.value.is_meta for weight in model.weights)
        held = list(model.parameters())
        sk.init_model_(model, SEED)
        equal(numbers(model), wanted)
        assert [id(p) for p in model.parameters()] == [id(p) for p in held]
        assert not any(p.is_meta for p in model.parameters())
        model(np.ones((2, 6, 16), "float32"))
