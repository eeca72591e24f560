"""Rows by key: the contract's words, whatever the width, the columns and the order."""

import numpy as np
import pytest

from seedbed import initializers, seeds
from seedbed.errors import SeedbedError
from seedbed.values.dtypes import FLOATING
from tests import oracle

KEYS = np.array([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 77], np.uint64)
INITS = {
    "uniform": initializers.RandomUniform(-0.3, 0.2, seed=7),
    "normal": initializers.RandomNormal(0.5, 2.0, seed=7),
    "truncated": initializers.TruncatedNormal(0.1, 0.02, seed=7),
    "narrow": initializers.TruncatedNormal(0.1, 0.02, seed=7, lower=-0.02, upper=0.03),
    "tail": initializers.TruncatedNormal(0.1, 0.02, seed=7, lower=-9.0, upper=-3.0),
}


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", INITS)
def test_a_row_depends_on_its_key_alone(name, dtype):
    init = INITS[name]
    wide = init.keyed(KEYS, 300, dtype)
    assert wide.shape == (8, 300)
    for width in (1, 2, 3, 4, 5, 16, 63, 64, 128, 255, 300):
        assert init.keyed(KEYS, width, dtype).tobytes() == wide[:, :width].tobytes()
        one = init.keyed(KEYS[3:4], width, dtype)
        assert one.tobytes() == wide[3, :width].tobytes()
    order = [7, 0, 3, 3]
    assert init.keyed(KEYS[order], 300, dtype).tobytes() == wide[order].tobytes()
    for columns in (slice(1, 2), slice(5, 77), slice(64, 128), slice(None), slice(9, 9)):
        found = init.keyed(KEYS, 300, dtype, columns=columns)
        assert found.tobytes() == wide[:, columns].tobytes()
    grid = init.keyed(KEYS.reshape(2, 4), 300, dtype)
    assert grid.tobytes() == wide.tobytes()
    assert grid.shape == (2, 4, 300)
    assert len({row.tobytes() for row in wide}) == 8


def words(key, group):
    """Return the words of a group of columns, by Python's integers."""
    return oracle.philox((key % 2**32, key >> 32, 0, 2**31 + group), (7, 0))


def test_values_are_those_of_the_contract():
    """A lane is a key and a group of four columns, in float64 of two."""
    keys = [int(key) for key in KEYS]
    lanes = np.array([[words(key, group) for group in range(3)] for key in keys], np.int64)
    uniform = initializers.RandomUniform(0.0, 1.0, seed=7)
    normal = initializers.RandomNormal(0.0, 1.0, seed=7)
    expected = oracle.uniforms(lanes).reshape(8, 12)
    np.testing.assert_array_equal(uniform.keyed(KEYS, 12), expected)
    expected = oracle.uniforms_float64(lanes[..., ::2], lanes[..., 1::2]).reshape(8, 6)
    np.testing.assert_array_equal(uniform.keyed(KEYS, 6, "float64"), expected)
    pairs = oracle.normals(lanes[..., ::2].reshape(-1), lanes[..., 1::2].reshape(-1))
    expected = np.stack(pairs, axis=1).reshape(8, 12)
    np.testing.assert_array_equal(normal.keyed(KEYS, 12), expected)
    pairs = oracle.normals_float64(*lanes.reshape(-1, 4).T)
    expected = np.stack(pairs, axis=1).reshape(8, 6)
    np.testing.assert_array_equal(normal.keyed(KEYS, 6, "float64"), expected)


def test_keys_are_64_bits():
    init = INITS["normal"]
    expected = init.keyed(np.array([2**64 - 1, 2**64 - 5, 3], np.uint64), 9).tobytes()
    for keys in (
        [-1, -5, 3],
        [2**64 - 1, -5, 3],
        np.array([-1, -5, 3], np.int64),
        np.array([-1, -5, 3], np.int8),
    ):
        assert init.keyed(keys, 9).tobytes() == expected


