"""Keras models built by Seedbed and by Keras: ``python -m benchmarks.keras_models``.

ResNet50 and a Transformer of some 4·10⁸ parameters, whose layers name no initializer, on each
backend: built inside `seedbed.keras.scope`, as Keras builds them, and inside the scope with memory
that nobody fills, which is what Keras itself takes. Each in a process of its own, in turns; the
best of the runs counts. The time is that of building, without imports and a first small layer (in
which Seedbed compiles, once on a machine). The peak is what the process grew by, in multiples of
the weights. Prints a Markdown table and writes it to benchmarks/results/keras.md.
"""

import argparse
import json
import os
import subprocess
import sys

from .machine import RESULTS, environment

BACKENDS = ("tensorflow", "jax", "torch")
CODE = """
import contextlib, json, subprocess, sys, time
import keras
import seedbed.initializers.initializer
import seedbed.keras

model, package, layers = sys.argv[1], sys.argv[2], int(sys.argv[3])

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) * 1024

def transformer(width=1024, words=32000, heads=16):
    L = keras.layers
    tokens = keras.Input((64,), dtype="int32")
    x = L.Embedding(words, width)(tokens)
    for _ in range(layers):
        y = L.LayerNormalization()(x)
        x = L.Add()([x, L.MultiHeadAttention(heads, width // heads)(y, y, use_causal_mask=True)])
        y = L.Dense(4 * width, activation="gelu")(L.LayerNormalization()(x))
        x = L.Add()([x, L.Dense(width)(y)])
    return keras.Model(tokens, L.Dense(words, use_bias=False)(L.LayerNormalization()(x)))

build = {
    "ResNet50": lambda: keras.applications.ResNet50(weights=None),
    "Transformer": transformer,
}[model]
scope = contextlib.nullcontext() if package == "keras" else seedbed.keras.scope(7)
with scope:
    keras.layers.Dense(300, kernel_initializer="he_normal").build((None, 300))
    keras.layers.Dense(300).build((None, 300))
    # Another process has had the memory: a virtual machine takes what it needs from its host then.
    touch = "import numpy; numpy.ones(5 * 10**8)"
    subprocess.run([sys.executable, "-c", touch], check=True)
    if package == "unfilled":
        seedbed.initializers.initializer.fill = lambda recipe, request, stream: request.out
    before, start = memory("VmRSS"), time.perf_counter()
    built = build()
    for weight in built.weights:
        if keras.backend.backend() == "jax":
            weight.value.block_until_ready()
    seconds = time.perf_counter() - start
size = sum(weight.value.size if keras.backend.backend() == "jax" else
           int(keras.ops.size(weight.value)) for weight in built.weights)
print(json.dumps([size, seconds, (memory("VmHWM") - before) / (4 * size)]))
"""


def measure(backend: str, model: str, package: str, layers: int) -> tuple[int, float, float]:
    """Return the parameters of a model, the seconds to build it, and the peak in its size."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, model, package, str(layers)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    size, seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return size, seconds, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=26, help="of the Transformer")
    parser.add_argument("--models", nargs="+", default=["ResNet50", "Transformer"])
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    arguments = parser.parse_args()
    lines = [
        "# Models of Keras, built\n",
        environment(),
        f"\nThe machine had a load of {os.getloadavg()[0]:.1f} at the start.\n",
        "| model | backend | Seedbed, s | Keras, s | ratio | unfilled, s | ratio of the values | "
        "peak, Seedbed | peak, Keras |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for model in arguments.models:
        for backend in arguments.backends:
            best: dict[str, tuple[float, float]] = {}
            size = 0
            for _ in range(arguments.runs):
                for package in ("seedbed", "keras", "unfilled"):
                    size, seconds, peak = measure(backend, model, package, arguments.layers)
                    best[package] = min(best.get(package, (seconds, peak)), (seconds, peak))
            (ours, our_peak), (theirs, their_peak) = best["seedbed"], best["keras"]
            unfilled, _ = best["unfilled"]
            rest = (theirs - unfilled) / (ours - unfilled)
            lines.append(
                f"| {model}, {size / 1e6:.0f} M | {backend} | {ours:.2f} | {theirs:.2f} | "
                f"{theirs / ours:.1f} | {unfilled:.2f} | {rest:.1f} | "
                f"{our_peak:.2f} | {their_peak:.2f} |"
            )
            print(lines[-1], flush=True)
    (RESULTS / "keras.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
