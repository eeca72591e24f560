"""Tables of TorchRec on 1, 2 and 4 processes in each sharding; run by test_worlds.py."""

import os

import fbgemm_gpu  # noqa: F401  the operators of tables
import torch
import torch.distributed as dist
import torchrec
from torch.distributed.device_mesh import init_device_mesh
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.sharding_plan import (
    column_wise,
    construct_module_sharding_plan,
    data_parallel,
    row_wise,
    table_wise,
)
from torchrec.distributed.types import ShardingEnv, ShardingPlan

import seedbed.torch as seeded
from seedbed import initializers
from seedbed.seeds import derive
from tests.torch import groups

ROWS = {"user": 37, "item": 50}  # no number of processes divides both
WIDTH = 16


class Model(torch.nn.Module):
    def __init__(self, tables):
        super().__init__()
        self.tables = tables
        self.over = torch.nn.Linear(3, 2)


def shardings(world: int):
    return {
        "rows": row_wise(),
        "columns": column_wise(ranks=list(range(world))),
        "columns, two a process": column_wise(ranks=[rank for rank in range(world) for _ in "ab"]),
        "table": table_wise(rank=world - 1),
        "copies": data_parallel(),
    }


def parallel(how, world: int, dtensors: bool) -> DistributedModelParallel:
    configurations = [
        torchrec.EmbeddingBagConfig(
            name=name, embedding_dim=WIDTH, num_embeddings=rows, feature_names=[f"feature_{name}"]
        )
        for name, rows in ROWS.items()
    ]
    tables = torchrec.EmbeddingBagCollection(device=torch.device("meta"), tables=configurations)
    sharder = EmbeddingBagCollectionSharder()
    plan = construct_module_sharding_plan(
        tables, dict.fromkeys(ROWS, how), sharder, world, world, "cpu"
    )
    environment = ShardingEnv.from_process_group(dist.group.WORLD)
    if dtensors:
        environment.output_dtensor = True
        environment.device_mesh = init_device_mesh("cpu", (world,))
    return DistributedModelParallel(
        Model(tables),
        env=environment,
        device=torch.device("cpu"),
        plan=ShardingPlan({"tables": plan}),
        sharders=[sharder],
    )


def pieces(tensor):
    """Yield the values that this process holds, and where they are in the table."""
    if hasattr(tensor, "device_mesh"):
        local = tensor.to_local()
        yield from zip(local.local_shards(), local.local_offsets(), strict=False)
    elif hasattr(tensor, "local_shards"):
        for shard in tensor.local_shards():
            yield shard.tensor, shard.metadata.shard_offsets
    else:
        yield tensor, (0, 0)


def check(model, expected) -> None:
    for name, full in expected.items():
        tensor = model.state_dict()[f"tables.embedding_bags.{name}.weight"]
        for values, (row, column) in pieces(tensor):
            height, width = values.shape
            assert torch.equal(values, full[row : row + height, column : column + width])
    features = torchrec.KeyedJaggedTensor(
        keys=[f"feature_{name}" for name in ROWS],
        values=torch.tensor([1, 5, 36, 0, 7, 49]),
        lengths=torch.tensor([2, 1, 1, 2]),
    )
    found = model.module.tables(features)
    found = (found.wait() if hasattr(found, "wait") else found).values()
    user, item = expected.values()
    sums = [
        torch.cat([user[[1, 5]].sum(0), item[[0]].sum(0)]),
        torch.cat([user[[36]].sum(0), item[[7, 49]].sum(0)]),
    ]
    torch.testing.assert_close(found, torch.stack(sums))


def work(rank: int, world: int) -> None:
    def seed(name):
        return derive(7, f"tables.embedding_bags.{name}.weight")

    uniform = {
        name: initializers.RandomUniform(-(rows**-0.5), rows**-0.5, seed(name))((rows, WIDTH))
        for name, rows in ROWS.items()
    }
    normal = initializers.RandomNormal(stddev=0.1)
    truncated = initializers.TruncatedNormal(stddev=0.02)
    ruled = {
        name: (truncated if name == "user" else normal).with_seed(seed(name))((rows, WIDTH))
        for name, rows in ROWS.items()
    }
    uniform, ruled = (
        {name: torch.from_numpy(table) for name, table in tables.items()}
        for tables in (uniform, ruled)
    )
    for how in shardings(world).values():
        for dtensors in (False, True):
            model = parallel(how, world, dtensors)
            before = [tensor.clone() for tensor in model.module.over.parameters()]
            seeded.torchrec.init_(model, {"user": truncated, "*": normal}, seed=7)
            check(model, ruled)
            seeded.torchrec.init_(model, seed=7)
            check(model, uniform)
            for tensor, was in zip(model.module.over.parameters(), before, strict=True):
                assert torch.equal(tensor, was)
            seeded.init_module_(model, seed=7)
            check(model, uniform)
            linear = seeded.init_module_(torch.nn.Linear(3, 2), seed=7, prefix="over.")
            over = model.module.over
            assert torch.equal(getattr(over, "module", over).weight, linear.weight)
    os.write(1, b"right\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    groups.run(work, (1, 2, 4))
