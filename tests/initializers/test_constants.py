"""Initializers without random numbers: kinds of number, arrays, diagonals, JSON, Fourier."""

import json
import tracemalloc
from array import array
from collections import deque

import ml_dtypes
import numpy as np
import pytest

from seedbed import initializers
from seedbed.values import host as door
from seedbed.values.dtypes import as_dtype


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint64", "float16", "bfloat16", "float64", "complex64", "complex128"],
)
def test_constants_in_every_kind_of_dtype(dtype):
    numpy_dtype = as_dtype(dtype)
    for init, expected in (
        (initializers.Zeros(), np.zeros((3, 4))),
        (initializers.Ones(), np.ones((3, 4))),
        (initializers.Constant(True), np.ones((3, 4))),
        (initializers.Identity(), np.eye(3, 4)),
    ):
        values = init((3, 4), dtype)
        assert values.dtype == numpy_dtype
        np.testing.assert_array_equal(values, expected.astype(numpy_dtype))
        part = init((3, 4), dtype, window=(slice(1, 3), slice(0, 3)))
        np.testing.assert_array_equal(part, expected.astype(numpy_dtype)[1:3, 0:3])


@pytest.mark.parametrize("grain", [1, 7, 64])
def test_chunks_of_constants_make_no_difference(monkeypatch, grain):
    monkeypatch.setattr(door, "GRAIN", grain)
    rows, columns = np.arange(5.0), np.arange(12.0).reshape(4, 3, 1)
    every = slice(1, 3), slice(0, 2), slice(1, 5)
    for value in (rows, columns, rows + columns, 3.0):
        expected = np.broadcast_to(value, (4, 3, 5)).astype("float32")
        init = initializers.Constant(value)
        np.testing.assert_array_equal(init((4, 3, 5)), expected)
        np.testing.assert_array_equal(init((4, 3, 5), window=every), expected[every])
    init, expected = initializers.Identity(2.0), 2 * np.eye(9, 5)
    np.testing.assert_array_equal(init((9, 5)), expected)
    for window in np.ndindex(9, 5, 9, 5):
        cut = slice(window[0], window[2] + 1), slice(window[1], window[3] + 1)
        if cut[0].start < cut[0].stop and cut[1].start < cut[1].stop:
            np.testing.assert_array_equal(init((9, 5), window=cut), expected[cut])


def test_a_huge_identity_takes_its_own_memory_only():
    """An array of zeros beside it would double what it takes."""
    out = np.full((3000, 2000), np.nan, "float32")
    tracemalloc.start()
    try:
        initializers.Identity()(out.shape, out=out)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(out, np.eye(3000, 2000))


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
def test_constants_that_are_not_finite(infinite):
    np.testing.assert_array_equal(initializers.Constant(infinite)((2,), "float16"), [infinite] * 2)
    values = initializers.Constant([infinite, 1.0])((2,), "bfloat16")
    np.testing.assert_array_equal(values.astype("float32"), [infinite, 1.0])


@pytest.mark.parametrize(
    "value",
    [
        True,
        3,
        0.1,
        1 - 2j,
        complex("nan-infj"),
        [1, 2.5],
        [[1j, np.complex64(2)], [np.float32(0.1), 4]],
        (np.int8(3), 4),
        np.float64(0.1),
        np.arange(6, dtype="uint8").reshape(2, 3),
        np.array([1 + 2j, -3j], "complex64"),
        np.array([0.1, 2], ml_dtypes.bfloat16),
        np.array(2j),
    ],
)
def test_constants_go_through_json(value):
    init = initializers.Constant(value)
    again = initializers.get(json.loads(json.dumps(initializers.serialize(init))))
    if isinstance(value, np.ndarray):
        assert again.value.dtype == value.dtype
    np.testing.assert_array_equal(np.asarray(again.value), np.asarray(value))
    shape = np.shape(value) or (2,)
    assert again(shape, "complex128").tobytes() == init(shape, "complex128").tobytes()


def test_constant_arrays_broadcast_and_are_cut():
    init = initializers.Constant(np.arange(5))
    np.testing.assert_array_equal(init((2, 5), "int64"), [range(5), range(5)])
    part = init((10**9, 5), "float32", window=(slice(7, 9), slice(1, 3)))
    np.testing.assert_array_equal(part, [[1, 2], [1, 2]])


