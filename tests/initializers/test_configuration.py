"""Names, configurations, seeds and the errors of bad arguments."""

import json
import warnings

import numpy as np
import pytest

from seedbed import SeedGenerator, initializers
from seedbed.initializers.registry import BY_NAME

SEEDED = [
    initializers.RandomNormal(0.1, 0.2, seed=3),
    initializers.RandomUniform(-1.0, 2.0, seed=3),
    initializers.TruncatedNormal(0.1, 0.2, seed=2**64 - 1),
    initializers.VarianceScaling(2.0, "fan_out", "uniform", 3, [0], [1]),
    initializers.GlorotUniform(3),
    initializers.GlorotNormal(3, [0], [1]),
    initializers.HeUniform(3),
    initializers.HeNormal(3),
    initializers.LecunUniform(3),
    initializers.LecunNormal(3),
    initializers.HeNormal(3, batch_axis=0, in_axis=(1,), out_axis=()),
    initializers.Orthogonal(2.0, seed=3),
]
FIXED = [
    initializers.Zeros(),
    initializers.Ones(),
    initializers.Constant(0.5),
    initializers.Constant(np.arange(8, dtype="float32")),
    initializers.Identity(2.0),
]


@pytest.mark.parametrize("init", SEEDED + FIXED, ids=lambda init: type(init).__name__)
def test_saved_and_loaded_initializers_give_the_same_values(init):
    expected = init((16, 8))
    config = json.loads(json.dumps(initializers.serialize(init)))
    name = type(init).__name__
    assert config["registered_name"] == f"seedbed>{name}"
    keras_2 = {"class_name": name, "config": config["config"]}
    for other in (
        initializers.deserialize(config),
        initializers.get(keras_2),
        type(init).from_config(init.get_config()),
        init.clone(),
    ):
        assert type(other) is type(init)
        np.testing.assert_array_equal(other((16, 8)), expected)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_name(name):
    assert type(initializers.get(name)) is BY_NAME[name]
    assert type(initializers.get(f"seedbed>{name}")) is BY_NAME[name]


def test_snake_case_names_are_callable_like_the_functions_of_keras_2():
    assert type(initializers.lecun_uniform(seed=None)) is initializers.LecunUniform
    np.testing.assert_array_equal(
        initializers.he_normal(seed=4)((8, 8)), initializers.HeNormal(seed=4)((8, 8))
    )


def test_normal_means_truncated_normal_as_in_keras_2():
    init = initializers.VarianceScaling(distribution="Normal", seed=1)
    assert init.distribution == "truncated_normal"


def test_old_configurations_with_a_dtype():
    config = {"class_name": "RandomNormal", "config": {"stddev": 0.1, "dtype": "float32"}}
    assert initializers.get(config).stddev == 0.1


def test_get_passes_other_things_on():
    assert initializers.get(None) is None
    assert initializers.get(len) is len
    assert type(initializers.get(initializers.HeNormal)) is initializers.HeNormal
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(initializers.get(array)((2, 3), "float32"), array)
    with pytest.raises(ValueError, match=r"Expected `shape` to be \(2, 3\)"):
        initializers.get(array)((3, 2))


def test_custom_objects():
    class Mine(initializers.Zeros):
        pass

    config = {"class_name": "Mine", "config": {}}
    assert type(initializers.deserialize(config, {"Mine": Mine})) is Mine


# --- seeds -------------------------------------------------------------------------------------


def test_an_integer_seed_gives_the_same_values_on_every_call():
    init = initializers.RandomNormal(seed=np.uint64(2**63))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(init((9,)), init((9,)))


def test_a_seed_generator_advances():
    init = initializers.RandomNormal(seed=SeedGenerator(5))
    first, second = init((9,)), init((9,))
    assert (first != second).all()
    again = initializers.get(json.loads(json.dumps(initializers.serialize(init))))
    np.testing.assert_array_equal(again((9,)), first)
    np.testing.assert_array_equal(again((9,)), second)


def test_without_a_seed_a_second_whole_table_warns_once():
    init = initializers.RandomNormal()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = init((9,))
        for _ in range(3):
            np.testing.assert_array_equal(init((9,), window=(slice(2, 5),)), first[2:5])
        assert not caught
        np.testing.assert_array_equal(init((9,)), first)
        init((9,))
    assert len(caught) == 1
    assert "RandomNormal without a seed" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_without_a_seed_each_initializer_has_its_own():
    seeds = {initializers.HeNormal().seed for _ in range(50)}
    assert len(seeds) == 50
    assert initializers.HeNormal().get_config()["seed"] is None


