"""Dask clusters and object stores beside one process.

``python -m benchmarks.engines dask FOLDER`` has four workers write 8 GB as ``.safetensors`` and as
Zarr, kills one of them in the middle, and compares every byte with what one process writes. It
needs room for twice as much. ``python -m benchmarks.engines s3`` uploads 1 GB of shards to a
server on this machine that fails one request in twenty. Each prints a Markdown table.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np

from seedbed import initializers, tables
from seedbed.tables.output import output_at
from seedbed.tables.table import table

from .machine import environment

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
COLUMNS = 128


def digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file, or of all files in a folder by name."""
    found = {}
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            name = file.name if path.is_dir() else ""
            found[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def resident() -> float:
    """Return the memory of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def by_dask(folder: Path, gb: float, workers: int) -> None:
    """Print a line for each format."""
    from distributed import Client, LocalCluster

    import seedbed.dask

    rows = int(gb * 1e9) // (2 * COLUMNS)
    print(f"{environment()}\n\n{rows:,} × {COLUMNS} bfloat16, {workers} workers.\n")
    print("| | GB/s | killed | bytes | scheduler's process, MB |\n|---|--:|--:|---|--:|")
    for name in ("t.safetensors", "t.zarr"):
        (folder / "one").mkdir(exist_ok=True)
        one, path = folder / "one" / name, folder / name
        start = time.perf_counter()
        tables.write(one, INIT, (rows, COLUMNS), "bfloat16")
        rate = gb / (time.perf_counter() - start)
        print(f"| {name}, one process | {rate:.2f} | | | |", flush=True)
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        with cluster, Client(cluster):
            killed: list[int] = []
            killer = threading.Thread(target=_kill_one, args=(cluster, path, killed), daemon=True)
            killer.start()
            before = resident()
            start = time.perf_counter()
            seedbed.dask.write(path, INIT, (rows, COLUMNS), "bfloat16", parts=8 * workers)
            rate = gb / (time.perf_counter() - start)
            memory = f"{before:.0f} to {resident():.0f}"
        equal = "equal" if digests(path) == digests(one) else "DIFFERENT"
        print(f"| {name}, Dask | {rate:.2f} | {len(killed)} | {equal} | {memory} |", flush=True)
        for made in (one, path):
            shutil.rmtree(made) if made.is_dir() else made.unlink()


def _kill_one(cluster, path: Path, killed: list[int]) -> None:
    """Kill a worker with SIGKILL once some parts are complete."""
    while not path.exists():
        states = []
        for file in path.parent.glob(path.name + ".part-*.json"):
            try:
                states.append(json.loads(file.read_text())["complete"])
            except (OSError, ValueError):
                continue
        if sum(states) >= len(cluster.workers):
            worker = random.Random(1).choice(list(cluster.workers.values()))
            os.kill(worker.process.process.pid, signal.SIGKILL)
            killed.append(worker.process.process.pid)
            return
        time.sleep(0.01)


def by_s3(gb: float, every: int) -> None:
    """Print how an upload went, and whether all objects are equal to the files of a local job."""
    import s3fs
    from moto.server import ThreadedMotoServer
    from tests.proxy import Proxy

    rows, shards = int(gb * 1e9) // (4 * COLUMNS), 8
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port()[1])
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    os.environ.update(proxy.environment())
    fs = s3fs.S3FileSystem()
    fs.mkdir("bucket")
    proxy.every = every
    start = time.perf_counter()
    tables.write("s3://bucket/user", INIT, (rows, COLUMNS), name="user", shards=shards)
    seconds = time.perf_counter() - start
    proxy.every = 0
    one = table(INIT, (rows, COLUMNS), name="user")
    equal = True
    for file in output_at("user", [one], shards).files:
        right = hashlib.sha256(file.header)
        for extent in file.extents():
            values = np.empty(extent.size, extent.table.dtype)
            extent.table.fill(values, extent.begin)
            right.update(values.data)
        found = fs.cat_file(f"bucket/user/{file.name}")
        assert isinstance(found, bytes)
        equal = equal and hashlib.sha256(found).digest() == right.digest()
    index = json.loads(fs.cat_file("bucket/user/seedbed.index.json"))
    print(f"{environment()}\n")
    print("| | |\n|---|---|")
    print(f"| uploaded | {gb:.2f} GB in {len(index['files'])} objects, {seconds:.1f} s |")
    print(f"| requests, and failed | {len(proxy.requests):,}, {proxy.failed:,} |")
    print(f"| objects | {'complete and equal' if equal else 'DIFFERENT'} |")
    server.stop()


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("dask", "s3"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--gb", type=float)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--every", type=int, default=20)
    options = parser.parse_args()
    if options.what == "s3":
        by_s3(options.gb or 1.0, options.every)
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        by_dask(options.folder, options.gb or 8.0, options.workers)


if __name__ == "__main__":
    main()
