"""Every difference from Keras 3 that is meant, shown on both sides.

README.md has the same list. Where Keras comes to do as Seedbed does, its half of a test fails, and
the entry goes.
"""

import inspect
import random
import warnings

import numpy as np
import pytest

from seedbed import initializers

keras = pytest.importorskip("keras")
theirs = keras.initializers

pytestmark = pytest.mark.jax  # the backend of the test process

DIFFERENCES = {
    "call": "calls also take `window`, `out` and `device`, by keyword, and return NumPy arrays",
    "dtype": "`dtype=None` is float32, whatever Keras' `floatx`",
    "values": "the same seed gives other values of the same distribution: Seedbed's own stream",
    "seed": "any integer type in [0, 2**64), NumPy's too, but no bool",
    "unseeded": "a seed of None is drawn from the operating system, not from Python's `random`; "
    "a second whole table warns that it equals the first",
    "generator": "`SeedGenerator` is Seedbed's; Keras' own is read from configurations only",
    "arguments": "non-finite or negative `stddev`, or `minval` above `maxval`, is an error",
    "bounds": "TruncatedNormal also takes `lower` and `upper`, which its configuration has only "
    "where they are not -2 and 2",
    "vocabulary": "`VarianceScaling` and its kin also take JAX's `fan_geo_avg`, `in_axis`, "
    "`out_axis` and `batch_axis`, saved only where given; there is `DeltaOrthogonal`",
    "axes": "`input_axes` and `output_axes` are kept as lists of int",
    "einsum": "EinsumDense and MultiHeadAttention do not correct the fans of a plain Seedbed "
    "initializer, which they do not know as VarianceScaling",
    "identity": "Identity keeps `gain` in its configuration, and the dtype asked for; a gain that "
    "an integer dtype does not hold is an error",
    "constant": "Constant into a dtype of lesser kind (1.5 into int32) or too small is an "
    'error; complex ones can be saved; `get("constant")` works',
    "stft": "STFT is computed in float64, takes floating dtypes only, fills all channels, and has "
    "no NaN: one frequency is the zeroth, an all-zero window an error",
    "unknown": "`deserialize` of an unknown name is a ValueError with the nearest names; another "
    "package's class of a known name is not taken for Seedbed's",
    "old configurations": "a `dtype` in a configuration, as TensorFlow 1 wrote it, is ignored",
    "serialize": '`serialize` writes `"registered_name": "seedbed>..."`',
    "reload": "Keras' `clone_model` and `load_model` turn a plain Seedbed initializer into Keras' "
    "own class of that name; saved weights are not affected",
}
SHOWN = set()


def shows(name):
    def mark(test):
        SHOWN.add(name)
        return test

    return mark


def test_every_difference_is_shown():
    assert set(DIFFERENCES) == SHOWN


@shows("call")
def test_call():
    ours = inspect.signature(initializers.HeNormal.__call__).parameters
    assert list(ours)[:3] == list(inspect.signature(theirs.HeNormal.__call__).parameters)
    assert [p.name for p in ours.values() if p.kind == p.KEYWORD_ONLY] == [
        "window",
        "rows",
        "out",
        "device",
    ]
    assert type(initializers.HeNormal(seed=1)((2, 2))) is np.ndarray


@shows("dtype")
def test_dtype():
    keras.config.set_floatx("float16")
    try:
        assert keras.backend.standardize_dtype(theirs.Zeros()((2,)).dtype) == "float16"
        assert initializers.Zeros()((2,)).dtype == "float32"
    finally:
        keras.config.set_floatx("float32")


@shows("values")
def test_values():
    arguments = -1.0, 2.0, 7
    assert (
        np.asarray(theirs.RandomUniform(*arguments)((64,)))
        != initializers.RandomUniform(*arguments)((64,))
    ).any()


