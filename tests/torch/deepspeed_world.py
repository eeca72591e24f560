"""Parameters that DeepSpeed's zero.Init has cut among two processes; run by test_worlds.py."""

import logging
import os

import pytest
import torch

os.environ["DS_ACCELERATOR"] = "cpu"
logging.disable(logging.WARNING)

import deepspeed  # noqa: E402
import deepspeed.ops  # noqa: E402

import seedbed.torch as seeded  # noqa: E402
from tests.torch import groups  # noqa: E402


def model():
    return torch.nn.Sequential(
        torch.nn.Embedding(11, 6, padding_idx=3),
        torch.nn.LSTM(6, 8, 2),
        torch.nn.Linear(8, 7),
        torch.nn.LayerNorm(7),
    )


def work(rank: int, world: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"LOCAL_SIZE": str(world)}
    # Its own operator for messages would be compiled now, for minutes; gloo has all that it needs.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.comm.init_distributed("gloo")
    configuration = {"train_batch_size": world, "zero_optimization": {"stage": 3}}
    with deepspeed.zero.Init(config_dict_or_path=configuration):
        cut = model()
    dtype = next(cut.parameters()).dtype
    whole = seeded.init_module_(model().to(dtype), seed=7)
    calls = []
    gather = torch.distributed.all_gather_into_tensor
    torch.distributed.all_gather_into_tensor = lambda *args, **kwargs: calls.append(args)
    seeded.init_module_(cut, seed=7)
    torch.distributed.all_gather_into_tensor = gather
    assert not calls
    expected = dict(whole.named_parameters())
    for name, parameter in cut.named_parameters():
        assert parameter.shape == (0,)
        with deepspeed.zero.GatheredParameters([parameter]):
            assert torch.equal(parameter.data, expected[name]), name
    rules = {"*weight*": "random_normal", "*": seeded.ones_}
    seeded.init_module_(cut, rules, seed=7)
    seeded.init_module_(whole, rules, seed=7)
    for name, parameter in cut.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            assert torch.equal(parameter.data, expected[name]), name
    copied = torch.nn.Linear(2, 2)
    copied.weight.data = torch.empty(0)  # as a copy of a parameter that is cut
    with pytest.raises(ValueError, match=r"weight: a parameter of shape \(0,\) stands for values"):
        seeded.init_module_(copied, seed=7)
    os.write(1, b"right\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    groups.run(work, (2,))
