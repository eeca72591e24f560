"""seedbed.dask.write: a cluster's workers write one table, and one of them is killed."""

import os
import sys

import numpy as np
import pytest
from tests import processes

from seedbed import initializers, tables
from seedbed.errors import ArgumentError, OutputError

pytest.importorskip("dask.array")

import dask

import seedbed.dask

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (3000, 40)


@pytest.fixture(autouse=True)
def _threads():
    with dask.config.set(scheduler="threads", num_workers=3):
        yield


def digests(path):
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return {one.name if path.is_dir() else "": one.read_bytes() for one in found}


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("t.npy", {}),
        ("t.safetensors", {"name": "user"}),
        ("t.zarr", {"chunk_rows": 100, "shard_rows": 500}),
        ("folder", {"shards": 7}),
    ],
)
def test_the_bytes_are_those_of_one_process(tmp_path, file, options):
    (tmp_path / "one").mkdir()
    tables.write(tmp_path / "one" / file, INIT, SHAPE, **options)
    summary = seedbed.dask.write(tmp_path / file, INIT, SHAPE, parts=5, **options)
    assert (summary.values, summary.nbytes, summary.missing) == (120_000, 480_000, [])
    assert digests(tmp_path / file) == digests(tmp_path / "one" / file)
    assert sorted(os.listdir(tmp_path)) == sorted(["one", file])


def test_what_is_there_is_left_alone(tmp_path):
    path = tmp_path / "t.npy"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        seedbed.dask.write(path, INIT, SHAPE)
    assert path.read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["t.npy"]


def test_an_unfinished_table_is_continued(tmp_path):
    path = tmp_path / "t.npy"
    tables.write(path, INIT, SHAPE, part=(2, 3))
    with pytest.raises(OutputError, match="unfinished in 3 parts"):
        seedbed.dask.write(path, INIT, SHAPE)
    summary = seedbed.dask.write(path, INIT, SHAPE, parts=3, resume=True)
    assert summary.nbytes == pytest.approx(320_000, abs=10_000)
    np.testing.assert_array_equal(np.load(path), INIT(SHAPE), strict=True)
    assert seedbed.dask.write(path, INIT, SHAPE, parts=3, resume=True).nbytes == 0


def test_an_orthogonal_matrix_is_one_part(tmp_path):
    class Whole(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(shape, 3, dtype)

        def get_config(self):
            return {}

    seedbed.dask.write(tmp_path / "t.npy", Whole(), (20, 10))
    assert (np.load(tmp_path / "t.npy") == 3).all()
    with pytest.raises(ArgumentError, match="computed as a whole: no parts"):
        seedbed.dask.write(tmp_path / "u.npy", Whole(), (20, 10), parts=2)


@pytest.mark.parametrize(
    ("message", "init", "options"),
    [
        ("write: init must have an integer seed", "random_normal", {}),
        ("parts must be an integer; given 'x'", INIT, {"parts": "x"}),
        ("part must be k/n with 1 <= k <= n", INIT, {"parts": 0}),
        ("check must be 'all' or 'sample'", INIT, {"check": "none"}),
        ("chunk_bytes must be at least 1", INIT, {"chunk_bytes": 0}),
    ],
)
def test_arguments_that_are_refused(tmp_path, message, init, options):
    with pytest.raises((ValueError, TypeError), match=message):
        seedbed.dask.write(tmp_path / "t.npy", init, SHAPE, **options)
    assert not os.listdir(tmp_path)


CLUSTER = """
import hashlib, json, os, pathlib, signal, sys, threading, time
import dask
from distributed import Client, LocalCluster
import seedbed.dask
from seedbed import initializers

def unfinished(path):
    return [json.loads(file.read_text()) for file in path.parent.glob(path.name + ".part-*.json")]

def kill_one(cluster, path, killed):
    worker = list(cluster.workers.values())[0]
    pid = worker.process.process.pid
    while not path.exists():  # until it is in the middle of a part
        for state in unfinished(path):
            part = tuple(state["part"])
            if state["done"] and not state["complete"] and os.path.exists(f"/proc/{pid}"):
                if any(str(path) in os.readlink(f"/proc/{pid}/fd/{fd}")
                       for fd in os.listdir(f"/proc/{pid}/fd")
                       if os.path.lexists(f"/proc/{pid}/fd/{fd}")):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(part)
                    return
        time.sleep(0.005)

if __name__ == "__main__":
    with dask.config.set({"distributed.worker.daemon": False}):
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        init, shape = initializers.TruncatedNormal(stddev=0.02, seed=7), (200_000, 64)
        for file, options in (
            ("t.safetensors", {}), ("t.zarr", {"chunk_rows": 5_000, "shard_rows": 25_000})
        ):
            path, killed = pathlib.Path(sys.argv[1], file), []
            killer = threading.Thread(target=kill_one, args=(cluster, path, killed), daemon=True)
            killer.start()
            summary = seedbed.dask.write(
                path, init, shape, parts=4, chunk_bytes=200_000, checkpoint_seconds=0, **options
            )
            killer.join(10)
            print(file, "killed", len(killed), "missing", len(summary.missing))
            client.wait_for_workers(2)
"""


def test_a_worker_that_is_killed_is_replaced(tmp_path):
    pytest.importorskip("distributed")
    program = tmp_path / "program.py"
    program.write_text(CLUSTER)
    done = processes.run([sys.executable, program, tmp_path], timeout=120)
    lines = {"t.safetensors killed 1 missing 0", "t.zarr killed 1 missing 0"}
    assert lines <= set(done.stdout.splitlines())
    for file in ("t.safetensors", "t.zarr"):
        table = tables.open(tmp_path / file)["weight"]
        np.testing.assert_array_equal(table[...], INIT((200_000, 64)), strict=True)
    assert sorted(os.listdir(tmp_path)) == ["program.py", "t.safetensors", "t.zarr"]
