"""Dask clusters and object stores beside one process: ``python -m benchmarks.engines``.

``dask FOLDER`` has four workers write 8 GB as ``.safetensors`` and as Zarr, kills one of them in
the middle, and compares every byte with what one process writes; the folder needs room for twice as
much. ``s3 FOLDER`` uploads 1 GB of shards and of Zarr to a server on this machine that fails one
request in twenty, and compares every byte with what one process writes into the folder; what the
server holds is in the folder for temporary files. Each prints a section of Markdown.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedbed import initializers
from seedbed.tables.formats.shards import INDEX

from .machine import environment
from .tables import CHUNK, Writer, zeros

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
OPTIONS = ["--initializer=truncated_normal", "--set=stddev=0.02", "--dtype=bfloat16"]
COLUMNS = 128
BLOCK = 16 << 20  # bytes that are uploaded at a time, as by Seedbed


def digests(files: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of open files."""
    found = {}
    for name, file in files.items():
        with file() as opened:
            found[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def local(path: Path) -> dict[str, Any]:
    """Return how to open a file, or all files in a folder, by name."""
    inside = path.iterdir() if path.is_dir() else [path]
    return {file.name: (lambda file=file: file.open("rb")) for file in inside}


def stored(fs: Any, path: str) -> dict[str, Any]:
    """Return how to open all objects of a folder, by name."""
    return {
        one.rpartition("/")[2]: (lambda one=one: fs.open(one, "rb", BLOCK)) for one in fs.find(path)
    }


def remove(path: Path) -> None:
    """Remove a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class Watched(threading.Thread):
    """The anonymous memory of this process, where the scheduler runs, before and at its peak."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.peak = _anonymous()
        self.ended = threading.Event()

    def run(self) -> None:
        """Look at it until the end."""
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, _anonymous())

    def __str__(self) -> str:
        return f"{self.before:.0f}, {self.peak:.0f}"


def _anonymous() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def by_dask(folder: Path, gb: float, workers: int, names: list[str]) -> None:
    """Print a line for each format and each way to write it."""
    rows = int(gb * 1e9) // (2 * COLUMNS)
    print(f"## Dask\n\n{environment()}\n\n{rows:,} × {COLUMNS} bfloat16, {gb:g} GB, in ", end="")
    print(f"{8 * workers} parts by {workers} workers of one thread, which begin in that time.\n")
    print("| | seconds | GB/s | workers killed | bytes | scheduler, MB before and at most |")
    print("|---|--:|--:|--:|---|--:|", flush=True)
    seconds = zeros(folder / "zeros", int(gb * 1e9))
    print(f"| as many zeros, plain write and fsync | {seconds:.1f} | {gb / seconds:.2f} | | | |")
    shard_rows = 1024 * max(rows // (1024 * 8 * workers), 1)
    chunks: dict[str, Any] = {"chunk_rows": 1024, "shard_rows": shard_rows}
    for name in names:
        options = chunks if name == "zarr" else {}
        arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        (folder / "one").mkdir(exist_ok=True)
        one, path = folder / "one" / f"t.{name}", folder / f"t.{name}"
        for made in (one, path):
            remove(made)
        seconds = Writer(f"--shape={rows}x{COLUMNS}", *OPTIONS, f"--out={one}", *arguments).seconds
        print(f"| .{name}, one process | {seconds:.1f} | {gb / seconds:.2f} | | | |", flush=True)
        right = digests(local(one))
        for what, kill, check in (
            ("", False, "all"),
            (', check="sample"', False, "sample"),
            (", a worker is lost", True, "all"),
        ):
            asked = {**options, "check": check}
            seconds, killed, memory = _cluster(path, rows, workers, kill, asked)
            equal = "equal" if digests(local(path)) == right else "DIFFERENT"
            rate = f"{seconds:.1f} | {gb / seconds:.2f} | {killed}"
            print(f"| .{name}, Dask{what} | {rate} | {equal} | {memory} |", flush=True)
            remove(path)
        remove(one)


def _cluster(
    path: Path, rows: int, workers: int, kill: bool, options: dict[str, Any]
) -> tuple[float, int, Watched]:
    """Have a new cluster write a table; return seconds, workers killed, and its memory."""
    from distributed import Client, LocalCluster

    import seedbed.dask

    parts, killed = 8 * workers, []
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster):
        if kill:
            threading.Thread(target=_kill_one, args=(cluster, path, killed), daemon=True).start()
        memory = Watched()
        memory.start()
        start = time.perf_counter()
        seedbed.dask.write(path, INIT, (rows, COLUMNS), "bfloat16", parts=parts, **options)
        seconds = time.perf_counter() - start
        memory.ended.set()
        memory.join()
    return seconds, len(killed), memory


