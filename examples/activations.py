"""How initializers keep the size of activations through 50 layers: a picture.

``python examples/activations.py [PICTURE]`` sends one batch through 50 layers of 256 units, linear,
with tanh and with ReLU, for several initializers, and draws the root mean square of the activations
after each layer. Takes some seconds; needs matplotlib.
"""

import sys
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from seedbed import initializers
from seedbed.seeds import derive

LAYERS, UNITS, BATCH = 50, 256, 256
NONLINEARITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}
INITIALIZERS = {
    "RandomNormal(0.02)": initializers.RandomNormal(stddev=0.02),
    "RandomNormal(0.05)": initializers.RandomNormal(stddev=0.05),
    "LecunNormal": initializers.LecunNormal(),
    "GlorotUniform": initializers.GlorotUniform(),
    "HeNormal": initializers.HeNormal(),
    "Orthogonal": initializers.Orthogonal(),
}
STYLES = ("-", "-", "-", "--", "-", ":")  # some lie on each other


def sizes(init: initializers.Initializer, nonlinearity: str, seed: int = 7) -> np.ndarray:
    """Return the root mean square of the activations: of the input, and after each layer.

    Each layer has a seed of its own, derived from its name.

    Returns
    -------
    numpy.ndarray
        Of shape ``(LAYERS + 1,)``.
    """
    batch = initializers.RandomNormal(0.0, 1.0, seed=derive(seed, "input"))
    x = batch((BATCH, UNITS), "float64")
    found = [np.sqrt(np.mean(x**2))]
    for layer in range(LAYERS):
        weights = init.with_seed(derive(seed, f"layer_{layer}"))((UNITS, UNITS), "float64")
        x = NONLINEARITIES[nonlinearity](x @ weights)
        found.append(np.sqrt(np.mean(x**2)))
    return np.array(found)


def picture() -> Figure:
    """Return the figure: one panel for each nonlinearity, one line for each initializer."""
    figure = Figure((11, 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(NONLINEARITIES), sharey=True)
    for axes, nonlinearity in zip(panels, NONLINEARITIES, strict=True):
        for (name, init), style in zip(INITIALIZERS.items(), STYLES, strict=True):
            axes.plot(sizes(init, nonlinearity), style, label=name, linewidth=2)
        axes.set(title=nonlinearity, xlabel="layer", yscale="log", ylim=(1e-8, 1e8))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("root mean square of activations")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else "activations.png"
    picture().savefig(path)
    print(path)
