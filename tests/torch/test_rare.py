"""What initializations of models rarely do: they read, copy and reshape what they have drawn."""

import re
import textwrap
import threading

import pytest

from tests import processes

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

import seedbed.torch as seeded  # noqa: E402
from seedbed.seeds import derive  # noqa: E402

BASE = torch.arange(24, dtype=torch.float32).reshape(6, 4) / 8 + 1


class Given(torch.nn.Module):
    def __init__(self, shape=(6, 4), dtype=torch.float32):
        super().__init__()
        real = dtype.is_floating_point or dtype.is_complex
        self.weight = torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=real)


def initialized(using, **given):
    """Return what a function makes of a parameter, which it is given without autograd."""
    model = Given(**given)
    return seeded.init_module_(model, seed=7, using=lambda model: using(model.weight.data)).weight


def read_and_filled(w):
    assert float(w[0].sum()) == 5.5 - 0.75
    w[0].fill_(3)
    w.mul_(2)


def read_and_copied(w):
    assert w.tolist() == BASE.tolist()
    w.copy_(w.sqrt())


def of_another(w):
    other = torch.empty_like(w)
    other.copy_(BASE + 50)
    w[0].copy_(other[1])
    w[1:3].copy_(other[3:5])


def of_double(w):
    w.copy_(w.clone().mul_(3))
    w.copy_(w.double().mul_(1.1))


def of_meta(w):
    for meta in (torch.empty_like(w, device="meta"), w.to("meta"), torch.rand(6, 4, device="meta")):
        assert meta.is_meta
        assert meta.shape == w.shape


def of_tensors_like_it(w):
    assert type(torch.zeros_like(w)) is type(w.new_zeros(3)) is torch.Tensor
    w.add_(torch.ones_like(w))


# Each is done to a stand-in and to a plain tensor, both with the values of BASE.
@pytest.mark.parametrize(
    "work",
    [
        read_and_filled,
        read_and_copied,
        of_another,
        of_double,
        of_meta,
        of_tensors_like_it,
        lambda w: w[0:2].copy_(w[2:4]),
        lambda w: w.copy_(w.view(torch.int32).float()),
        lambda w: w.copy_(w.mul(2j).imag),
        lambda w: w[0:0].fill_(9),
        lambda w: w[2:3, 1].fill_(9),
        lambda w: w[::2].fill_(9),
        lambda w: w.exp_().cumsum_(0),
    ],
)
def test_operations_do_what_they_do_to_plain_tensors(work):
    expected = BASE.clone()
    work(expected)

    def using(w):
        w.copy_(BASE)
        work(w)

    assert torch.equal(initialized(using), expected)


def test_parts_together_are_the_whole():
    def using(w):
        w[:3] = 1
        w[3:, :2] = 2
        w[3:, 2:].normal_()

    made = initialized(using)
    assert (made[:3] == 1).all()
    assert (made[3:, :2] == 2).all()
    drawn = seeded.normal_(torch.empty(3, 2), seed=derive(7, "weight"))
    assert torch.equal(made[3:, 2:], drawn)


def test_what_is_drawn_on_no_parameter_and_read_is_numbered():
    def using(w):
        one = torch.empty_like(w).normal_()
        assert float(one.abs().sum()) > 0
        w.copy_(one)
        w.add_(torch.nn.init.trunc_normal_(torch.zeros(6, 4)))
        w[:4].add_(torch.nn.init.eye_(torch.empty(4, 4)))

    first = seeded.normal_(torch.empty(6, 4), seed=derive(7, "~0"))
    made = initialized(using)
    assert torch.equal(initialized(using), made)
    assert not torch.equal(made, first)
    assert (made - first)[4:].abs().max() < 2.1
    assert (made - first).abs().max() < 3.1


def steps(*names):
    """Return a function that draws uniform values and does more to them."""
    numbers = {"mul_": (0.5,), "add_": (0.25,), "clamp_": (-0.5, 0.75)}

    def work(w):
        for name in names:
            getattr(w, name)(*numbers.get(name, ()))

    return work