def test_seed_generators_that_keras_saved():
    theirs = {"module": "keras.random", "class_name": "SeedGenerator", "registered_name": None}
    config = {"seed": {**theirs, "config": {"seed": 5, "name": "seed_generator_1"}}, "stddev": 0.2}
    init = initializers.get({"class_name": "RandomNormal", "config": config})
    assert init.seed.next() == (5, 1)


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (initializers.RandomNormal, (4, 4), {"dtype": "int32"}),
        (initializers.RandomNormal, (4, 4), {"out": np.zeros(3, "float32")}),
        (initializers.RandomNormal, (4, 4), {"window": (slice(0, 9), slice(0, 4))}),
        (initializers.RandomNormal, (4, 4), {"device": "tpu"}),
        (initializers.Orthogonal, (4,), {}),
        (initializers.DeltaOrthogonal, (4, 4), {}),
        (lambda seed: initializers.RandomNormal(1e9, seed=seed), (4,), {"dtype": "float16"}),
        (lambda seed: initializers.Orthogonal(1e9, seed=seed), (4, 4), {"dtype": "float16"}),
    ],
)
def test_a_refused_call_is_no_use(kind, shape, options):
    """It moves no generator, and does not count where a second use warns."""
    init, unseeded = kind(seed=SeedGenerator(5)), kind(seed=None)
    for refused in (init, unseeded):
        with pytest.raises((ValueError, TypeError)):
            refused(shape, **options)
    assert init.seed.next() == (5, 1)
    assert unseeded._calls == 0


def test_an_empty_call_is_a_use():
    init = initializers.RandomNormal(seed=SeedGenerator(5))
    init((0, 3))
    assert init.seed.next() == (5, 2)


def test_a_clone_of_a_generator_starts_anew():
    init = initializers.RandomNormal(seed=SeedGenerator(5))
    first = init((9,))
    np.testing.assert_array_equal(init.clone()((9,)), first)


def test_different_seeds_and_draws_differ():
    draws = [initializers.RandomUniform(seed=s)((64,)).tobytes() for s in (0, 1, 2**32, 2**63)]
    generator = SeedGenerator(0)
    draws += [initializers.RandomUniform(seed=generator)((64,)).tobytes() for _ in range(3)]
    assert len(set(draws)) == len(draws)


# --- bad input ---------------------------------------------------------------------------------