@shows("seed")
def test_seed():
    with pytest.raises(ValueError, match="seed"):
        theirs.HeNormal(seed=np.int64(3))
    assert initializers.HeNormal(seed=np.int64(3)).seed == 3
    assert theirs.HeNormal(seed=True).seed is True
    with pytest.raises(TypeError, match="seed"):
        initializers.HeNormal(seed=True)
    with pytest.raises(OverflowError):
        theirs.HeNormal(seed=2**64)((2,))
    assert initializers.HeNormal(seed=2**64 - 1)((2,)).shape == (2,)


@shows("unseeded")
def test_unseeded():
    seeds = {theirs: set(), initializers: set()}
    for package, drawn in seeds.items():
        for _ in range(2):
            random.seed(1)
            drawn.add(package.HeNormal().seed)
    assert len(seeds[theirs]) == 1
    assert len(seeds[initializers]) == 2

    warned = {}
    for package in (theirs, initializers):
        init = package.HeNormal()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            np.testing.assert_array_equal(init((3, 3)), init((3, 3)))
        warned[package] = [w for w in caught if "equal values" in str(w.message)]
    assert len(warned[initializers]) == 1
    assert not warned[theirs]


@shows("generator")
def test_generator():
    generator = keras.random.SeedGenerator(5)
    with pytest.raises(TypeError, match="SeedGenerator"):
        initializers.HeNormal(seed=generator)
    saved = theirs.serialize(theirs.HeNormal(seed=generator))
    assert initializers.deserialize(saved).seed.next() == (5, 1)


@shows("arguments")
def test_arguments():
    for name, arguments in (
        ("RandomNormal", {"stddev": -1.0}),
        ("TruncatedNormal", {"stddev": float("nan")}),
        ("RandomUniform", {"minval": 1.0, "maxval": 0.0}),
    ):
        assert getattr(theirs, name)(**arguments, seed=1)((2,)).shape == (2,)
        with pytest.raises(ValueError, match=name):
            getattr(initializers, name)(**arguments, seed=1)


@shows("bounds")
def test_bounds():
    with pytest.raises(TypeError):
        theirs.TruncatedNormal(lower=-1.0)
    init = initializers.TruncatedNormal(0.0, 1.0, seed=3, lower=-1.0)
    assert init((1000,)).min() >= -1.0
    added = {"lower": -1.0, "upper": 2.0}
    assert init.get_config() == theirs.TruncatedNormal(0.0, 1.0, seed=3).get_config() | added
    assert initializers.TruncatedNormal().get_config() == theirs.TruncatedNormal().get_config()


@shows("vocabulary")
def test_vocabulary():
    for name, value in (("in_axis", 0), ("batch_axis", [0])):
        with pytest.raises(TypeError):
            theirs.VarianceScaling(**{name: value})
        init = initializers.VarianceScaling(seed=3, **{name: value})
        plain = theirs.VarianceScaling(seed=3).get_config()
        assert init.get_config() == plain | {name: value}
    with pytest.raises(ValueError, match="mode"):
        theirs.VarianceScaling(mode="fan_geo_avg")
    assert initializers.VarianceScaling(mode="fan_geo_avg").mode == "fan_geo_avg"
    assert not hasattr(theirs, "DeltaOrthogonal")
    assert initializers.get("delta_orthogonal").gain == 1.0


@shows("axes")
def test_axes():
    kept = {
        package: package.HeNormal(input_axes=(0,), output_axes=(1,)).get_config()["input_axes"]
        for package in (theirs, initializers)
    }
    assert kept == {theirs: (0,), initializers: [0]}


@shows("einsum")
def test_einsum():
    stddevs = {}
    for package in (theirs, initializers):
        layer = keras.layers.EinsumDense(
            "abc,cde->abde",
            output_shape=(None, 30, 20),
            kernel_initializer=package.GlorotUniform(seed=3),
        )
        layer.build((None, 4, 50))
        stddevs[package] = float(np.std(np.asarray(layer.kernel)))
    # Fans: 50 inputs and 30 · 20 outputs; or, a kernel of (50, 30, 20) as for a convolution.
    assert stddevs[theirs] == pytest.approx((2 / (50 + 600)) ** 0.5, rel=0.02)
    assert stddevs[initializers] == pytest.approx((2 / (50 * (30 + 20))) ** 0.5, rel=0.02)