@pytest.mark.parametrize(
    "more",
    [
        ("mul_", "mul_", "add_", "clamp_"),
        ("erfinv_", "mul_", "add_", "clamp_"),  # but not the bounds of a truncated normal
    ],
)
@pytest.mark.parametrize("first", ["uniform_", "normal_"])
def test_what_only_looks_like_a_truncated_normal_is_done_as_written(first, more):
    draw = getattr(seeded, first)
    expected = draw(torch.empty(6, 4), seed=derive(7, "weight"))
    steps(*more)(expected)

    def using(w):
        getattr(w, first)()
        steps(*more)(w)

    torch.testing.assert_close(initialized(using).data, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("work", "message", "dtype"),
    [
        (lambda w: w.t_(), "t_ changes the shape of weight", torch.float32),
        (lambda w: w.normal_(), "weight: .*dtype", torch.int32),
        (
            lambda w: torch.nn.init.trunc_normal_(w, a=2.0, b=1.0),
            "a must be below b",
            torch.float32,
        ),
        (lambda w: F.rrelu(w, training=True, inplace=True), "weight: rrelu", torch.float32),
        (lambda w: w.exponential_(), "weight: exponential_ draws", torch.complex64),
        (lambda w: w.random_(), "weight: random_ draws", torch.complex64),
        (lambda w: w[::2].fill_(1), "initializes only part of it", torch.float32),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(work, message, dtype):
    with pytest.raises(ValueError, match=message):
        initialized(work, dtype=dtype)


def test_stand_ins_look_like_tensors_and_end_with_the_initialization():
    kept = []

    def using(model):
        assert repr(model.weight.data) == "StandIn(weight, shape=(6, 4), dtype=torch.float32)"
        with pytest.raises(ValueError, match=re.escape("keep shape (6, 4); given (3,)")):
            model.weight.data = torch.zeros(3)
        seeded.fill_(model.weight, "ones")
        model.weight.data = model.weight.data * 2
        model.cache = model.weight.data
        kept.append(model.weight)

    model = seeded.init_module_(Given(), seed=7, using=using)
    assert torch.equal(model.weight.data, torch.full((6, 4), 2.0))
    assert type(model.cache) is torch.Tensor
    assert torch.equal(model.cache, model.weight)
    with pytest.raises(ValueError, match="keep no reference to it"):
        kept[0] + 1


def test_a_parameter_may_be_replaced():
    def using(model):
        model.weight = torch.nn.Parameter(BASE.clone())

    model = Given()
    before = model.weight
    assert seeded.init_module_(model, seed=7, using=using).weight is before
    assert torch.equal(before.data, BASE)


def test_other_threads_and_recordings_within_one_another():
    torch.manual_seed(3)
    expected = torch.nn.init.trunc_normal_(torch.empty(5))
    inner = seeded.init_module_(torch.nn.Linear(3, 2), 8)
    found = []

    def using(model):
        torch.manual_seed(3)
        other = threading.Thread(
            target=lambda: found.append(torch.nn.init.trunc_normal_(torch.empty(5)))
        )
        other.start()
        other.join()
        torch.nn.init.trunc_normal_(model.weight)
        found.append(seeded.init_module_(torch.nn.Linear(3, 2), seed=8))

    made = seeded.init_module_(Given(), seed=7, using=using).weight
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1].weight, inner.weight)
    assert torch.equal(made, seeded.trunc_normal_(torch.empty(6, 4), seed=derive(7, "weight")))


# Models built under `seeded`


class Built(torch.nn.Module):
    def __init__(self, work):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(4, 4))
        with torch.no_grad():
            work(self.weight)


def copied(w):
    w.copy_(torch.randn(4, 4))


def drawn_and_shifted(w):
    w.normal_()
    w[0].copy_(BASE[0])
    assert w.to("meta").is_meta
    torch.empty(3, device="meta").normal_()
    assert (w > 0).dtype == torch.bool


def drawn_and_written_over(w):
    w.normal_()
    torch.nn.init.eye_(w)


@pytest.mark.parametrize("work", [copied, drawn_and_shifted, drawn_and_written_over])
def test_a_model_built_is_one_initialized(work):
    with seeded.seeded(7):
        built = Built(work)
    assert torch.equal(built.weight, initialized(work, shape=(4, 4)))


def test_values_that_are_mixed_stay_as_they_were_drawn():
    seen = []

    def mixed(w):
        w.normal_()
        w.cumsum_(0)
        seen.append(w.clone())

    with seeded.seeded(7):
        built = Built(mixed)
    assert torch.equal(built.weight, seen[0])
    assert float(built.weight.detach().std()) > 0


