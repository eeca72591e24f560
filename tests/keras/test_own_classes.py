"""Users' classes, arguments of other libraries, pickles, and what Keras' jobs ask for besides."""

import json
import pickle
import re
import sys
import types

import numpy as np
import pytest

from seedbed import initializers as plain
from seedbed.seeds import derive

keras = pytest.importorskip("keras")
sk = pytest.importorskip("seedbed.keras")

pytestmark = pytest.mark.jax  # the backend of the test process


class HeNormal(sk.VarianceScaling):
    """Called like a class of Keras and of Seedbed, and neither."""

    def __init__(self, seed=None):
        super().__init__(5.0, "fan_out", "uniform", seed)

    def get_config(self):
        return {"seed": super().get_config()["seed"]}


def test_a_class_of_the_user_loads_as_itself_whatever_it_is_called(tmp_path):
    init = HeNormal(seed=3)
    saved = keras.initializers.serialize(init)
    assert saved["registered_name"] == f"{__name__}>HeNormal"
    for get in (keras.initializers.deserialize, sk.deserialize, sk.get, plain.deserialize):
        assert type(get(json.loads(json.dumps(saved)))) is HeNormal
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_initializer=init)])
    model.save(tmp_path / "model.keras")
    for again in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
    ):
        assert type(again.layers[0].kernel_initializer) is HeNormal
    for broken in ({**saved, "module": "no.such"}, {**saved, "module": "os"}):
        broken["registered_name"] = f"{broken['module']}>HeNormal"
        with pytest.raises(ValueError, match=r"unknown initializer .*import that module first"):
            sk.deserialize(broken)


@pytest.mark.parametrize("seed", [3, plain.SeedGenerator(3)])
def test_partitioned_calls_leave_nothing_behind(seed):
    init, sizes, parts = sk.HeNormal(seed), [], []
    for _ in range(200):
        parts = [
            init((100, 4), partition_shape=(50, 4), partition_offset=(start, 0))
            for start in (0, 50)
        ]
        sizes.append(len(pickle.dumps(init)))
    assert max(sizes) <= sizes[0] + 4  # of the number of the draw
    again = pickle.loads(pickle.dumps(init))
    assert again.get_config() == init.get_config()
    if seed == 3:
        np.testing.assert_array_equal(np.concatenate(parts), again((100, 4)))


def test_names_and_configurations_of_keras_are_read_as_seedbeds():
    for name, kind in sk.lookup.BY_NAME.items():
        if name not in ("initializer", "Initializer"):
            assert type(sk.get(name)) is kind, name
    found = sk.get(keras.initializers.serialize(keras.initializers.GlorotNormal(seed=3)))
    assert type(found) is sk.GlorotNormal
    assert found.seed == 3
    assert sk.get(None) is None
    assert type(sk.get(sk.HeNormal)) is sk.HeNormal
    np.testing.assert_array_equal(sk.get(np.ones((2, 3)))((2, 3)), np.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match="nearest: glorot_uniform"):
        sk.get("glorot_unifrom")


def test_complex_normal_values_are_pairs_of_real_ones():
    init = sk.RandomNormal(mean=2.0, stddev=3.0, seed=5)
    found = np.asarray(init((50, 40), "complex64"))
    pairs = plain.RandomNormal(stddev=3.0 / 2**0.5, seed=5)((50, 40, 2))
    np.testing.assert_array_equal(found, pairs[..., 0] + np.float32(2) + 1j * pairs[..., 1])
    generators = sk.SeedGenerator(5), keras.random.SeedGenerator(5)
    drawn = [[np.asarray(sk.RandomNormal(seed=one)((3, 4), "complex64")) for _ in "ab"]
             for one in generators]  # fmt: skip
    np.testing.assert_array_equal(*drawn)
    assert (drawn[0][0] != drawn[0][1]).all()
    scaled = sk.VarianceScaling(2.0, "fan_in", "untruncated_normal", seed=5)(
        (200, 300), "complex64"
    )
    # 60,000 values: six standard errors of a mean of squares of two normal parts
    assert np.mean(np.abs(np.asarray(scaled)) ** 2) * 200 / 2 == pytest.approx(
        1, abs=6 / 60_000**0.5
    )
    with pytest.raises(ValueError, match="HeNormal: complex64 values are made of normal"):
        sk.HeNormal(seed=1)((2, 2), "complex64")


def test_jax_keys_may_be_set_as_seeds_also_while_tracing():
    """As the wrapper of Keras RS does for tables on TPUs."""
    jax = pytest.importorskip("jax")
    init = sk.TruncatedNormal(stddev=0.5, seed=3)

    def wrapped(key, shape, dtype):
        before, init.seed = init.seed, key
        made = init(shape, dtype)
        init.seed = before
        return made

    raw = jax.numpy.array([7, 9], "uint32")
    for key, seed in ((raw, 7 << 32 | 9), (jax.random.key(11), 11)):
        wanted = plain.TruncatedNormal(stddev=0.5, seed=seed)((8, 3), "bfloat16")
        traced = jax.jit(wrapped, static_argnums=(1, 2))
        for call in (wrapped, traced):
            np.testing.assert_array_equal(call(key, (8, 3), "bfloat16"), wanted)
        keys = jax.random.split(jax.random.key(1), 3)
        rows = jax.vmap(lambda key: wrapped(key, (2, 2), "float32"))(keys)
        assert len(np.unique(np.asarray(rows))) == 12
    assert init.seed == 3
    init = sk.TruncatedNormal(seed=keras.random.SeedGenerator(5))  # again, when a traced call runs
    wanted = plain.TruncatedNormal(seed=7 << 32 | 9)((8, 3))
    for call in (wrapped, jax.jit(wrapped, static_argnums=(1, 2))):
        np.testing.assert_array_equal(call(raw, (8, 3), "float32"), wanted)
    with pytest.raises(TypeError, match=r"TruncatedNormal: seed must be .* one key"):
        wrapped(jax.numpy.ones(3), (2,), "float32")
    for unseeded in (sk.HeNormal(), sk.Orthogonal()):  # Keras RS makes a key of the seed
        assert keras.src.backend.jax.random.jax_draw_seed(unseeded.seed).shape == (2,)


