"""Make an array sharded over the devices of several JAX processes.

``python jax_processes.py localhost:9911 2 0`` and ``python jax_processes.py localhost:9911 2 1``:
the address of the first process, how many there are, and which this is. On Slurm and in Kubernetes
``jax.distributed.initialize()`` finds them by itself.
"""

import hashlib
import sys

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

import seedbed.jax
from seedbed import initializers

address, count, number = sys.argv[1:]
jax.distributed.initialize(address, int(count), int(number))
mesh = jax.make_mesh((jax.device_count(),), ("rows",))
init = initializers.TruncatedNormal(stddev=0.02, seed=7)
table = seedbed.jax.array(init, (4096, 64), NamedSharding(mesh, PartitionSpec("rows")))
whole = multihost_utils.process_allgather(table, tiled=True)  # gathered only to be hashed
print("SHA-256", hashlib.sha256(whole).hexdigest())