I = initializers  # noqa: E741
BAD = [
    (lambda: I.RandomNormal(stddev=-0.5), ValueError, "RandomNormal: stddev .* -0.5"),
    (lambda: I.RandomNormal(stddev=float("nan")), ValueError, "RandomNormal: stddev .* nan"),
    (lambda: I.RandomNormal(mean=float("inf")), ValueError, "RandomNormal: mean .* inf"),
    (lambda: I.RandomNormal(mean="0"), TypeError, "RandomNormal: mean .* '0'"),
    (lambda: I.RandomNormal(mean=10**400), ValueError, "RandomNormal: mean must be a finite"),
    (lambda: I.RandomNormal(mean=np.zeros(3)), TypeError, "RandomNormal: mean must be a number"),
    (lambda: I.RandomNormal(stddev=True), TypeError, "RandomNormal: stddev .* True"),
    (lambda: I.TruncatedNormal(lower=-(10**400)), ValueError, "TruncatedNormal: lower and upper"),
    (lambda: I.TruncatedNormal(lower=False), TypeError, "TruncatedNormal: .* given False and 2.0"),
    (lambda: I.TruncatedNormal(stddev=-1), ValueError, "TruncatedNormal: stddev .* -1"),
    (lambda: I.RandomUniform(1.0, 0.0), ValueError, "RandomUniform: minval .* 1.0 and 0.0"),
    (lambda: I.RandomUniform(maxval=float("inf")), ValueError, "RandomUniform: maxval .* inf"),
    (lambda: I.VarianceScaling(scale=0), ValueError, "VarianceScaling: scale .* 0"),
    (lambda: I.VarianceScaling(mode="fan"), ValueError, "mode must be one of fan_in, .* 'fan'"),
    (lambda: I.VarianceScaling(distribution="x"), ValueError, "distribution must be .* 'x'"),
    (lambda: I.HeNormal(seed=-1), ValueError, r"HeNormal: seed .* \[0, 2\*\*64\).* -1"),
    (lambda: I.HeNormal(seed=2**64), ValueError, "HeNormal: seed"),
    (lambda: I.HeNormal(seed=1.0), TypeError, "HeNormal: seed .* 1.0"),
    (lambda: I.HeNormal(seed=True), TypeError, "HeNormal: seed .* True"),
    (lambda: I.HeNormal(seed="7"), TypeError, "HeNormal: seed .* '7'"),
    (lambda: I.HeNormal(seed=np.True_), TypeError, "HeNormal: seed .* np.True_"),
    (lambda: I.HeNormal(seed={"seed": 3}), TypeError, "HeNormal: seed .* {'seed': 3}"),
    (lambda: SeedGenerator(-3), ValueError, "SeedGenerator: seed .* -3"),
    (lambda: I.HeNormal(input_axes=[4], output_axes=[0])((2, 3)), ValueError, "input_axes"),
    (lambda: I.HeNormal(input_axes="a"), TypeError, "HeNormal: input_axes .* 'a'"),
    (lambda: I.HeNormal(output_axes=1), TypeError, "HeNormal: output_axes .* 1"),
    (lambda: I.HeNormal(in_axis="a"), TypeError, "HeNormal: in_axis .* 'a'"),
    (lambda: I.HeNormal(in_axis=3)((2, 3)), ValueError, r"in_axis must be axes .* 3 for \(2, 3\)"),
    (lambda: I.HeNormal(batch_axis=0)((2, 3)), ValueError, "must not share an axis"),
    (lambda: I.HeNormal(1, [1], [0], in_axis=0), ValueError, "HeNormal: give input_axes"),
    (lambda: I.DeltaOrthogonal()((4, 8)), ValueError, r"DeltaOrthogonal: shape .* \(4, 8\)"),
    (lambda: I.DeltaOrthogonal()((3, 8, 4)), ValueError, "no more inputs than outputs"),
    (lambda: I.DeltaOrthogonal()((3, 4, 8), "int32"), ValueError, "DeltaOrthogonal: dtype"),
    (lambda: I.VarianceScaling(1e300)((2,)), ValueError, "VarianceScaling: mean, stddev"),
    (lambda: I.HeNormal()((2, -3)), ValueError, r"HeNormal: shape .* \(2, -3\)"),
    (lambda: I.HeNormal()((2, 3.0)), TypeError, r"HeNormal: shape .* \(2, 3.0\)"),
    (lambda: I.HeNormal()(7), TypeError, "HeNormal: shape .* 7"),
    (lambda: I.HeNormal()((2**40, 2**30)), ValueError, r"HeNormal: shape .* 2\*\*63"),
    (lambda: I.HeNormal()((2**70, 0)), ValueError, r"HeNormal: shape .* 2\*\*66"),
    (lambda: I.HeNormal()((10**400, 2)), ValueError, r"HeNormal: shape .* 2\*\*66"),
    (lambda: I.HeNormal()((1,) * 65), ValueError, "HeNormal: shape must have rank 64 or less"),
    (lambda: I.Zeros()((2,), np.zeros(3)), ValueError, "Zeros: unknown dtype"),
    (lambda: I.HeNormal()((2, 3), "int32"), ValueError, "HeNormal: dtype .* int32"),
    (lambda: I.HeNormal()((2, 3), "flaot32"), ValueError, "'flaot32'; allowed: float32"),
    (lambda: I.RandomNormal(1e9)((3,), "float16"), ValueError, "RandomNormal: mean"),
    (lambda: I.RandomUniform(1.001, 1.002)((3,), "bfloat16"), ValueError, "no bfloat16 number"),
    (lambda: I.Identity()((2, 3, 4)), ValueError, "Identity: shape must have rank 2"),
    (lambda: I.Identity(0.5)((2, 2), "int8"), ValueError, "Identity: gain .* int8; given 0.5"),
    (lambda: I.Identity(300)((2, 2), "uint8"), ValueError, r"Identity: gain .* \[0, 255\]"),
    (lambda: I.Identity(-1)((2, 2), "uint8"), ValueError, "Identity: gain .* -1"),
    (lambda: I.Identity(2)((2, 2), "bool"), ValueError, r"Identity: gain .* \[0, 1\] for bool"),
    (lambda: I.Identity()((2, 2), out="x"), TypeError, "Identity: out .* str"),
    (lambda: I.STFT(side="left"), ValueError, "STFT: side .* 'left'"),
    (lambda: I.STFT(scaling="mass"), ValueError, "STFT: scaling .* 'mass'"),
    (lambda: I.STFT(window="hnan"), ValueError, "STFT: window .* 'hnan'"),
    (lambda: I.STFT(window=("kaiser", 8.6)), ValueError, r"STFT: window .* \('kaiser', 8.6\)"),
    (lambda: I.STFT(window=3.5), ValueError, "STFT: window .* 3.5"),
    (lambda: I.STFT()((4, 1, 3), "int32"), ValueError, "STFT: dtype .* int32"),
    (lambda: I.STFT()((2, 1, 3)), ValueError, "STFT: window must not be zero everywhere"),
    (lambda: I.STFT()((2, 3)), ValueError, "STFT: shape must have rank 3"),
    (lambda: I.STFT(window=[1.0, 2.0])((3, 1, 2)), ValueError, r"STFT: window .* \(2,\)"),
    (lambda: I.Orthogonal()((3,)), ValueError, "Orthogonal: shape"),
    (lambda: I.Constant("one"), TypeError, "Constant: value .* 'one'"),
    (lambda: I.Constant([[1], [1, 2]]), TypeError, r"Constant: value .* \[\[1\], \[1, 2\]\]"),
    (lambda: I.Constant(np.longdouble(1)), ValueError, "Constant: unknown dtype"),
    (lambda: I.Constant(1e10)((2,), "float16"), ValueError, "value must be within ±65504 .* 1000"),
    (
        lambda: I.Constant([0, 1e39])((2,), "float32"),
        ValueError,
        r"Constant: .* given 1e\+39",
    ),
    (lambda: I.Constant(1e300j)((2,), "complex64"), ValueError, r"Constant: value .* 1e\+300j"),
    (lambda: I.Constant(500.0)((2,), "float8_e4m3fn"), ValueError, "within ±448 .* given 500"),
    (
        lambda: I.get({"class_name": "Constant", "config": {"value": {"class_name": "__numpy__"}}}),
        ValueError,
        "Constant: value must be a number, a list .* '__numpy__'",
    ),
    (
        lambda: I.Constant.from_config(
            {"value": {"class_name": "__numpy__", "config": {"value": [[1], []], "dtype": "int8"}}}
        ),
        ValueError,
        "Constant: value must be a number",
    ),
    (lambda: I.Constant.from_config({"value": "one"}), TypeError, "Constant: value .* 'one'"),
    (lambda: I.Constant(0.5)((2,), "int32"), ValueError, "Constant: .* float64 .* int32"),
    (lambda: I.Constant(1j)((2,), "float32"), ValueError, "Constant: .* complex128 .* float32"),
    (lambda: I.Constant(300)((2,), "uint8"), ValueError, r"Constant: value .* \[0, 255\] .* 300"),
    (lambda: I.Constant([1, 2])((2, 3)), ValueError, r"Constant: .* \(2,\) .* \(2, 3\)"),
    (lambda: I.get("glrot_uniform"), ValueError, "'glrot_uniform'; nearest: glorot_uniform"),
    (lambda: I.get(3), ValueError, "identifier .* 3"),
    (lambda: I.get({"config": {}}), ValueError, "class_name"),
    (lambda: I.get({"class_name": "Zeros", "config": [1]}), ValueError, "a dict config"),
    (
        lambda: I.get({"class_name": "Zeros", "config": {}, "registered_name": "mine>Zeros"}),
        ValueError,
        "unknown initializer 'mine>Zeros'",
    ),
    (
        lambda: I.get({"class_name": "RandomNormal", "config": {"std": 1}}),
        ValueError,
        "RandomNormal: unknown argument 'std'; allowed: mean, stddev, seed",
    ),
    (lambda: I.serialize("zeros"), TypeError, "serialize"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_classes_that_take_anything_and_names_of_keras_2():
    class Anything(initializers.Zeros):
        def __init__(self, **arguments):
            super().__init__()
            self.arguments = arguments

    config = {"class_name": "Anything", "config": {"a": 1}}
    found = initializers.deserialize(config, {"Anything": Anything})
    assert found.arguments == {"a": 1}
    assert type(initializers.get("GlorotUniformV2")) is initializers.GlorotUniform
    assert type(initializers.get("he_normalV2")) is initializers.HeNormal


def test_a_generator_has_so_many_draws():
    generator = initializers.SeedGenerator(7)
    generator._draws = 2**31 - 2
    assert generator.next().draw == 2**31 - 1
    with pytest.raises(ValueError, match=r"SeedGenerator: .* 2147483647 draws"):
        generator.next()


def test_every_name_is_said_everywhere():
    """By name in the registry, as an attribute of the module, and in what it exports."""
    names = {name: kind for name, kind in BY_NAME.items() if name != "initializer"}
    assert {name: getattr(initializers, name) for name in names} == names
    others = {"SeedGenerator", "compute_fans", "deserialize", "get", "serialize"}
    assert set(initializers.__all__) == set(names) | others
