"""What a notebook shows: figures, short reprs, and errors that say what to do."""

import numpy as np
import pytest

import seedbed
from seedbed import initializers, tables
from seedbed.errors import ArgumentError
from seedbed.initializers import picture


@pytest.mark.parametrize(
    ("init", "text"),
    [
        (initializers.GlorotUniform(seed=7), "GlorotUniform(seed=7)"),
        (initializers.HeNormal(), "HeNormal()"),
        (initializers.RandomNormal(0, 0.02, seed=2**64 - 1), f"RandomNormal(seed={2**64 - 1}, "),
        (initializers.Zeros(), "Zeros()"),
        (initializers.Constant(True), "Constant(value=True)"),
        (initializers.Constant(np.zeros((1000, 3))), "Constant(<1,000 × 3 float64>)"),
        (initializers.Orthogonal(2.0), "Orthogonal(gain=2.0)"),
    ],
)
def test_a_repr_has_what_was_given_and_no_more(init, text):
    assert repr(init).startswith(text)
    assert len(repr(init)) < 80


def test_a_repr_makes_an_equal_initializer():
    for init in (
        initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=3),
        initializers.TruncatedNormal(1, 2.0, seed=3, lower=-1.0),
        initializers.GlorotNormal(seed=3, in_axis=0, out_axis=1),
        initializers.Constant([1, 2, 3]),
    ):
        again = eval(repr(init), vars(initializers))
        assert again.get_config() == init.get_config()


def test_a_summary_has_no_matrix(tmp_path):
    values = np.zeros((500, 30), np.float32)
    summary = tables.write(tmp_path / "t.npy", initializers.Constant(values), values.shape)
    assert repr(summary) == f"<{summary}>"
    assert "500 × 30 float32 Constant" in repr(summary)
    assert "\n" not in repr(summary)


@pytest.mark.matplotlib
def test_figures_are_those_of_the_values():
    init = initializers.HeNormal(seed=7)
    figure = init.plot((1000, 64))
    top = figure.axes[0]
    assert top.get_title(loc="left") == "1,000 × 64 float32 HeNormal seed 7"
    (bars,) = top.patches
    values, edges, _ = bars.get_data()
    wanted = np.histogram(init((1000, 64)).astype(float), edges, density=True)[0]
    np.testing.assert_allclose(values, wanted, rtol=1e-12)
    assert seedbed.show("zeros", (3, 4)).axes[0].get_ylabel() == "share of the values"


@pytest.mark.matplotlib
def test_a_notebook_gets_a_figure_as_a_picture_without_pyplot():
    """IPython asks for it by this method; a plain figure is shown as its repr."""
    png = initializers.HeNormal(seed=7).plot((100, 64))._repr_png_()
    assert png.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(png[16:20], "big") == 800  # pixels wide


@pytest.mark.matplotlib
def test_a_table_that_is_larger_than_memory_is_drawn_by_its_first_rows():
    drawn = picture.picture(initializers.RandomUniform(seed=7), (10**12, 128))
    assert drawn.words.startswith(f"{2**22:,} values of 1,000,000,000,000 × 128 float32")


@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 9, 4), (100, 0), (2, 3, 4, 5)])
@pytest.mark.parametrize("most", [1, 4, 10, 1000])
def test_the_first_part_is_the_first_elements(shape, most):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    part = numbers[picture.first_part(shape, most)].ravel()
    assert part.size <= most
    assert part.tolist() == list(range(part.size))


@pytest.mark.matplotlib
@pytest.mark.parametrize("gain", [1.0, -0.5])
def test_entries_of_orthogonal_matrices_are_those_of_unit_vectors(gain):
    drawn = picture.picture(initializers.Orthogonal(gain, seed=7), (30, 20), "float64")
    assert "theory 0 and" in drawn.words
    labels = [text.get_text() for text in drawn.figure.axes[0].get_legend().get_texts()]
    assert any("unit vector of 30" in label for label in labels)


@pytest.mark.matplotlib
def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(TypeError, match="initializer of Seedbed"):
        seedbed.show(np.zeros((3, 3)), (3, 3))
    with pytest.raises(ArgumentError, match="two or more"):
        seedbed.show("zeros", (1,))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("xavier_uniform", "glorot_uniform"),
        ("xavier_normal_", "glorot_normal"),
        ("kaiming_normal_", "he_normal"),
        ("kaiming_uniform", "he_uniform"),
        ("XavierUniform", "glorot_uniform"),
        ("trunc_normal_", "truncated_normal"),
        ("eye", "identity"),
        ("Glorot_Uniform", "glorot_uniform"),
        ("orthogonal_", "orthogonal"),
    ],
)
def test_names_of_other_libraries_are_told_as_ours(name, ours):
    with pytest.raises(ValueError, match=f"nearest: {ours}$"):
        initializers.get(name)


def test_too_large_an_array_is_told_with_what_to_do():
    with pytest.raises(MemoryError, match=r"512,000.0 GB.*window="):
        initializers.Zeros()((10**12, 128))
