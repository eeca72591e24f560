"""`resize_`: rows stay, new ones are those of the taller table, and what is tied stays tied."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import seedbed.torch  # noqa: E402
from seedbed import initializers  # noqa: E402

INIT = initializers.RandomNormal(stddev=0.02, seed=7)


def rows(begin, end, columns=8):
    return torch.from_numpy(INIT((end, columns))[begin:])


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_rows_stay_and_new_ones_follow(kind):
    embedding = kind(50, 8, padding_idx=3)
    before, parameter = embedding.weight.detach().clone(), embedding.weight
    assert seedbed.torch.resize_(embedding, 70, INIT) is embedding
    assert embedding.weight is parameter
    assert embedding.num_embeddings == 70
    assert torch.equal(embedding.weight[:50], before)
    assert torch.equal(embedding.weight[50:], rows(50, 70))
    seedbed.torch.resize_(embedding, 20, INIT)
    assert torch.equal(embedding.weight, before[:20])
    assert embedding.padding_idx == 3
    seedbed.torch.resize_(embedding, 70, INIT)  # twice as once
    assert torch.equal(embedding.weight[20:], rows(20, 70))


def test_a_head_and_its_biases():
    head = nn.Linear(8, 50)
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    seedbed.torch.resize_(head, 60, INIT)
    assert head.out_features == 60
    assert torch.equal(head.weight, torch.cat([weight, rows(50, 60)]))
    assert torch.equal(head.bias, torch.cat([bias, torch.zeros(10)]))
    assert head(torch.ones(2, 8)).shape == (2, 60)


def test_tied_weights_stay_tied_and_train():
    embedding, head = nn.Embedding(50, 8), nn.Linear(8, 50)
    head.weight = embedding.weight
    before = embedding.weight.detach().clone()
    head(embedding(torch.tensor([1, 2]))).sum().backward()
    for module in (head, embedding):
        seedbed.torch.resize_(module, 64, INIT)
    assert head.weight is embedding.weight
    assert embedding.weight.grad is None
    assert torch.equal(embedding.weight, torch.cat([before, rows(50, 64)]))
    assert (embedding.num_embeddings, head.out_features, len(head.bias)) == (64, 64, 64)
    optimizer = torch.optim.SGD(embedding.parameters(), 0.1)
    head(embedding(torch.tensor([60, 63]))).sum().backward()
    optimizer.step()
    assert not torch.equal(embedding.weight[60], rows(60, 61)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_and_requires_grad_stay(dtype):
    embedding = nn.Embedding(5, 8, dtype=dtype).requires_grad_(False)
    seedbed.torch.resize_(embedding, 9, INIT)
    assert not embedding.weight.requires_grad
    expected = seedbed.torch.fill_(torch.empty(9, 8, dtype=dtype), INIT)
    assert torch.equal(embedding.weight[5:], expected[5:])


def test_a_generator_and_the_name_of_a_class():
    generator = initializers.SeedGenerator(5)
    embedding = nn.Embedding(5, 8)
    seedbed.torch.resize_(embedding, 9, initializers.RandomNormal(seed=generator))
    first = initializers.RandomNormal(seed=initializers.SeedGenerator(5))((9, 8))
    assert torch.equal(embedding.weight[5:], torch.from_numpy(first)[5:])
    seedbed.torch.resize_(embedding, 11, "zeros")
    assert not embedding.weight[9:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.LayerNorm(3), 5, INIT), "embedding must be an Embedding, .*; given LayerNorm"),
        ((nn.Embedding(5, 8), -1, INIT), "shape must hold integers of at least 0"),
        ((nn.Embedding(5, 8), 2.5, INIT), "shape must be a sequence of integers"),
        ((nn.Embedding(5, 8, 3), 3, INIT), "new_count must be above padding_idx 3; given 3"),
        ((nn.Embedding(5, 8), 9, 7), "init must be a Seedbed initializer or its name; given 7"),
        ((nn.Embedding(5, 8, device="meta"), 9, INIT), "embedding must have a plain weight"),
    ],
)
def test_what_is_refused(arguments, message):
    weight = arguments[0].weight.clone()
    with pytest.raises((ValueError, TypeError), match=f"resize_: {message}"):
        seedbed.torch.resize_(*arguments)
    assert arguments[0].weight.shape == weight.shape


def with_weight(head, weight):
    head.weight = nn.Parameter(weight, requires_grad=False)
    return head


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (nn.utils.parametrizations.weight_norm(nn.Linear(8, 50)), "weight must be a parameter of"),
        (nn.utils.parametrizations.orthogonal(nn.Linear(8, 50)), "weight must be a parameter of"),
        (nn.LazyLinear(50), "embedding must have a plain weight .* given a UninitializedParameter"),
        (with_weight(nn.Linear(8, 50), torch.zeros(50, 8, dtype=torch.int8)), "weight must be of"),
        (
            with_weight(nn.Linear(8, 50), torch.zeros(200, 1, dtype=torch.uint8)),
            "weight must be of",
        ),
    ],
    ids=["weight_norm", "orthogonal", "lazy", "int8", "packed"],
)
def test_weights_that_are_not_plain_are_refused_and_left(head, message):
    """Zeros have every dtype, so that only `resize_` itself can refuse."""
    before = [tuple(p.shape) for p in head.parameters() if not nn.parameter.is_lazy(p)]
    for init in (INIT, "zeros"):
        with pytest.raises(ValueError, match=f"resize_: {message}"):
            seedbed.torch.resize_(head, 60, init)
    assert before == [tuple(p.shape) for p in head.parameters() if not nn.parameter.is_lazy(p)]
    assert head.out_features == 50