@pytest.mark.parametrize("columns", [slice(3, 40), slice(0, 64)])
@pytest.mark.parametrize("name", INITS)
def test_out_may_be_rows_of_a_wider_array(name, columns):
    """Also of whole lanes, and so many that a block is full of them: those are stored at once."""
    keys, width = np.arange(40), columns.stop - columns.start
    expected = INITS[name].keyed(keys, 64, columns=columns)
    around = np.full((40, 100), 7, np.float32)
    out = around[:, 30 : 30 + width]
    assert INITS[name].keyed(keys, 64, columns=columns, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert (around == 7).sum() == around.size - out.size


def test_constants_have_rows_of_keys():
    assert (initializers.Constant(2.5).keyed([3, 4], 5, "bfloat16") == 2.5).all()
    assert initializers.Zeros().keyed([3, 4], 5, "int8").tolist() == [[0] * 5] * 2


def test_fans_stand_in_for_the_height():
    found = initializers.GlorotUniform(seed=7).keyed(KEYS, 64, fans=(1000, 64))
    limit = (6 / 1064) ** 0.5
    assert found.tobytes() == initializers.RandomUniform(-limit, limit, 7).keyed(KEYS, 64).tobytes()
    by_width = initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal", seed=7)
    expected = initializers.RandomNormal(0.0, 1 / 8, 7).keyed(KEYS, 64)
    assert by_width.keyed(KEYS, 64).tobytes() == expected.tobytes()


def test_no_key_shares_a_draw_with_a_dense_table():
    dense = INITS["uniform"]((4096, 16)).ravel()
    keyed = INITS["uniform"].keyed(np.arange(4096), 16).ravel()
    assert not np.isin(keyed, dense).mean() > 0.02  # 65,536 of 2**24 values: 0.4 % by chance


def test_key_of_a_text():
    assert seeds.key("user") == 13194063288653739671
    assert seeds.key("käse") == seeds.key("käse".encode())
    with pytest.raises(TypeError, match="key: text must be str or bytes; given 5"):
        seeds.key(5)


GENERATOR = initializers.SeedGenerator(7)


@pytest.mark.parametrize(
    ("init", "arguments", "message"),
    [
        (initializers.Orthogonal(seed=7), {}, "Orthogonal: has no rows of keys"),
        (initializers.Identity(), {}, "Identity: has no rows of keys"),
        (initializers.STFT(), {}, "STFT: has no rows of keys"),
        (initializers.Constant([1.0, 2.0]), {}, "Constant: has no rows of keys"),
        (initializers.GlorotUniform(seed=7), {}, r"GlorotUniform: fans=\(fan_in, fan_out\) must"),
        (initializers.HeNormal(seed=7), {}, r"HeNormal: fans=\(fan_in, fan_out\) must"),
        (initializers.HeNormal(seed=7), {"fans": (1, -1)}, "HeNormal: fans must be a finite"),
        (initializers.HeNormal(seed=7), {"fans": 3}, "HeNormal: fans must be two numbers; given 3"),
        (initializers.RandomNormal(seed=GENERATOR), {}, "RandomNormal: seed must be an integer"),
        (INITS["normal"], {"keys": [1.5]}, "RandomNormal: keys must be integers; given"),
        (INITS["normal"], {"keys": [2**64]}, r"keys must be integers in \[-2\*\*63, 2\*\*64\)"),
        (INITS["normal"], {"keys": [-(2**63) - 1]}, r"keys must be integers in \[-2\*\*63"),
        (INITS["normal"], {"keys": [True]}, "keys must be integers"),
        (INITS["normal"], {"width": -1}, r"width must be in \[0, 8589934592\]; given -1"),
        (INITS["normal"], {"width": 2.5}, "width must be an integer; given 2.5"),
        (INITS["normal"], {"columns": slice(0, 9)}, "columns must be a slice of step 1 inside"),
        (INITS["normal"], {"columns": slice(0, 8, 2)}, "columns must be a slice of step 1"),
        (INITS["normal"], {"dtype": "int8"}, "RandomNormal: dtype must be one of"),
    ],
)
def test_what_is_refused(init, arguments, message):
    draws = GENERATOR._draws
    with pytest.raises(SeedbedError, match=message):
        init.keyed(**{"keys": [1, 2], "width": 8, **arguments})
    assert GENERATOR._draws == draws