@shows("identity")
def test_identity():
    assert theirs.Identity(3.0).get_config() == {}
    assert initializers.Identity(3.0).get_config() == {"gain": 3.0}
    assert theirs.Identity()((2, 2), "int32").dtype == "float32"
    assert initializers.Identity()((2, 2), "int32").dtype == "int32"
    with pytest.raises(ValueError, match="gain"):
        initializers.Identity(0.5)((2, 2), "int32")


@shows("constant")
def test_constant():
    np.testing.assert_array_equal(theirs.Constant(1.5)((2,), "int32"), [1, 1])
    with pytest.raises(ValueError, match="float64 does not fit dtype int32"):
        initializers.Constant(1.5)((2,), "int32")
    assert np.isinf(np.asarray(theirs.Constant(1e10)((2,), "float16"))).all()
    with pytest.raises(ValueError, match="value must be within ±65504"):
        initializers.Constant(1e10)((2,), "float16")
    with pytest.raises(TypeError):
        theirs.Constant(1j).get_config()
    assert initializers.Constant(1j).get_config() == {"value": "1j"}
    with pytest.raises(KeyError):
        theirs.get("constant")
    assert initializers.get("constant").value == 0.0


@shows("stft")
def test_stft():
    assert theirs.STFT()((4, 2, 3)).shape == (4, 1, 3)
    assert initializers.STFT()((4, 2, 3)).shape == (4, 2, 3)
    for shape in ((4, 1, 1), (2, 1, 2)):
        assert np.isnan(np.asarray(theirs.STFT()(shape))).all()
    assert np.isfinite(initializers.STFT()((4, 1, 1))).all()
    with pytest.raises(ValueError, match="zero everywhere"):
        initializers.STFT()((2, 1, 2))
    assert theirs.STFT(window=None)((4, 1, 3), "int32").dtype == "int32"
    with pytest.raises(ValueError, match="dtype"):
        initializers.STFT(window=None)((4, 1, 3), "int32")

    shape = (2048, 1, 1025)
    turns = np.arange(2048)[:, None] * np.arange(1025) % 2048 / 2048
    exact = np.cos(2 * np.pi * turns)
    error = {
        package: np.abs(np.asarray(package.STFT(window=None)(shape))[:, 0] - exact).max()
        for package in (theirs, initializers)
    }
    assert error[theirs] > 1e-4
    assert error[initializers] < 2**-24


@shows("unknown")
def test_unknown():
    assert theirs.deserialize("glorot_unifrom") == "glorot_unifrom"
    with pytest.raises(ValueError, match="nearest: glorot_uniform"):
        initializers.deserialize("glorot_unifrom")
    foreign = {
        "module": "mine",
        "class_name": "Zeros",
        "config": {},
        "registered_name": "mine>Zeros",
    }
    assert type(theirs.deserialize(foreign)) is theirs.Zeros
    with pytest.raises(ValueError, match="mine>Zeros"):
        initializers.deserialize(foreign)


@shows("old configurations")
def test_old_configurations():
    config = {"class_name": "RandomNormal", "config": {"stddev": 0.1, "dtype": "float32"}}
    with pytest.raises(TypeError):
        theirs.deserialize(config)
    assert initializers.deserialize(config).stddev == 0.1


@shows("serialize")
def test_serialize():
    saved = {p: p.serialize(p.HeNormal(seed=3)) for p in (theirs, initializers)}
    assert set(saved[theirs]) == set(saved[initializers])
    assert saved[theirs]["registered_name"] is None
    assert saved[initializers]["registered_name"] == "seedbed>HeNormal"
    assert saved[theirs]["config"] == saved[initializers]["config"]


@shows("reload")
def test_reload(tmp_path):
    init = initializers.HeNormal(seed=3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=init)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.layers[0].kernel, init((4, 3)))
    for other in (loaded, keras.models.clone_model(model)):
        assert type(other.layers[0].kernel_initializer) is theirs.HeNormal
