"""Shards as PyTorch loads them: a checkpoint of one tensor, over any number of processes."""

import contextlib
import json
import socket

import numpy as np
import pytest

from seedbed import initializers, tables
from tests import processes

pytestmark = pytest.mark.frameworks

PROGRAM = """
import os, sys, warnings
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, zeros
from seedbed import initializers

folder = sys.argv[1]
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
shape = (1001, 24)
whole = initializers.TruncatedNormal(seed=4)(shape, "bfloat16").view("int16")
for placement in (Shard(0), Shard(1), Replicate()):
    table = zeros(shape, dtype=torch.bfloat16, device_mesh=mesh, placements=[placement])
    dcp.load({"user": table}, storage_reader=dcp.HuggingFaceStorageReader(folder))
    assert isinstance(table, DTensor)
    assert (table.full_tensor().view(torch.int16).numpy() == whole).all()
    assert table.to_local().numel() < whole.size or placement == Replicate()
print("equal", flush=True)  # gloo aborts a process that ends at a wrong moment, at times
dist.barrier()
dist.destroy_process_group()
"""


def launch(count, *arguments):
    """Run the program in so many processes and return what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    command = processes.python(PROGRAM, *arguments)
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(processes.started(command, {**environment, "RANK": str(rank)}))
            for rank in range(count)
        ]
        return [process.communicate(timeout=300) for process in started]


@pytest.mark.parametrize(("count", "shards"), [(2, 3), (4, 5)])
def test_dtensor(tmp_path, count, shards):
    init = initializers.TruncatedNormal(seed=4)
    tables.write(tmp_path / "folder", init, (1001, 24), "bfloat16", shards=shards, name="user")
    for out, err in launch(count, tmp_path / "folder"):
        assert "equal" in out.splitlines(), err  # gloo prints lines of its own


def test_plain_tensor_in_one_process(tmp_path):
    import torch
    import torch.distributed.checkpoint as dcp

    init = initializers.TruncatedNormal(seed=4)
    tables.write(tmp_path / "folder", init, (101, 24), "float32", shards=7)
    state = {"weight": torch.zeros(101, 24)}
    dcp.load(
        state, storage_reader=dcp.HuggingFaceStorageReader(str(tmp_path / "folder")), no_dist=True
    )
    assert np.array_equal(state["weight"].numpy(), init((101, 24)))


def test_consolidation(tmp_path):
    """PyTorch's own tool makes one file of the shards."""
    from safetensors.numpy import load_file
    from torch.distributed.checkpoint._consolidate_hf_safetensors import (
        consolidate_safetensors_files,
    )

    init = initializers.TruncatedNormal(seed=4)
    tables.write(tmp_path / "folder", init, (101, 24), "float32", shards=3)
    (tmp_path / "one").mkdir()
    consolidate_safetensors_files(
        str(tmp_path / "folder"), str(tmp_path / "one"), fqn_to_index_mapping={"weight": 1}
    )
    (file,) = (tmp_path / "one").glob("*.safetensors")
    assert np.array_equal(load_file(file)["weight"], init((101, 24)))


def test_metadata_are_those_of_torch(tmp_path):
    """Names and form of what a distributed save of PyTorch writes into its own shards."""
    import safetensors
    import torch
    import torch.distributed.checkpoint as dcp

    (tmp_path / "theirs").mkdir()
    writer = dcp.HuggingFaceStorageWriter(str(tmp_path / "theirs"), save_distributed=True)
    dcp.save({"weight": torch.zeros(10, 3)}, storage_writer=writer, no_dist=True)
    tables.write(tmp_path / "ours", initializers.Zeros(), (10, 3), shards=1)
    metadata = []
    for folder in ("theirs", "ours"):
        (file,) = (tmp_path / folder).glob("*.safetensors")
        with safetensors.safe_open(file, "np") as opened:
            metadata.append(opened.metadata())
        metadata[-1]["name"] = file.name
    theirs, ours = metadata
    theirs["DCP_SHARDING_INFO"] = json.loads(theirs["DCP_SHARDING_INFO"])
    ours["DCP_SHARDING_INFO"] = json.loads(ours["DCP_SHARDING_INFO"])
    assert {key: ours.get(key) for key in theirs} == theirs
