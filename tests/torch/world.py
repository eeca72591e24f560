"""Groups of 1, 2 and 4 gloo processes that fill the same tensors and models; run by test_torch.py.

Prints a line of hashes for each process, and fails if one of them does.
"""

import hashlib
import os
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, zeros
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

import seedbed.torch as seeded
from seedbed import initializers
from tests.torch import groups
from tests.torch.models import AVAILABLE, Block, build

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
        digest.update(np.ascontiguousarray(whole(tensor).detach().float().numpy()).tobytes())
    return digest.hexdigest()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor.

    PyTorch 2.8 gathers strided shards of unequal sizes wrongly; here the axis that data parallelism
    cut last is put together first.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    if not any(hasattr(placement, "split_factor") for placement in tensor.placements):
        return tensor.full_tensor()
    found = tensor.to_local().detach()
    placements: tuple[Any, ...] = tensor.placements
    for number, placement in enumerate(placements):
        pieces: list[torch.Tensor] = [found] * tensor.device_mesh.size(number)
        dist.all_gather_object(pieces, found, tensor.device_mesh.get_group(number))
        found = torch.cat(pieces, placement.dim)
    return found


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
    if world % 2 == 0:
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


LAYERS = ("TransformerEncoderLayer", "Block", "LSTM", "LlamaDecoderLayer", "BertLayer", "T5Block")
OUTPUTS = ("lm_head", "decoder")  # tied to embeddings, which are not parallelized


def values(model) -> str:
    """Return a hash of all parameters and buffers by their plain names."""
    both = [*model.named_parameters(), *model.named_buffers()]
    plain = {name.removeprefix("module."): tensor for name, tensor in both}
    return sha256(plain[name] for name in sorted(plain))


def sharded(model, mesh=None, **options):
    for module in model.modules():
        if type(module).__name__ in LAYERS:
            fully_shard(module, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def on_meta(name):
    with torch.device("meta"):
        model = sharded(build(name))
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        local.detach().fill_(77)
    return model


def both_ways(name):
    """Return a model that is cut by tensor parallelism and by data parallelism."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    model = build(name)
    for module in list(model.modules()):
        for key, child in module.named_children():
            if type(child) is torch.nn.Linear and key not in OUTPUTS:
                parallelize_module(module, mesh["tensor"], {key: ColwiseParallel()})
    return sharded(model, mesh["data"])


def ways(world: int):
    """Yield how a model is wrapped: by a name, and a function of the model's."""
    yield "fully_shard", lambda name: sharded(build(name))
    yield "meta", on_meta
    offload = CPUOffloadPolicy(pin_memory=False)
    yield "offload", lambda name: sharded(build(name), offload_policy=offload)
    yield "data parallel", lambda name: torch.nn.parallel.DistributedDataParallel(build(name))
    if world == 4:
        yield "both", both_ways


def same_schemes(world: int) -> list[str]:
    found = []
    for name in AVAILABLE:
        expected = values(seeded.init_module_(build(name), seed=7))
        for how, make in ways(world):
            model = make(name)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # nothing to be said about any of them
                warnings.filterwarnings("ignore", message=".*zero-element")
                seeded.init_module_(model, seed=7)
            assert values(model) == expected, (name, how)
        found.append(f"hashes {name} {expected}")
    return found


def same_as_flat_parameters() -> None:
    """The older FullyShardedDataParallel: each process has runs of elements."""
    for name in ("transformer", "vit"):
        plain = dict(seeded.init_module_(build(name), seed=7).named_parameters())
        policy = ModuleWrapPolicy({torch.nn.TransformerEncoderLayer, Block})
        model = FullyShardedDataParallel(
            build(name),
            use_orig_params=True,
            device_id=torch.device("cpu"),
            auto_wrap_policy=policy,
        )
        seeded.init_module_(model, seed=7)
        with FullyShardedDataParallel.summon_full_params(model):
            for key, parameter in model.named_parameters():
                same = parameter == plain[key.replace("_fsdp_wrapped_module.", "")]
                assert same.all(), key
    model = FullyShardedDataParallel(build("vit"), device_id=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"init_module_: module must be .* use_orig_params=True"):
        seeded.init_module_(model, seed=7)


def stages() -> None:
    """Pipeline stages have the values of the model that they are parts of."""
    whole = seeded.init_module_(build("transformer"), seed=7)
    for number, child in enumerate(build("transformer")):
        stage = seeded.init_module_(child, seed=7, prefix=f"{number}.")
        for one, other in zip(stage.parameters(), whole[number].parameters(), strict=True):
            assert (one == other).all()


def refused(world: int) -> None:
    mesh = init_device_mesh("cpu", (world,))
    tensor = distribute_tensor(torch.zeros(4, 4), mesh, [Shard(0)])
    with pytest.raises(ValueError, match=r"a DTensor.* needs a seed"):
        seeded.normal_(tensor)
    with pytest.raises(ValueError, match="a sharded tensor needs an initializer with a seed"):
        seeded.fill_(tensor, initializers.RandomNormal())


class Tied(torch.nn.Module):
    """As those of Hugging Face, which declare what is tied."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(10, 4)
        self.output = torch.nn.Linear(4, 10, bias=False)
        self.output.weight = self.words.weight

    def get_expanded_tied_weights_keys(self, all_submodels=False):
        return {"output.weight": "words.weight"}


def torn(world: int) -> None:
    """What is tied on meta, and sharded, is two parameters after to_empty."""
    with torch.device("meta"):
        model = Tied()
        model.output.weight = torch.nn.Parameter(model.output.weight.detach().clone())
    fully_shard(model)
    model.to_empty(device="cpu")
    with pytest.warns(UserWarning, match=r"output.weight to words.weight tied, but they are"):
        seeded.init_module_(model, seed=7)
    assert sha256([model.output.weight]) == sha256([model.words.weight])
    plain = seeded.init_module_(Tied(), seed=7)
    assert sha256([model.words.weight]) == sha256([plain.words.weight])


def process(rank: int, world: int) -> None:
    refused(world)
    torn(world)
    lines = [f"hashes all {same_tensors(world)} {same_models(world)}", *same_schemes(world)]
    if world == 2:
        same_as_flat_parameters()
    os.write(1, "".join(f"{line}\n" for line in lines).encode())  # in one piece


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in AVAILABLE:  # to import and compile once, not in each process
        seeded.init_module_(build(each), seed=7)
    stages()
    groups.run(process, (1, 2, 3, 4))
