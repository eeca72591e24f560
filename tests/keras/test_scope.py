"""seedbed.keras.scope, install and init_model_: which seed a weight has, and what is left alone."""

import re
import threading
import warnings

import numpy as np
import pytest

from seedbed import initializers as plain
from seedbed.seeds import derive

keras = pytest.importorskip("keras")
sk = pytest.importorskip("seedbed.keras")

pytestmark = pytest.mark.jax  # the backend of the test process

layers = keras.layers


def dense(units=4, inputs=3, **arguments):
    layer = layers.Dense(units, **arguments)
    layer.build((None, inputs))
    return layer


def scoped(build, **arguments):
    with sk.scope(7, **arguments):
        return build()


def values(variable):
    return np.asarray(variable.value)


def drawn(variable, init="glorot_uniform", seed=7, name=None, **arguments):
    """Return what a variable must be: NumPy's values for the seed of its path."""
    config = {"seed": derive(seed, name or variable.path), **arguments}
    init = plain.get({"class_name": init, "config": config})
    return init(tuple(variable.shape), variable.dtype)


def same(variable, wanted):
    np.testing.assert_array_equal(values(variable), wanted, strict=True)


@pytest.mark.parametrize(
    ("given", "name", "arguments"),
    [
        ("he_normal", "he_normal", {}),
        (keras.initializers.HeUniform(), "he_uniform", {}),
        (keras.initializers.LecunNormal(seed=3), "lecun_normal", {}),
        (keras.initializers.RandomNormal(1.0, 0.1), "random_normal", {"mean": 1.0, "stddev": 0.1}),
        (
            keras.initializers.TruncatedNormal(0.5, 0.1),
            "truncated_normal",
            {"mean": 0.5, "stddev": 0.1},
        ),
        (keras.initializers.RandomUniform(-2, 1), "random_uniform", {"minval": -2, "maxval": 1}),
        (keras.initializers.Orthogonal(0.5), "orthogonal", {"gain": 0.5}),
        (
            keras.initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
            "variance_scaling",
            {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
        ),
        (keras.initializers.GlorotNormal, "glorot_normal", {}),
        ({"class_name": "GlorotNormal", "config": {"seed": 5}}, "glorot_normal", {}),
        (plain.HeNormal(seed=5), "he_normal", {}),
        (sk.TruncatedNormal(stddev=0.5), "truncated_normal", {"stddev": 0.5}),
        (sk.HeNormal(keras.random.SeedGenerator(5)), "he_normal", {}),
    ],
)
def test_each_kind_of_initializer_is_drawn_by_its_twin(given, name, arguments):
    with sk.scope(7) as entered:
        layer = dense(kernel_initializer=given)
    same(layer.kernel, drawn(layer.kernel, name, **arguments))
    assert not entered.left


def test_stft_is_computed_by_seedbed_and_exact_ones_are_left_to_keras():
    with sk.scope(7):
        made = layers.Layer()
        stft = made.add_weight(shape=(8, 1, 5), initializer=keras.initializers.STFT("imag"))
        constant = made.add_weight(
            shape=(3,), initializer=keras.initializers.Constant(1.5), dtype="int32"
        )
    same(stft, plain.STFT("imag")((8, 1, 5)))
    same(constant, np.ones(3, "int32"))  # as Keras has it, without an error


def test_layers_keep_their_initializers_and_their_configuration():
    outside = dense(name="mine")
    with sk.scope(7):
        inside = dense(name="mine")
    assert type(inside.kernel_initializer) is keras.initializers.GlorotUniform
    assert inside.get_config() == outside.get_config()
    assert not np.array_equal(inside.kernel, outside.kernel)


def test_query_key_and_value_differ_even_with_one_seed():
    with sk.scope(7):
        layer = layers.MultiHeadAttention(2, 4, kernel_initializer=keras.initializers.HeNormal(3))
        layer.build((None, 5, 8), (None, 5, 8))
    kernels = [values(getattr(layer, f"{name}_dense").kernel) for name in ("query", "key", "value")]
    assert len({kernel.tobytes() for kernel in kernels}) == 3


def test_seeds_of_their_own_are_kept_where_that_is_asked():
    with sk.scope(7, keep_seeds=True):
        of_keras = dense(kernel_initializer=keras.initializers.HeNormal(seed=3))
        ours = dense(kernel_initializer=sk.HeNormal(seed=3))
        generator = dense(
            kernel_initializer=keras.initializers.HeNormal(keras.random.SeedGenerator(3))
        )
        unseeded = dense(kernel_initializer=keras.initializers.HeNormal())
        unseeded_ours = dense(kernel_initializer=sk.HeNormal())
        einsum = layers.EinsumDense("ab,bc->ac", 5, kernel_initializer="he_normal")
        einsum.build((None, 4))
        seeded = layers.EinsumDense(
            "ab,bc->ac", 5, kernel_initializer=keras.initializers.HeNormal(seed=3)
        )
        seeded.build((None, 4))
    wanted = plain.HeNormal(3)((3, 4))
    same(of_keras.kernel, wanted)
    same(ours.kernel, wanted)
    same(generator.kernel, plain.HeNormal(plain.SeedGenerator(3))((3, 4)))
    for layer in (unseeded, unseeded_ours, einsum):
        same(layer.kernel, drawn(layer.kernel, "he_normal"))
    same(seeded.kernel, plain.HeNormal(3)((4, 5)))


def test_the_biases_of_lstm_are_put_together_of_draws_of_their_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sk.scope(7):
            cell = layers.LSTMCell(4, bias_initializer="random_normal")
            cell.build((None, 3))
    seed = derive(7, cell.bias.path)
    init = plain.RandomNormal(seed=plain.SeedGenerator(seed))
    same(cell.bias, np.concatenate([init((4,)), np.ones(4, "float32"), init((8,))]))


def test_names_decide_the_seeds():
    def stable(path):
        return re.sub(r"_\d+", "", path)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sk.scope(7, names=stable):
            first = dense()
        path = first.kernel.path
        same(first.kernel, drawn(first.kernel, name=stable(path)))
        del first
        with sk.scope(7, names=stable):
            second = dense()
    assert second.kernel.path != path
    same(second.kernel, drawn(second.kernel, name=stable(path)))
    with pytest.raises(TypeError, match="scope: names must return a string; given None"):
        scoped(dense, names=lambda path: None)


def test_weights_of_one_name_are_told_of():
    with pytest.warns(UserWarning, match=r"same/kernel \(as same/kernel\) have the name"):
        kept = scoped(lambda: (dense(name="same"), dense(name="same")))
    same(kept[0].kernel, values(kept[1].kernel))


class Odd(keras.initializers.HeNormal):
    """Has values of its own, whatever it is called after."""

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 0.25, dtype)