def test_identity_makes_only_its_window():
    part = initializers.Identity(3.0)((10**8, 10**8), window=(slice(50, 53), slice(51, 55)))
    np.testing.assert_array_equal(part, [[0, 0, 0, 0], [3, 0, 0, 0], [0, 3, 0, 0]])


def test_identity_far_out():
    shape = 2**40, 2**20
    part = initializers.Identity()(shape, window=(slice(2**20 - 2, 2**20 + 1), slice(-2, None)))
    np.testing.assert_array_equal(part, [[1, 0], [0, 1], [0, 0]])
    part = initializers.Identity()(shape, window=(slice(-2, None), slice(-3, None)))
    np.testing.assert_array_equal(part, np.zeros((2, 3)))


def test_constants_that_keras_saved():
    for kind in ("__numpy__", "__tensor__"):
        value = {"class_name": kind, "config": {"value": [1, 2], "dtype": "int8"}}
        init = initializers.get({"class_name": "Constant", "config": {"value": value}})
        assert init.value.dtype == np.int8
        np.testing.assert_array_equal(init((3, 2)), [[1, 2]] * 3)


@pytest.mark.parametrize("length", [8, 501, 65536])
def test_stft_is_the_fourier_transform(length):
    frequencies = length // 2 + 1
    shape = (length, 1, frequencies)
    signal = np.random.default_rng(1).normal(size=length)
    window = slice(None), slice(None), slice(frequencies - 4, None)
    real, imaginary = (
        initializers.STFT(side, window=None)(shape, "float64", window=window)[:, 0]
        for side in ("real", "imag")
    )
    found = signal @ real + 1j * (signal @ imaginary)
    # As in Keras, an odd frame gets the basis of the even period below it: fold its last sample.
    period = 2 * (frequencies - 1)
    folded = signal[:period].copy()
    folded[: length - period] += signal[period:]
    expected = np.fft.rfft(folded)[-4:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * length**0.5)


@pytest.mark.parametrize("window", [np.array([1.0, 2.0, 3.0, 4.0]), (1, 2, 3, 4), [1.0, 2, 3, 4]])
def test_stft_windows_go_through_json(window):
    init = initializers.STFT("imag", window)
    again = initializers.get(json.loads(json.dumps(initializers.serialize(init))))
    np.testing.assert_array_equal(again((4, 1, 3)), init((4, 1, 3)))
    saved = {"value": [1, 2, 3, 4], "dtype": "float64"}  # as Keras writes an array
    config = {"side": "imag", "window": {"class_name": "__numpy__", "config": saved}}
    theirs = initializers.get({"class_name": "STFT", "config": config})
    np.testing.assert_array_equal(theirs((4, 1, 3)), init((4, 1, 3)))


def test_stft_window_is_a_slice():
    init = initializers.STFT("imag", "hamming")
    whole = init((64, 1, 33))
    window = (slice(10, 40), slice(0, 1), slice(5, 33))
    np.testing.assert_array_equal(init((64, 1, 33), window=window), whole[window])


@pytest.mark.parametrize("gain", [-1.0, 3.0])
def test_identity_is_zero_off_the_diagonal(gain):
    values = initializers.Identity(gain)((3, 4), "float16")
    assert values.tobytes() == (np.eye(3, 4) * gain + 0.0).astype("float16").tobytes()


def test_identity_refuses_a_gain_that_the_dtype_has_not():
    with pytest.raises(ValueError, match="Identity: gain must be within ±65504 for float16"):
        initializers.Identity(1e6)((2, 2), "float16")


@pytest.mark.parametrize(
    "value",
    [
        range(1, 4),
        array("h", [1, 2, 3]),
        memoryview(b"\1\2\3"),
        deque([1, 2, 3]),
        [np.int8(1), 2, 3],
    ],
    ids=lambda value: type(value).__name__,
)
def test_sequences_of_every_kind_are_constants(value):
    init = initializers.Constant(value)
    for each in (init, initializers.get(json.loads(json.dumps(initializers.serialize(init))))):
        np.testing.assert_array_equal(each((2, 3), "int32"), [[1, 2, 3]] * 2)


def test_a_masked_value_is_no_number():
    for make in (
        lambda value: initializers.RandomNormal(stddev=value),
        lambda value: initializers.Constant(value),
        lambda value: initializers.STFT(window=np.ma.array([1.0, 2.0], mask=[0, 1])),
    ):
        with pytest.raises((TypeError, ValueError), match="must be"):
            make(np.ma.masked)
