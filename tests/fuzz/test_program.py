"""The program of great numbers, with small ones and fixed seeds; and what it has found."""

import numpy as np
import pytest

from seedbed import initializers
from seedbed.errors import SeedbedError
from tests.fuzz import calls, commands, files
from tests.fuzz.__main__ import run


@pytest.mark.parametrize(
    ("what", "count"),
    [
        (calls.values, 3000),
        (calls.odd_calls, 3000),
        (commands.odd_commands, 200),
        (commands.written, 40),
        (files.damaged, 700),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_random_use(what, count):
    outcomes = run(what, count, seed=7)
    assert sum(outcomes.values()) == count
    assert len(outcomes) > 1


def test_a_wrong_value_would_be_seen(monkeypatch):
    """One bit of one element of one call."""
    mode = calls.a_window

    def one_wrong(*given):
        call = mode(*given)
        if call.made.size and call.elements[0] % 7 == 0:
            call.made.reshape(-1).view(np.uint8)[0] ^= 1
        return call

    monkeypatch.setattr(calls, "MODES", (one_wrong, one_wrong))
    with pytest.raises(AssertionError):
        run(calls.values, 500, seed=7)


ARRAY = np.zeros((2, 3))
NORMAL = initializers.RandomNormal(seed=1)
MASKED = np.ma.masked_array([1, 2], [True, False])
ODD = {
    "device": lambda: NORMAL((2, 3), device=ARRAY),
    "window of rows": lambda: NORMAL((2, 3), rows=[1], window=(ARRAY, slice(None))),
    "masked shape": lambda: NORMAL(MASKED),
    "masked bound": lambda: NORMAL((2,), window=(slice(MASKED[0], None),)),
    "masked seed": lambda: initializers.RandomNormal(seed=MASKED[0]),
    "masked width": lambda: NORMAL.keyed([1], MASKED[0]),
    "masked axis": lambda: initializers.HeNormal(in_axis=MASKED[0]),
    "mode": lambda: initializers.VarianceScaling(mode=ARRAY),
    "distribution": lambda: initializers.VarianceScaling(distribution=ARRAY),
    "side": lambda: initializers.STFT(side=ARRAY),
    "scaling": lambda: initializers.STFT(scaling=ARRAY),
    "window": lambda: initializers.STFT(window="a\nb"),
    "periodic": lambda: initializers.STFT(periodic=3),
    "long mode": lambda: initializers.VarianceScaling(mode="a\n" * 500),
    "configuration": lambda: initializers.deserialize({"class_name": "Ones", "config": ARRAY}),
    "class of a seed": lambda: initializers.RandomNormal(seed={"class_name": ARRAY}),
    "axes": lambda: initializers.HeNormal(in_axis=0, out_axis=0)((2, 3)),
    "name": lambda: initializers.get("what"),
}
NAMES = dict.fromkeys(("device", "window of rows", "masked shape", "masked bound"), "RandomNormal")
NAMES |= {"masked axis": "HeNormal", "axes": "HeNormal", "configuration": "deserialize"}
NAMES |= dict.fromkeys(("masked seed", "masked width", "class of a seed"), "RandomNormal")
NAMES |= dict.fromkeys(("mode", "distribution", "long mode"), "VarianceScaling")
NAMES |= dict.fromkeys(("side", "scaling", "window", "periodic"), "STFT") | {"name": "get"}


@pytest.mark.parametrize("what", ODD)
def test_what_was_found_is_refused_in_a_line(what):
    """Whatever cannot be compared as a number or a name can be."""
    with pytest.raises(SeedbedError) as caught:
        ODD[what]()
    message = str(caught.value)
    assert NAMES[what] in message
    assert "\n" not in message
    assert len(message) < 1000


def test_descriptions_of_initializers_take_any_value():
    init = initializers.Constant([[1.0, 2.0]])
    init.get_config = lambda: {"value": np.array([[1.0, 2.0]])}
    assert repr(init).startswith("Constant(value=array([[1., 2.]])")


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_diagonal_of_an_integer_beyond_64_bits(dtype):
    made = initializers.Identity(2**70)((2, 2), dtype)
    assert made.astype(np.float64).tolist() == [[2.0**70, 0.0], [0.0, 2.0**70]]
