"""Arguments that nobody writes on purpose: refused in one line, or right."""

import warnings

import numpy as np
import pytest

from seedbed import initializers as I  # noqa: N812
from seedbed import seeds
from seedbed.errors import SeedbedError
from seedbed.values.dtypes import FLOATING

HUGE = 10**5000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: I.RandomNormal(seed=HUGE), "RandomNormal: seed must be an integer"),
        (lambda: I.RandomNormal(seed=-HUGE), "RandomNormal: seed must be an integer"),
        (lambda: I.RandomNormal(seed=np.True_), "RandomNormal: seed must be an integer"),
        (lambda: I.RandomNormal()((HUGE, 2)), r"RandomNormal: shape .* 2\*\*66"),
        (lambda: I.Zeros()((4,), window=(slice(0, HUGE),)), "Zeros: window must have bounds"),
        (lambda: I.Zeros()((4,), window=(slice(HUGE, 5),)), "Zeros: window must have bounds"),
        (lambda: I.Zeros()((4,), rows=[HUGE]), "Zeros: rows must be integers"),
        (
            lambda: I.VarianceScaling(input_axes=[0] * 40, output_axes=[1])((10**9, 3)),
            "VarianceScaling: fans must be at most 1e.150",
        ),
        (
            lambda: I.RandomNormal(seed={"class_name": "SeedGenerator", "config": 3}),
            "RandomNormal: seed must be an integer, or a generator as it was saved",
        ),
        (
            lambda: I.RandomNormal(seed={"class_name": "Stream", "config": {"a": 1}}),
            "RandomNormal: seed must be an integer, or a generator as it was saved",
        ),
        (lambda: I.RandomNormal(seed={}), "RandomNormal: seed must be an integer, or a generator"),
        (lambda: I.RandomUniform(7e4, 7e4)((3,), "float16"), "RandomUniform: .* within ±65504"),
        (lambda: I.RandomNormal(stddev=np.ma.masked), "RandomNormal: stddev must be a number"),
        (lambda: I.STFT(window=[1.0, np.nan, 2.0])((3, 1, 2)), "STFT: window must be"),
        (lambda: I.STFT(window=[1.0, 2j, 2.0]), "STFT: window must be"),
        (lambda: I.Zeros()((2,), "foo.float32"), "Zeros: unknown dtype 'foo.float32'"),
        (lambda: I.Identity(10**400), "Identity: gain must be a finite number"),
    ],
)
def test_refused_in_one_line(call, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SeedbedError, match=message) as caught:
            call()
    assert len(str(caught.value)) < 500


def test_an_array_broadcasts_to_a_virtual_table():
    window = (slice(2**58, 2**58 + 2), slice(1, 4))
    found = I.Constant([1, 2, 3, 4])((2**59, 4), "int8", window=window)
    assert found.tolist() == [[2, 3, 4]] * 2


def test_a_constant_may_overlap_with_what_it_fills():
    for shift in (1, -1):
        buffer = np.arange(300_000.0, dtype=np.float32)
        source, out = (buffer[1:], buffer[:-1]) if shift > 0 else (buffer[:-1], buffer[1:])
        expected = source.copy()
        I.Constant(source)(out.shape, out=out)
        np.testing.assert_array_equal(out, expected)


def test_a_gain_beyond_the_integers_fits_a_floating_dtype():
    assert I.Identity(2**63)((2, 2), "bfloat16").astype(float).tolist() == [
        [2.0**63, 0],
        [0, 2.0**63],
    ]


INITS = [
    I.RandomUniform(-1.0, 0.0, seed=1),
    I.RandomNormal(0.0, 1e-39, seed=1),
    I.TruncatedNormal(0.0, 1e-45, seed=1),
    I.TruncatedNormal(0.0, 1.0, seed=1, upper=1e39),
    I.VarianceScaling(1e-300, seed=1),
    I.Constant(1e-46),
    I.Constant(np.full(32, 1e-46)),
    I.Identity(1e-46),
    I.Orthogonal(1e-40, seed=1),
    I.DeltaOrthogonal(1e-40, seed=1),
    I.STFT(),
]


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("init", INITS, ids=lambda init: type(init).__name__)
def test_the_caller_s_error_state_does_not_matter(init, dtype):
    """Subnormal values and bounds round to zero, whatever `numpy.seterr` says of that."""
    shape = {"STFT": (32, 1, 17), "DeltaOrthogonal": (3, 3, 16, 32)}.get(
        type(init).__name__, (64, 32)
    )
    expected = init(shape, dtype)
    with np.errstate(all="raise"):
        assert init(shape, dtype).tobytes() == expected.tobytes()
        assert init(shape, dtype, rows=[1, 0]).tobytes() == expected[[1, 0]].tobytes()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"in_axis": 1}, "in_axis, out_axis and batch_axis must not share an axis; given 1, -1"),
        ({"out_axis": [0, 1]}, "must not share an axis"),
        ({"in_axis": True}, "in_axis must be a sequence of integers or None; given True"),
        ({"batch_axis": [np.False_]}, "batch_axis must be a sequence of integers"),
        ({"input_axes": [True], "output_axes": [0]}, "input_axes must be a sequence of integers"),
    ],
    ids=str,
)
def test_axes_that_are_none_are_told_by_the_class(axes, message):
    with pytest.raises(SeedbedError) as caught:
        I.VarianceScaling(seed=1, **axes)((3, 4))
    assert str(caught.value).startswith("VarianceScaling: ")
    assert message in str(caught.value)


def test_the_warning_of_a_second_use_names_the_caller():
    for init in (I.RandomNormal(), I.Orthogonal(), I.HeNormal()):
        init((4, 4))
        with pytest.warns(UserWarning, match="without a seed") as caught:
            init((4, 4))
        assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (
            seeds.Stream(1, 2**31),
            "draw of a Stream must be an integer in [0, 2**31); given ",
        ),
        (seeds.Stream(1, -1), "draw of a Stream must be an integer in [0, 2**31); given -1"),
        (seeds.Stream(None, 1), "seed of a Stream must be an integer in [0, 2**64); given None"),
        (seeds.Stream("7"), "seed of a Stream must be an integer in [0, 2**64); given '7'"),
        (seeds.Stream(2**64), "seed of a Stream must be an integer in [0, 2**64); given "),
        ({"class_name": "Stream", "config": {"seed": None, "draw": 1}}, "seed of a Stream must be"),
        (
            {"class_name": "Stream", "config": {"seed": 7, "draw": 2**40}},
            "draw of a Stream must be",
        ),
    ],
    ids=str,
)
def test_a_stream_that_is_none_is_refused(seed, message):
    with pytest.raises(SeedbedError) as caught:
        I.RandomNormal(seed=seed)
    assert str(caught.value).startswith(f"RandomNormal: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("7", "user"), "derive: master must be an integer in [0, 2**64); given '7'"),
        ((True, "user"), "derive: master must be an integer in [0, 2**64); given True"),
        ((2**64, "user"), "derive: master must be an integer in [0, 2**64); given "),
        ((7, b"user"), "derive: name must be a text; given b'user'"),
    ],
    ids=str,
)
def test_derive_refuses_what_is_no_seed_or_name(arguments, message):
    with pytest.raises(SeedbedError) as caught:
        seeds.derive(*arguments)
    assert str(caught.value).startswith(message)


def test_integers_of_numpy_derive_as_those_of_python_do():
    assert seeds.derive(np.uint64(7), "user") == seeds.derive(7, "user")
