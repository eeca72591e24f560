"""Have the workers of a Dask cluster write a table: ``python dask_cluster.py table.zarr``."""

import hashlib
import sys

from distributed import Client, LocalCluster

import seedbed.dask
from seedbed import initializers, tables

if __name__ == "__main__":
    path = sys.argv[1]
    init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster):
        seedbed.dask.write(path, init, (4096, 64), parts=4, chunk_rows=512, shard_rows=1024)
    print("SHA-256", hashlib.sha256(tables.open(path)["weight"][...]).hexdigest())