# Collections of embedding tables, as TorchRec has them


class EmbeddingBagCollection(torch.nn.Module):
    def __init__(self, sharded=False):
        super().__init__()
        kinds = {"user": torch.nn.EmbeddingBag(5, 4), "item": torch.nn.EmbeddingBag(7, 4)}
        self.embedding_bags = torch.nn.ModuleDict(kinds)
        self.full = {name: one.weight.data for name, one in kinds.items()}
        if sharded:  # what is registered is a stump
            for one in kinds.values():
                one.weight = torch.nn.Parameter(torch.empty(0, 4))
            self._model_parallel_name_to_sharded_tensor = {**self.full, "other": None}

    def reset_parameters(self):
        for one in self.embedding_bags.values():
            torch.nn.init.uniform_(one.weight, -0.1, 0.1)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("rules", [None, {"user": "ones", "item": seeded.normal_}])
def test_tables_of_collections_are_initialized_and_nothing_else(rules, sharded):
    model = torch.nn.ModuleDict({"sparse": EmbeddingBagCollection(sharded)})
    model["over"] = torch.nn.Linear(2, 2)
    before = model["over"].weight.detach().clone()
    assert seeded.torchrec.init_(model, *([] if rules is None else [rules]), seed=7) is model
    assert torch.equal(model["over"].weight, before)
    for name, full in model["sparse"].full.items():
        seed = derive(7, f"sparse.embedding_bags.{name}.weight")
        expected = torch.empty(full.shape)
        if rules is None:
            seeded.uniform_(expected, -0.1, 0.1, seed=seed)
        elif name == "user":
            expected.fill_(1)
        else:
            seeded.normal_(expected, seed=seed)
        assert torch.equal(full, expected)
    assert seeded.torchrec.init_(model, 7) is model


# Shards that no wrapper here makes


def test_shards_in_one_process_of_a_group():
    """In a process of its own: a group of processes stays."""
    code = """
    import enum
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Shard
    from torch.distributed.tensor._shards_wrapper import LocalShardsWrapper
    from torch.distributed.tensor.placement_types import _StridedShard
    import seedbed.torch as seeded
    from tests.torch.test_tensors import partitioned

    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    mesh = init_device_mesh("cpu", (1,))
    whole = seeded.normal_(torch.empty(6, 4), seed=7)

    parts = [torch.zeros(2, 4), torch.zeros(3, 4)]
    local = LocalShardsWrapper(parts, [(0, 0), (3, 0)])
    given = {"run_check": False, "shape": torch.Size((6, 4)), "stride": (4, 1)}
    seeded.normal_(DTensor.from_local(local, mesh, [Shard(0)], **given), seed=7)
    assert torch.equal(parts[0], whole[:2]) and torch.equal(parts[1], whole[3:])

    def refused(tensor, words):
        try:
            seeded.normal_(tensor, seed=7)
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)

    zeros = torch.zeros(6, 4)
    refused(DTensor.from_local(zeros, mesh, [Partial()]), "replicas and shards in one run")
    strided = [_StridedShard(0, split_factor=2)]
    refused(DTensor.from_local(zeros, mesh, strided, **given), "in one run")
    refused(DTensor.from_local(zeros[:5], mesh, [Shard(0)], **given), "must have shape")

    # ZeRO-3: a parameter that is gathered, and the part of it that stays
    both = partitioned(torch.zeros(2, 3))
    both.ds_tensor.ds_numel = 3
    expected = seeded.normal_(torch.empty(2, 3), seed=7)
    seeded.normal_(both, seed=7)
    assert torch.equal(both.data, expected)
    assert torch.equal(both.ds_tensor, expected.flatten()[:3])

    model = torch.nn.Module()
    model.weight = both
    plain = torch.nn.Module()
    plain.weight = torch.nn.Parameter(torch.zeros(2, 3))

    def using(model):  # what cannot be done to a part without the rest
        model.weight.data.normal_().cumsum_(0)

    for one in (model, plain):
        seeded.init_module_(one, seed=7, using=using)
    assert torch.equal(both.data, plain.weight.data)
    assert torch.equal(both.ds_tensor, plain.weight.data.flatten()[:3])
    dist.destroy_process_group()
    """
    processes.output(textwrap.dedent(code))
