"""Fill an embedding that FSDP2 shards: ``torchrun --nproc-per-node 2 torchrun_fsdp2.py``.

Each process makes only the rows that it holds.
"""

import hashlib

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import seedbed.torch
from seedbed import initializers

dist.init_process_group("gloo")
with torch.device("meta"):
    model = torch.nn.Embedding(4096, 64)
fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
model.to_empty(device="cpu")
seedbed.torch.fill_(model.weight, initializers.TruncatedNormal(stddev=0.02, seed=7))
assert isinstance(model.weight, DTensor)
table = model.weight.full_tensor()  # gathered only to be hashed
if dist.get_rank() == 0:
    print("SHA-256", hashlib.sha256(table.detach().numpy().tobytes()).hexdigest())
dist.destroy_process_group()