class Even(keras.initializers.TruncatedNormal):
    """Has Keras' values, under arguments of its own."""

    def __init__(self, scale=3.0):
        super().__init__(stddev=scale / 30)


def test_weights_of_other_kinds_are_left_and_told_of_once():
    def halves(shape, dtype=None):
        return keras.ops.full(shape, 0.5, dtype)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with sk.scope(7) as entered:
            function = dense(kernel_initializer=halves, name="function")
            odd = dense(kernel_initializer=Odd(), name="odd")
            even = dense(kernel_initializer=Even(), name="even")
            array = dense(kernel_initializer=np.full((3, 4), 2.0, "float32"))
    assert len(told) == 1
    assert "function/kernel (" in str(told[0].message)
    assert "odd/kernel (Odd)" in str(told[0].message)
    assert told[0].filename == __file__
    assert list(entered.left) == ["function/kernel", "odd/kernel"]
    same(function.kernel, np.full((3, 4), 0.5, "float32"))
    same(odd.kernel, np.full((3, 4), 0.25, "float32"))
    same(even.kernel, drawn(even.kernel, "truncated_normal", stddev=0.1))
    same(array.kernel, np.full((3, 4), 2.0, "float32"))


def test_variables_of_optimizers_metrics_and_generators_are_left_alone():
    state = dense().trainable_variables
    with sk.scope(7) as entered:
        optimizer = keras.optimizers.Adam()
        optimizer.build(state)
        keras.utils.set_random_seed(1)
        slot = optimizer.add_variable((4, 4), "random_normal", name="slot")
        metric = keras.metrics.Mean()
        dropout = layers.Dropout(0.5, seed=3)
    keras.utils.set_random_seed(1)
    same(slot, values(optimizer.add_variable((4, 4), "random_normal", name="slot")))
    assert float(metric.total) == 0
    assert np.asarray(dropout.seed_generator.state).tolist() == [3, 0]
    assert not entered.left


def test_variables_that_a_layer_makes_itself_are_weights():
    class Own(layers.Layer):
        def build(self, shape):
            self.a = keras.Variable("random_normal", shape=(3, 4), name="a")
            self.b = keras.Variable(keras.initializers.HeNormal(), (3, 4), name="b")
            self.c = self.add_weight((3, 4), "he_normal")  # positional, and without a name

    with sk.scope(7):
        layer = Own(name="own")
        layer.build(None)
    same(layer.a, drawn(layer.a, "random_normal"))
    same(layer.b, drawn(layer.b, "he_normal"))
    same(layer.c, drawn(layer.c, "he_normal"))
    assert layer.a.path == "own/a"


def test_a_scope_is_of_its_thread_and_of_its_block():
    made = []
    with sk.scope(1):
        with sk.scope(2):
            inner = dense()
        outer = dense()
        thread = threading.Thread(target=lambda: made.append(dense()))
        thread.start()
        thread.join()
    after = dense()
    same(inner.kernel, drawn(inner.kernel, seed=2))
    same(outer.kernel, drawn(outer.kernel, seed=1))
    for layer in (made[0], after):
        assert not np.array_equal(layer.kernel, drawn(layer.kernel, seed=1))
    assert "__init__" not in vars(keras.Variable)
    with pytest.raises(RuntimeError), sk.scope(7):
        raise RuntimeError
    assert "__init__" not in vars(keras.Variable)


