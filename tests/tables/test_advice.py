"""Warnings about scale, and silence where nothing is wrong."""

import warnings

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.tables.advice import advice
from seedbed.tables.table import table

normal, uniform = initializers.RandomNormal, initializers.RandomUniform


@pytest.mark.parametrize(
    ("init", "dtype", "message"),
    [
        (normal(stddev=1e-9, seed=1), "float16", "rounds all values to 0"),
        (normal(mean=1.0, stddev=1e-9, seed=1), "float32", "rounds all values to 1"),
        (normal(mean=4.0, stddev=1e-3, seed=1), "bfloat16", "rounds all values to 4"),
        (normal(stddev=0.0, seed=1), "float64", "rounds all values to 0"),
        (normal(stddev=1e-4, seed=1), "float16", "46% of the values with less precision"),
        (normal(stddev=1e-6, seed=1), "float16", "100% of the values with less precision"),
        (uniform(1.0, 1.001, seed=1), "float32", "8,3.. numbers from 1 to 1.001"),
        (uniform(0.9, 1.1, seed=1), "bfloat16", "38 numbers from"),
        (normal(mean=1.0, stddev=1e-4, seed=1), "float32", "has only"),
    ],
)
def test_warns(tmp_path, init, dtype, message):
    with pytest.warns(tables.ScaleWarning, match=message):
        tables.write(tmp_path / "table.safetensors", init, (300, 300), dtype)
    assert tables.verify(tmp_path / "table.safetensors").ok


@pytest.mark.parametrize(
    ("init", "dtype"),
    [
        *[(normal(seed=1), dtype) for dtype in ("float16", "bfloat16", "float32", "float64")],
        *[(uniform(0.0, 1.0, seed=1), d) for d in ("float16", "bfloat16", "float32", "float64")],
        (initializers.TruncatedNormal(stddev=0.02, seed=1), "float16"),
        (initializers.TruncatedNormal(stddev=1e-20, seed=1), "bfloat16"),
        (initializers.Zeros(), "float16"),
        (initializers.Constant(1e-7), "float16"),
        (initializers.Identity(), "int8"),
    ],
)
@pytest.mark.parametrize("shape", [(300, 300), (1, 1), (0, 3)])
def test_is_silent(init, dtype, shape):
    assert advice(table(init, shape, dtype)) == []


def test_glorot_of_a_very_tall_table():
    assert advice(table(initializers.GlorotUniform(seed=1), (10**9, 64), "float16")) != []
    assert advice(table(initializers.GlorotUniform(seed=1), (10**9, 64), "bfloat16")) == []


def test_counts_are_exact():
    """Against all numbers of a 16-bit dtype, listed."""
    from seedbed.tables.advice import _ordinal

    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = np.unique(numbers[np.isfinite(numbers)])  # one zero
    assert [_ordinal(x) - _ordinal(numbers[0]) for x in numbers] == list(range(len(numbers)))


def test_the_command_says_it_in_a_line(tmp_path, capsys):
    arguments = ["--initializer=random_normal", "--set=stddev=1e-9", "--dtype=float16", "--seed=1"]
    assert main(["table", "--shape=99x9", f"--out={tmp_path / 'table.npy'}", *arguments]) == 0
    err = capsys.readouterr().err
    assert err == "seedbed: warning: weight: float16 rounds all values to 0\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["info", str(tmp_path / "table.npy")]) == 0