def _kill_one(cluster: Any, path: Path, killed: list[int]) -> None:
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


def by_s3(folder: Path, gb: float, every: int) -> None:
    """Print a line for each format and each way to write it."""
    import s3fs

    rows, nbytes = int(gb * 1e9) // (2 * COLUMNS), int(gb * 1e9)
    print(
        f"## S3\n\n{environment()}\n\n{rows:,} × {COLUMNS} bfloat16, {gb:g} GB, to Moto's server ",
        end="",
    )
    print(f"on this machine, which fails one request in {every}. Processes start in that time.\n")
    print("| | seconds | GB/s | requests | failed | bytes |\n|---|--:|--:|--:|--:|---|", flush=True)

    def show(what: str, seconds: float, counts: str = " | ", equal: str = "") -> None:
        rate = f"{seconds:.1f} | {gb / seconds:.2f}"
        print(f"| {what} | {rate} | {counts} | {equal} |", flush=True)

    shard_rows = -(-rows // 8)
    chunks = ["--chunk-rows=1024", f"--shard-rows={-(-shard_rows // 1024) * 1024}"]
    for name, arguments in (("shards", ["--shards=8", "--name=user"]), ("t.zarr", chunks)):
        remove(folder / name)
        options = [f"--shape={rows}x{COLUMNS}", *OPTIONS, *arguments]
        what = "8 shards" if name == "shards" else ".zarr of 8 files"
        show(f"{what}, on the disk", Writer(*options, f"--out={folder / name}").seconds)
        right = digests(local(folder / name))
        remove(folder / name)
        for parts in (1, 2):
            with _store(every) as counted:
                fs = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
                fs.mkdir("bucket")
                if name == "shards" and parts == 1:
                    counted()
                    seconds = _plain(fs, nbytes)
                    show("as many zeros, by s3fs alone", seconds, counted())
                    fs.rm("bucket/zeros", recursive=True)
                counted()
                seconds = _upload(options, f"s3://bucket/{name}", parts)
                counts = counted()
                found = digests(stored(fs, f"bucket/{name}"))
                found.pop(INDEX, None)
                equal = "equal" if found == right else "DIFFERENT"
            processes = "one process" if parts == 1 else f"{parts} processes, a part each"
            show(f"{what}, {processes}", seconds, counts, equal)


def _plain(fs: Any, nbytes: int) -> float:
    """Upload zeros as eight objects; return the seconds."""
    start = time.perf_counter()
    for number in range(8):
        with fs.open(f"bucket/zeros/{number}", "wb", block_size=BLOCK) as file:
            for _ in range(nbytes // 8 // CHUNK or 1):
                file.write(bytes(min(CHUNK, nbytes // 8)))
    return time.perf_counter() - start


def _upload(options: list[str], url: str, parts: int) -> float:
    """Write a table into a store, each part in a process; return the seconds."""
    command = [sys.executable, "-m", "seedbed", "table", "--seed=7", *options, f"--out={url}"]
    start = time.perf_counter()
    running = [
        subprocess.Popen([*command, f"--part={number}/{parts}"], stdout=subprocess.DEVNULL)
        for number in range(1, parts + 1)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"{url}: exit codes {codes}")
    return time.perf_counter() - start


@contextlib.contextmanager
def _store(every: int) -> Iterator[Any]:
    """Serve an empty store in a process of its own; yields what counts requests since before."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, every))
    process.start()

    def counted() -> str:
        here.send(None)
        requests, failed = here.recv()
        return f"{requests:,} | {failed:,}"

    try:
        os.environ.update(here.recv())
        yield counted
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any, every: int) -> None:
    from moto.server import ThreadedMotoServer
    from tests.proxy import Proxy

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port()[1])
    proxy.every = every
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    pipe.send(proxy.environment())
    requests = failed = 0
    while True:
        pipe.recv()
        pipe.send((len(proxy.requests) - requests, proxy.failed - failed))
        requests, failed = len(proxy.requests), proxy.failed


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("dask", "s3"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--gb", type=float)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--formats", nargs="+", default=["safetensors", "zarr"])
    parser.add_argument("--every", type=int, default=20)
    options = parser.parse_args()
    INIT((10, COLUMNS), "bfloat16")  # compiled before anything is timed
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.what == "s3":
            by_s3(folder, options.gb or 1.0, options.every)
        else:
            by_dask(folder, options.gb or 8.0, options.workers, options.formats)


if __name__ == "__main__":
    main()
