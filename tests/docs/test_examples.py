"""The examples of examples/ show what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def activations(monkeypatch):
    spec = importlib.util.spec_from_file_location("activations", EXAMPLES / "activations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LAYERS", 20)
    monkeypatch.setattr(module, "UNITS", 64)
    return module


@pytest.mark.matplotlib
def test_initializers_keep_the_size_of_activations_that_they_are_made_for(activations):
    """Bounds of a factor of 4 after 20 layers; each layer varies by some percent."""

    def ratio(name, nonlinearity):
        sizes = activations.sizes(activations.INITIALIZERS[name], nonlinearity)
        assert sizes.shape == (21,)
        return sizes[-1] / sizes[0]

    assert abs(ratio("Orthogonal", "linear") - 1) < 1e-12
    assert 1 / 4 < ratio("GlorotUniform", "linear") < 4
    assert 1 / 4 < ratio("HeNormal", "relu") < 4
    assert ratio("HeNormal", "linear") > 2**10 / 4
    assert ratio("LecunNormal", "relu") < 4 / 2**10
    assert ratio("RandomNormal(0.02)", "tanh") < 1e-12


@pytest.mark.matplotlib
def test_the_picture_has_a_line_for_each_initializer_in_each_panel(activations, monkeypatch):
    monkeypatch.setattr(activations, "sizes", lambda init, nonlinearity: np.ones(3))
    figure = activations.picture()
    assert [axes.get_title() for axes in figure.axes] == ["linear", "tanh", "relu"]
    assert [len(axes.lines) for axes in figure.axes] == [len(activations.INITIALIZERS)] * 3
