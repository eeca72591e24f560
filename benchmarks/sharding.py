"""Memory of an embedding that Keras shards over JAX devices: ``python benchmarks/sharding.py``.

Each initializer makes one float32 table of 128 columns on eight devices of the host, in a process
of its own; the peak is what the process grew by, in tables.
"""

import os
import subprocess
import sys

ROWS = 2**21  # 1 GiB: Keras' own needs four times as much
COLUMNS = 128
CODE = """
import sys
import jax, keras
from keras.distribution import DeviceMesh, LayoutMap, ModelParallel, set_distribution
import seedbed.keras

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

package, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
layouts = LayoutMap(DeviceMesh((8,), ("model",)))
layouts[".*embeddings"] = ("model", None)
set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="model"))
initializers = seedbed.keras if package == "seedbed" else keras.initializers
initializers.TruncatedNormal(seed=1)((64, 64))
before = peak()
init = initializers.TruncatedNormal(stddev=0.02, seed=5)
layer = keras.layers.Embedding(rows, columns, embeddings_initializer=init)
layer.build((None,))
jax.block_until_ready(layer.embeddings.value)
assert len({str(s.index) for s in layer.embeddings.value.addressable_shards}) == 8
print((peak() - before) / (rows * columns * 4))
"""


def peak(package: str, rows: int = ROWS) -> float:
    """Return how far a process' memory grows, in tables, while a package's initializer works."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, package, str(rows), str(COLUMNS)],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Print a table."""
    print("| initializer | peak, in tables |\n|---|--:|")
    for package in ("seedbed", "keras"):
        print(f"| {package} | {peak(package):.2f} |")


if __name__ == "__main__":
    main()