def test_a_generator_of_keras_may_be_traced():
    jax = pytest.importorskip("jax")
    generator = keras.random.SeedGenerator(3)
    init = sk.HeNormal(generator)

    @jax.jit
    def two(state):
        with keras.StatelessScope([(generator.state, state)]) as scope:
            made = init((3, 2)), init((3, 2))
            return made, scope.get_current_value(generator.state)

    own = plain.HeNormal(plain.SeedGenerator(3))
    made, state = two(generator.state.value)
    for found in made:
        np.testing.assert_array_equal(found, own((3, 2)))
    assert state.tolist() == [3, 2]


def test_tensors_are_arguments_like_numbers():
    jax = pytest.importorskip("jax")
    half, eighth = jax.numpy.asarray(0.5), jax.numpy.asarray(0.125, "bfloat16")
    for number in (half, eighth, np.float32(0.5), np.array(0.5), keras.Variable(0.5)):
        value = float(np.asarray(number))
        for module in (sk, plain):
            made = [
                module.RandomNormal(number, number),
                module.TruncatedNormal(number, number, lower=-number, upper=number),
                module.RandomUniform(-number, number),
                module.VarianceScaling(number),
                module.Orthogonal(number),
                module.Identity(number),
                module.Constant(number),
            ]
            for init in made:
                config = json.loads(json.dumps(init.get_config()))
                floats = [found for found in config.values() if isinstance(found, float)]
                assert {abs(found) for found in floats} <= {value, 0.0, 1.0}
                assert floats or isinstance(init, plain.Constant)  # a NumPy array stays one
    with pytest.raises(TypeError, match="RandomNormal: mean must be a number"):
        jax.jit(lambda x: sk.RandomNormal(x)((2,)))(half)


def test_the_errors_begin_as_those_of_keras_and_go_on_as_seedbeds():
    def called(init, shape):
        return init(shape)

    cases = [
        lambda m: m.VarianceScaling(scale=-1.0),
        lambda m: m.VarianceScaling(mode="fan"),
        lambda m: m.VarianceScaling(distribution="odd"),
        lambda m: called(m.Identity(), (2, 2, 2)),
        lambda m: called(m.Orthogonal(), (3,)),
        lambda m: m.STFT(scaling="mass"),
        lambda m: m.STFT(side="left"),
        lambda m: called(m.STFT(window=[1.0, 2.0]), (3, 1, 2)),
    ]
    for case in cases:
        said = []
        for module in (keras.initializers, sk, plain):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
                case(module)
            said.append(str(caught.value))
        theirs, *ours = said
        for message in ours:
            begin, rest = re.split(r" (?=(?:VarianceScaling|Identity|Orthogonal|STFT): )", message)
            assert theirs.startswith(begin.rstrip(".")), (message, theirs)
            assert "; given " in rest


def test_a_plain_class_of_the_user_is_drawn_in_a_scope():
    class Doubled(plain.HeNormal):
        def recipe(self, shape):
            return super().recipe((2 * shape[0], *shape[1:]))

    module = types.ModuleType("of_the_user")
    module.Doubled, Doubled.__module__ = Doubled, "of_the_user"
    sys.modules["of_the_user"] = module
    try:
        with sk.scope(7):
            layer = keras.layers.Dense(4, kernel_initializer=Doubled())
            layer.build((None, 3))
        wanted = Doubled(seed=derive(7, layer.kernel.path))((3, 4))
        np.testing.assert_array_equal(layer.kernel, wanted)
        saved = plain.serialize(Doubled(seed=3))
        assert saved["module"] == "of_the_user"
        assert type(plain.deserialize(saved)) is Doubled
    finally:
        del sys.modules["of_the_user"]
    with pytest.raises(ValueError, match="unknown initializer 'of_the_user>Doubled'"):
        plain.deserialize(saved)
    assert type(plain.deserialize(saved, {"Doubled": Doubled})) is Doubled


class Halved(sk.HeNormal):
    """Computes with the values of the class above, in the backend."""

    def __call__(self, shape, dtype=None):
        return super().__call__(shape, dtype) / 2


def test_a_class_of_the_user_with_a_call_of_its_own_is_called_in_a_scope_and_cut():
    with sk.scope(7):
        layer = keras.layers.Dense(4, kernel_initializer=Halved())
        layer.build((None, 3))
    wanted = plain.HeNormal(derive(7, layer.kernel.path))((3, 4)) / 2
    np.testing.assert_array_equal(layer.kernel, wanted)
    part = Halved(seed=3)((3, 4), window=(slice(1, 3), slice(0, 2)))
    np.testing.assert_array_equal(part, plain.HeNormal(3)((3, 4))[1:, :2] / 2)


def test_rows_of_keys_need_a_seed_that_stays():
    for seed in (keras.random.SeedGenerator(3), plain.SeedGenerator(3)):
        with pytest.raises(ValueError, match="RandomNormal: seed must be an integer for rows"):
            sk.RandomNormal(seed=seed).keyed([1, 2], 4)
    found = sk.RandomNormal(seed=3).keyed([1, 2], 4)
    np.testing.assert_array_equal(found, plain.RandomNormal(seed=3).keyed([1, 2], 4))
