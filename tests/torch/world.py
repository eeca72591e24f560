"""Groups of 1, 2 and 4 gloo processes that fill the same tensors and models; run by test_torch.py.

Prints a line of hashes for each process, and fails if one of them does.
"""

import hashlib
import os
import sys
import tempfile

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, zeros
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

import seedbed.torch as seeded
import seedbed_kernels.fills_cpu  # noqa: F401  here once, not in each process
from seedbed import initializers

ROWS, COLUMNS = 37, 22  # no number of processes divides both
CONVOLUTION = (10, 6, 3, 3)


def transformer() -> torch.nn.Module:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    return torch.nn.Sequential(
        torch.nn.Embedding(50, 16), torch.nn.TransformerEncoder(layer, 2), torch.nn.Linear(16, 50)
    )


RULES = {
    "*norm*.weight": seeded.ones_,
    "*bias": "zeros",
    "0.weight": initializers.TruncatedNormal(stddev=0.02),
    "*.linear2.weight": seeded.orthogonal_,
    "*weight": seeded.xavier_uniform_,
}


def sha256(tensors) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        digest.update(np.ascontiguousarray(full.detach().float().numpy()).tobytes())
    return digest.hexdigest()


def fills(empty):
    """Yield a tensor of each kind, filled; `empty` makes one of a shape and dtype."""
    for dtype in (torch.float32, torch.bfloat16):
        yield seeded.fill_(empty((ROWS, COLUMNS), dtype), initializers.TruncatedNormal(seed=7))
    yield seeded.kaiming_normal_(empty(CONVOLUTION, torch.float32), seed=8)
    for name, arguments in (
        ("orthogonal_", {"seed": 9}),
        ("sparse_", {"sparsity": 0.3, "seed": 10}),
        ("eye_", {}),
        ("ones_", {}),
    ):
        yield getattr(seeded, name)(empty((ROWS, COLUMNS), torch.float32), **arguments)
    yield seeded.orthogonal_(empty(CONVOLUTION, torch.float32), seed=11)
    yield seeded.dirac_(empty(CONVOLUTION, torch.float32), groups=2)
    generator = initializers.SeedGenerator(12)  # moves on where a process holds nothing, too
    for shape in ((2, COLUMNS), (1, 5, 2), (ROWS, 2)):
        yield seeded.xavier_normal_(empty(shape, torch.float32), seed=generator)
        yield seeded.orthogonal_(empty(shape, torch.float32), seed=generator)
        if len(shape) == 2:
            yield seeded.sparse_(empty(shape, torch.float32), 0.3, seed=generator)


def placements(world: int):
    """Yield meshes and placements: rows, columns, replicas, both axes, one axis twice."""
    line = init_device_mesh("cpu", (world,))
    for placement in (Shard(0), Shard(1), Replicate()):
        yield line, [placement]
    if world > 1:
        grid = init_device_mesh("cpu", (2, world // 2))
        yield grid, [Shard(0), Shard(1)]
        yield grid, [Shard(1), Shard(1)]
        yield grid, [Replicate(), Shard(0)]


def same_tensors(world: int) -> str:
    whole = sha256(fills(lambda shape, dtype: torch.full(shape, torch.nan, dtype=dtype)))
    for mesh, how in placements(world):
        made = fills(
            lambda shape, dtype, mesh=mesh, how=how: zeros(
                shape, dtype=dtype, device_mesh=mesh, placements=how
            )
        )
        assert sha256(made) == whole, how
    return whole


def same_models(world: int) -> str:
    plain = seeded.init_module_(transformer(), RULES, seed=7)
    expected = sha256(plain.parameters())

    def shard(model):
        for layer in model[1].layers:
            fully_shard(layer)
        return fully_shard(model)

    assert sha256(seeded.init_module_(shard(transformer()), RULES, seed=7).parameters()) == expected
    with torch.device("meta"):
        model = transformer()
    model = shard(model)
    model.to_empty(device="cpu")
    seeded.init_module_(model, RULES, seed=7)
    assert sha256(model.parameters()) == expected
    tokens = torch.arange(12).reshape(2, 6)
    torch.testing.assert_close(model(tokens), plain(tokens))
    parallel = torch.nn.parallel.DistributedDataParallel(transformer())
    assert sha256(seeded.init_module_(parallel, RULES, seed=7).parameters()) == expected

    if world == 4:  # both at once: strided shards
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        model = torch.nn.Sequential(torch.nn.Linear(16, 24))
        parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel()})
        fully_shard(model, mesh=mesh["data"])
        seeded.init_module_(model, {"*": seeded.uniform_}, seed=7)
        whole = torch.nn.Sequential(torch.nn.Linear(16, 24))
        seeded.init_module_(whole, {"*": seeded.uniform_}, seed=7)
        assert sha256(model.parameters()) == sha256(whole.parameters())
    return expected


def refused(world: int) -> None:
    mesh = init_device_mesh("cpu", (world,))
    tensor = distribute_tensor(torch.zeros(4, 4), mesh, [Shard(0)])
    with pytest.raises(ValueError, match="a DTensor needs a seed"):
        seeded.normal_(tensor)
    with pytest.raises(ValueError, match="a DTensor needs an initializer with a seed"):
        seeded.fill_(tensor, initializers.RandomNormal())


def process(rank: int, world: int, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    refused(world)
    line = f"hashes {same_tensors(world)} {same_models(world)}\n"
    os.write(1, line.encode())  # in one piece, among those of the others
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    context = torch.multiprocessing.get_context("fork")  # to import torch once
    for world in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            group = [
                context.Process(target=process, args=(rank, world, f"{folder}/rendezvous"))
                for rank in range(world)
            ]
            for member in group:
                member.start()
            for member in group:
                member.join()
        if any(member.exitcode for member in group):
            sys.exit(f"failed with {world} processes")