def test_install_is_for_all_threads_until_uninstall():
    made = []
    sk.install(seed=3)
    second = None
    try:
        thread = threading.Thread(target=lambda: made.append(dense()))
        thread.start()
        thread.join()
        with sk.scope(7):
            inner = dense()
        sk.install(seed=4)
        second = dense(kernel_initializer=lambda shape, dtype: keras.ops.ones(shape, dtype))
        third = dense()
    finally:
        with pytest.warns(UserWarning, match=f"{second.kernel.path} .* keep initializers"):
            sk.uninstall()
    sk.uninstall()
    same(made[0].kernel, drawn(made[0].kernel, seed=3))
    same(inner.kernel, drawn(inner.kernel, seed=7))
    same(third.kernel, drawn(third.kernel, seed=4))
    assert "__init__" not in vars(keras.Variable)


@pytest.mark.parametrize(
    "enter", [sk.scope, sk.install, lambda seed, **o: sk.init_model_(dense(), seed, **o)]
)
def test_arguments_are_checked(enter):
    for seed, error in (
        (-1, ValueError),
        (2**64, ValueError),
        (None, TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="seed must be"):
            enter(seed)
    with pytest.raises(TypeError, match="names must be a function"):
        enter(7, names="dense")
    assert "__init__" not in vars(keras.Variable)


class Custom(layers.Layer):
    def __init__(self, inner, **others):
        super().__init__(**others)
        self.inner = inner

    def build(self, shape):
        self.own = self.add_weight(shape=(3, 4), initializer="he_normal", name="own")
        self.inner.build(shape)
        self.built = True

    def call(self, x):
        return self.inner(x) + x @ self.own


class Composite(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Bidirectional(layers.LSTM(3))
        self.second = layers.Dense(4, kernel_initializer=lambda shape, dtype: keras.ops.ones(shape))

    def call(self, x):
        return self.second(self.first(x))


def test_a_built_model_is_given_the_values_of_the_scope():
    model = keras.Sequential(
        [keras.Input((6, 3)), layers.GRU(4), layers.Dense(5), layers.BatchNormalization()]
    )
    before = [values(weight) for weight in model.weights]
    counter = layers.Dense(1).name
    for weight in model.weights:
        weight.assign(weight.value + 1)  # as training does
    sk.init_model_(model, 7)
    for weight, other in zip(model.weights, before, strict=True):
        if weight.name in ("kernel", "recurrent_kernel"):
            kind = "orthogonal" if weight.name == "recurrent_kernel" else "glorot_uniform"
            same(weight, drawn(weight, kind))
        else:
            same(weight, other)
    number = int((re.findall(r"\d+$", counter) or ["0"])[0])
    assert layers.Dense(1).name == f"dense_{number + 1}"  # nothing was counted in between


def test_what_has_no_configuration_is_left_and_told_of():
    model = Composite()
    model(np.ones((2, 5, 3), "float32"))
    with pytest.warns(UserWarning, match=r"second/kernel|dense.*kernel \(.*lambda") as told:
        sk.init_model_(model, 7)
    assert len(told) == 1
    kernel = model.first.forward_layer.cell.kernel
    same(kernel, drawn(kernel))
    same(model.second.kernel, np.ones((6, 4), "float32"))

    custom = Custom(layers.Dense(4), name="custom")
    custom.build((None, 3))
    own = values(custom.own)
    with pytest.warns(UserWarning, match=r"custom/own \(its layer has no configuration\)"):
        sk.init_model_(custom, 7)
    same(custom.own, own)
    same(custom.inner.kernel, drawn(custom.inner.kernel))
    with pytest.raises(TypeError, match="init_model_: model must be"):
        sk.init_model_(own, 7)


class Forgetful(layers.Layer):
    """Has a configuration that does not hold the initializer of its inner layer."""

    def __init__(self, initializer="zeros", **others):
        super().__init__(**others)
        self.inner = layers.Embedding(5, 4, initializer)

    def build(self, shape):
        self.inner.build()
        self.bias = self.add_weight(shape=(4,), initializer="he_normal", name="bias")
        self.built = True

    def get_config(self):
        return super(layers.Layer, self).get_config() | {"name": self.name}


class Bare(layers.Dense):
    """Has no configuration, but its outer layer has."""

    def get_config(self):
        raise NotImplementedError


class Outer(layers.Layer):
    def build(self, shape):
        self.bare = Bare(4, kernel_initializer="he_uniform")
        self.bare.build(shape)
        self.built = True


def test_inner_layers_are_asked_before_outer_ones():
    for layer, kinds in (
        (Forgetful(keras.initializers.LecunNormal()), ["he_normal", "lecun_normal"]),
        (Outer(), ["he_uniform", "zeros"]),
    ):
        layer.build((None, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sk.init_model_(layer, 7)
        for weight, kind in zip(layer.weights, kinds, strict=True):
            same(weight, np.zeros(4, "float32") if kind == "zeros" else drawn(weight, kind))
