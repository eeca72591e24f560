"""Names, signatures, defaults, configurations and values against the installed Keras 3.

Every difference that is meant stands in `DIFFERENCES`, and in README.md; any other one fails.
"""

import inspect

import numpy as np
import pytest

from seedbed import initializers
from seedbed.initializers.registry import BY_NAME

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.jax  # the backend of the test process

CLASSES = sorted(
    {kind.__name__ for kind in vars(keras.initializers).values() if inspect.isclass(kind)}
)
# class -> what differs
DIFFERENCES = {
    "Identity": {"config": {"gain"}},  # Keras forgets the gain when it saves
    "Zeros": {"signature": ()},  # Keras' takes, and rejects, any argument
    "Ones": {"signature": ()},
    "TruncatedNormal": {
        "signature": [
            ("mean", 0.0),
            ("stddev", 0.05),
            ("seed", None),
            ("lower", -2.0),  # JAX's bounds, after Keras' arguments
            ("upper", 2.0),
        ]
    },
}
JAX_AXES = {"in_axis", "out_axis", "batch_axis"}  # of VarianceScaling, by keyword only
JAX_NAMES = {"delta_orthogonal", "DeltaOrthogonal"}


def parameters(kind):
    found = inspect.signature(kind.__init__).parameters.values()
    return [(p.name, p.default) for p in found if p.name != "self" and p.name not in JAX_AXES]


def test_all_classes_are_known():
    assert len(CLASSES) == 17
    assert set(CLASSES) <= set(initializers.__all__)


def test_the_same_names_are_exported():
    theirs = {name for name in vars(keras.initializers) if not name.startswith("_")}
    assert theirs <= set(initializers.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_signature_and_defaults(name):
    ours, theirs = getattr(initializers, name), getattr(keras.initializers, name)
    expected = DIFFERENCES.get(name, {}).get("signature", parameters(theirs))
    assert parameters(ours) == list(expected)
    call = list(inspect.signature(ours.__call__).parameters)
    assert call[:3] == list(inspect.signature(theirs.__call__).parameters)[:3]


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Initializer"])
def test_configuration(name):
    ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
    extra = DIFFERENCES.get(name, {}).get("config", set())
    config = ours.get_config()
    assert set(config) == set(theirs.get_config()) | extra
    assert {key: config[key] for key in theirs.get_config()} == theirs.get_config()


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Initializer"])
def test_configurations_written_by_keras_are_read(name):
    theirs = getattr(keras.initializers, name)()
    for config in (
        keras.initializers.serialize(theirs),
        {"class_name": name, "config": theirs.get_config()},
    ):
        assert type(initializers.deserialize(config)).__name__ == name


def test_the_same_strings_are_accepted():
    accepted = keras.src.initializers.ALL_OBJECTS_DICT
    assert set(accepted) | JAX_NAMES == set(BY_NAME)
    for name, kind in accepted.items():
        assert BY_NAME[name].__name__ == kind.__name__


@pytest.mark.parametrize(
    "shape", [(), (7,), (3, 5), (3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5, 6), (0, 4), (1, 1, 1)]
)
def test_fans(shape):
    reference = keras.src.initializers.random_initializers.compute_fans
    assert initializers.compute_fans(shape) == reference(shape)
    axes = list(range(len(shape)))
    split = axes[: len(axes) // 2], axes[len(axes) // 2 :]
    for chosen in (split, (split[0], None), (None, split[1])):
        assert initializers.compute_fans(shape, *chosen) == reference(shape, *chosen)


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_variance_scaling_has_the_same_scale(mode, distribution):
    arguments = (1.7, mode, distribution)
    ours = initializers.VarianceScaling(*arguments, seed=1)((300, 700))
    theirs = np.asarray(keras.initializers.VarianceScaling(*arguments, seed=1)((300, 700)))
    # 210,000 values: the ratio of two standard deviations strays by 1.5e-3, one sigma.
    assert ours.std() / theirs.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 1)])
def test_identity_values(shape, dtype):
    theirs = np.asarray(keras.initializers.Identity(2)(shape, dtype))
    np.testing.assert_array_equal(initializers.Identity(2)(shape, dtype), theirs)


@pytest.mark.parametrize("value", [3, 0.25, [1.0, 2.0, 3.0]])
def test_constant_values(value):
    theirs = np.asarray(keras.initializers.Constant(value)((2, 3), "float32"))
    np.testing.assert_array_equal(initializers.Constant(value)((2, 3), "float32"), theirs)


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize("window", ["hann", "hamming", None])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("periodic", [False, True])
def test_stft_values(side, window, scaling, periodic):
    arguments = (side, window, scaling, periodic)
    theirs = np.asarray(keras.initializers.STFT(*arguments)((128, 1, 65)))
    ours = initializers.STFT(*arguments)((128, 1, 65))
    # Keras takes cosines of large float32 angles; the tolerance is its error, not ours.
    np.testing.assert_allclose(ours, theirs, atol=5e-5)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda package: package.VarianceScaling(scale=0.0), None),
        (lambda package: package.VarianceScaling(scale=-1.0), None),
        (lambda package: package.VarianceScaling(mode="fan"), None),
        (lambda package: package.VarianceScaling(distribution="cauchy"), None),
        (lambda package: package.STFT(side="left"), None),
        (lambda package: package.STFT(window="no such window"), None),
        (lambda package: package.STFT(scaling="mass"), None),
        (lambda package: package.Identity(), (2, 2, 2)),
        (lambda package: package.Orthogonal(), (3,)),
        (lambda package: package.RandomNormal(seed="7"), None),
        (lambda package: package.get("no_such_initializer"), None),
        (lambda package: package.get(3), None),
    ],
)
def test_the_same_errors(make, shape):
    for package in (keras.initializers, initializers):
        if shape is None:
            with pytest.raises((ValueError, TypeError)):
                make(package)
        else:
            init = make(package)
            with pytest.raises((ValueError, TypeError)):
                init(shape)
