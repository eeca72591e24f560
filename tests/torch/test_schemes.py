"""Whole models by their own initialization: names, distributions, what is refused."""

import math
import re
import textwrap

import numpy as np
import pytest
from scipy import stats

from tests import processes

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.seeds import derive  # noqa: E402
from tests.torch.models import AVAILABLE, MODELS, NEEDS, build  # noqa: E402

NAMES = [
    name
    if name in AVAILABLE
    else pytest.param(name, marks=pytest.mark.skip(reason=f"needs {NEEDS[name]}"))
    for name in MODELS
]


def tensors(model):
    return dict([*model.named_parameters(), *model.named_buffers()])


def same(one, other):
    one, other = tensors(one), tensors(other)
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


# Distributions. A p-value below 1e-9 for one of some 400 tensors is a false alarm of 1e-6 at most.


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_the_distributions_that_its_own_generator_gives(name):
    torch.manual_seed(1)
    theirs, ours = build(name), seeded.init_module_(build(name), seed=2)
    for key, expected in tensors(theirs).items():
        one, other = (x.detach().double().flatten().numpy() for x in (tensors(ours)[key], expected))
        assert ((one == 0) == (other == 0)).all(), key
        assert ((one == 1) == (other == 1)).all(), key
        drawn = other[(other != 0) & (other != 1)]
        if len(set(drawn.tolist())) > 1:
            values = one[(one != 0) & (one != 1)]
            assert stats.ks_2samp(values, drawn).pvalue > 1e-9, key
        else:
            np.testing.assert_array_equal(one, other)


# The same, however the model has come to be


@pytest.mark.parametrize("name", NAMES)
def test_values_are_the_same_after_to_empty_and_for_what_was_there_before(name):
    expected = seeded.init_module_(build(name), seed=7)
    torch.manual_seed(5)
    again = seeded.init_module_(seeded.init_module_(build(name), seed=3), seed=7)
    assert same(again, expected)
    with torch.device("meta"):
        empty = build(name)
    empty.to_empty(device="cpu")
    for tensor in tensors(empty).values():
        tensor.data.fill_(77)  # as what lies in memory: nobody has written it
    assert same(seeded.init_module_(empty, seed=7), expected)


def test_a_compiled_model_and_functions_in_compiled_code():
    """In a process of its own: Triton, which `torch.compile` loads, dies beside other LLVMs."""
    code = """
    import torch
    import seedbed.torch as seeded
    from seedbed import initializers
    from tests.torch.models import build

    for name in ("transformer", "lstm", "vit"):
        plain = seeded.init_module_(build(name), seed=7)
        for wrap in (torch.compile, torch.nn.DataParallel):
            wrapped = seeded.init_module_(wrap(build(name)), seed=7)
            for one, other in zip(wrapped.parameters(), plain.parameters(), strict=True):
                assert torch.equal(one, other)

    def normal(x):
        return seeded.normal_(x + 0, seed=1) * 2

    expected = normal(torch.empty(8))
    assert torch.equal(torch.compile(normal, backend="eager")(torch.empty(8)), expected)

    import warnings
    with warnings.catch_warnings(record=True) as caught:  # of whoever calls, not of PyTorch's code
        warnings.simplefilter("always")
        init = initializers.RandomNormal()
        init((4,)), init((4,))
    assert [one.filename for one in caught] == ["<string>"], caught

    def plain(x):  # no tensor leads into it
        init = initializers.GlorotUniform(seed=3)
        part = init((4, 8), window=(slice(1, 2), slice(0, 8)))
        return x + torch.from_numpy(init((8, 8))) + torch.from_numpy(part)

    expected = plain(torch.zeros(8))
    assert torch.equal(torch.compile(plain, backend="eager")(torch.zeros(8)), expected)

    def model(x):
        layer = torch.nn.Linear(3, 2)
        return seeded.init_module_(layer, seed=7)(x)

    x = torch.ones(1, 3)
    assert torch.equal(torch.compile(model, backend="eager")(x), model(x))
    """
    processes.output(textwrap.dedent(code))


# Names


class Positions(torch.nn.Module):
    """A module that draws what it needs in other ways than by torch.nn.init."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.empty(6, 4))
        self.drawn = torch.nn.Parameter(torch.empty(4, 3))
        self.rest = torch.nn.Parameter(torch.empty(4))

    def reset_parameters(self):
        torch.nn.init.normal_(self.table)  # overwritten: it does not count
        torch.nn.init.normal_(self.table, std=0.1)
        with torch.no_grad():
            self.table[2:4].uniform_(-1, 1)
            self.table[5] = 0
            self.drawn.copy_(torch.randn(4, 3) * 0.5)
            self.rest.copy_(torch.log(torch.rand(4) + 1.0))


def test_draws_on_a_parameter_are_numbered_since_it_was_last_overwritten():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Positions())
    positions = seeded.init_module_(model, seed=7)[1]
    expected = seeded.normal_(torch.empty(6, 4), std=0.1, seed=derive(7, "1.table"))
    expected[2:4] = seeded.uniform_(torch.empty(2, 4), -1, 1, seed=derive(7, "1.table#1"))
    expected[5] = 0
    assert torch.equal(positions.table, expected)
    expected = seeded.normal_(torch.empty(4, 3), seed=derive(7, "1.drawn")) * 0.5
    assert torch.equal(positions.drawn, expected)
    uniform = seeded.uniform_(torch.empty(4), seed=derive(7, "1.rest"))
    assert torch.equal(positions.rest, torch.log(uniform + 1.0))


class Drawing(torch.nn.Module):
    """One that needs random numbers for other things than a parameter."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(8, 8))

    def reset_parameters(self):
        order = torch.randperm(8)
        torch.nn.init.normal_(self.weight)
        with torch.no_grad():
            self.weight[order[:2]] = 0.0
            self.weight.div_(self.weight.norm())


def test_draws_that_end_in_no_parameter_go_by_their_module_and_number():
    def build():
        return torch.nn.ModuleList([Drawing(), Drawing()])

    first, second = seeded.init_module_(build(), seed=7)
    for number, one in enumerate((first, second)):
        stage = seeded.init_module_(Drawing(), seed=7, prefix=f"{number}.")
        assert torch.equal(one.weight, stage.weight)
        assert int((one.weight == 0).all(1).sum()) == 2
        assert float(one.weight.norm()) == pytest.approx(1)
    zeros = [(one.weight == 0).all(1) for one in (first, second)]
    keys = initializers.RandomUniform(0.0, 1.0, derive(7, "0~0"))((8,), "float64")
    assert set(np.argsort(keys)[:2]) == set(torch.nonzero(zeros[0]).flatten().tolist())
    assert not torch.equal(*zeros)


def test_transposed_weights_and_values_that_leave_pytorch():
    def using(model):
        torch.nn.init.orthogonal_(model.weight.t())
        torch.nn.init.constant_(model.bias, float(abs(model.weight.detach().numpy()).max()))

    layer = seeded.init_module_(torch.nn.Linear(5, 3), seed=7, using=using)
    expected = seeded.orthogonal_(torch.empty(5, 3), seed=derive(7, "weight")).t()
    assert torch.equal(layer.weight, expected)
    assert float(layer.bias[0]) == float(expected.abs().max())


def test_a_model_of_ones_own_functions():
    def initialize(model):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)

    layer = seeded.init_module_(torch.nn.Linear(4, 3), seed=7, using=initialize)
    expected = seeded.normal_(torch.empty(3, 4), std=0.3, seed=derive(7, "weight"))
    assert torch.equal(layer.weight, expected)
    layer = seeded.init_module_(
        torch.nn.Linear(4, 3), seed=7, using=lambda model: seeded.normal_(model.weight, std=0.3),
        untouched="keep",
    )  # fmt: skip
    assert torch.equal(layer.weight, expected)


def test_a_model_and_the_same_functions_by_rules_are_equal():
    def model():
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 5))

    rules = {
        "*.weight": lambda weight, seed: seeded.kaiming_uniform_(weight, math.sqrt(5), seed=seed),
        "0.bias": lambda bias, seed: seeded.uniform_(bias, -(27**-0.5), 27**-0.5, seed=seed),
        "1.bias": lambda bias, seed: seeded.uniform_(bias, -0.5, 0.5, seed=seed),
    }
    one, other = seeded.init_module_(model(), seed=7), seeded.init_module_(model(), rules, seed=7)
    for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=2e-8)


# Knowledge of modules


@pytest.mark.parametrize("kind", [torch.nn.Embedding, torch.nn.EmbeddingBag])
def test_rows_of_a_padding_index_are_zero(kind):
    for rules in (None, {"*": "random_normal"}):
        layer = kind(5, 3, padding_idx=2)
        torch.nn.init.ones_(layer.weight)
        seeded.init_module_(layer, rules, seed=7)
        assert ((layer.weight == 0).all(1) == torch.tensor([0, 0, 1, 0, 0])).all()


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Embedding(5, 3)
        self.after = torch.nn.Linear(3, 5, bias=False)
        self.after.weight = self.inner.weight

    def get_expanded_tied_weights_keys(self, all_submodels=False):
        return {"after.weight": "inner.weight"}


def test_a_tie_that_to_empty_broke_is_tied_again():
    with torch.device("meta"):
        model = Tied()
    model.to_empty(device="cpu")
    assert model.after.weight is not model.inner.weight
    seeded.init_module_(model, seed=7)
    assert model.after.weight is model.inner.weight
    expected = seeded.normal_(torch.empty(5, 3), seed=derive(7, "inner.weight"))
    assert torch.equal(model.inner.weight, expected)
    assert torch.equal(seeded.init_module_(Tied(), seed=7).inner.weight, expected)


def test_reparametrized_weights_are_refused_by_their_names():
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"parametrizations\.weight\.original\d: is read before"):
        seeded.init_module_(layer, seed=7)
    rules = {"bias": "zeros", "*.original0": "ones", "*.original1": seeded.xavier_normal_}
    seeded.init_module_(layer, rules, seed=7)
    assert torch.allclose(layer.weight.norm(dim=1), torch.ones(2))


def test_a_buffer_that_nothing_sets_after_to_empty_is_named():
    class Rotary(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.register_buffer("inverse", torch.arange(4.0))

    built = seeded.init_module_(Rotary(), seed=7)  # no word of it: it is as it was built
    assert torch.equal(built.inverse, torch.arange(4.0))
    with torch.device("meta"):
        model = Rotary()
    model.to_empty(device="cpu")
    with pytest.warns(UserWarning, match=r"does not set: inverse; after to_empty"):
        seeded.init_module_(model, seed=7)


def test_what_is_on_meta_is_left_as_it_is():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device="meta"))
    seeded.init_module_(model, seed=7)
    expected = seeded.init_module_(torch.nn.Linear(2, 2), seed=7, prefix="0.")
    assert torch.equal(model[0].weight, expected.weight)
    assert model[1].weight.is_meta
    with pytest.warns(UserWarning, match="on meta and were left as they are"):
        seeded.init_module_(torch.nn.Linear(2, 2, device="meta"), seed=7)


# Refused, before any work


def with_method(method):
    class Own(torch.nn.Linear):
        reset_parameters = method

    return torch.nn.Sequential(Own(4, 3))


def foreign(self):
    torch.nn.init.zeros_(self.bias)
    with torch.no_grad():
        self.weight.copy_(torch.poisson(torch.ones(3, 4)))


def foreign_in_place(self):
    torch.ops.aten.bernoulli_.Tensor(self.weight.data, torch.full((3, 4), 0.5))


def reshaping(self):
    self.weight = torch.nn.Parameter(torch.zeros(2, 2))


def partly(self):
    torch.nn.init.zeros_(self.bias)
    self.weight.data[1:].normal_()


def scaling(self):
    torch.nn.init.zeros_(self.bias)
    self.weight.data.mul_(2.0).round_()


def reading(self):
    torch.nn.init.constant_(self.bias, float(self.weight.norm()))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda self: None, "0.weight: nothing in the model initializes it; give using="),
        (partly, "0.weight: the model initializes only part of it; give using="),
        (foreign, "a tensor in 0: poisson draws random numbers for which"),
        (foreign_in_place, "0.weight: bernoulli_ draws random numbers for which"),
        (reshaping, "0.weight: its initialization gave it another shape, (2, 2)"),
        (scaling, "0.weight: the model initializes only part of it"),
        (reading, "0.weight: is read before the initialization sets it; give using="),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_before_any_work(method, message):
    model = with_method(lambda self: None if self.weight.is_meta else torch.nn.Module())
    model[0].__class__.reset_parameters = method
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        seeded.init_module_(model, seed=7)
    assert str(caught.value).startswith("init_module_: ")
    assert "\n" not in str(caught.value)
    for parameter, was in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.nan_to_num(), was.nan_to_num())


def test_what_was_refused_may_be_allowed():
    model = with_method(foreign)
    torch.manual_seed(3)
    seeded.init_module_(model, seed=7, allow_foreign=True)
    torch.manual_seed(3)
    assert torch.equal(model[0].weight, torch.poisson(torch.ones(3, 4)))
    model = with_method(lambda self: None)
    torch.nn.init.ones_(model[0].weight)
    torch.nn.init.ones_(model[0].bias)
    seeded.init_module_(model, seed=7, untouched="keep")
    assert (model[0].weight == 1).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be"),
        ({"seed": None}, TypeError, "seed must be an integer"),
        ({"seed": 7, "untouched": "drop"}, ValueError, "untouched must be"),
        ({"seed": 7, "rules": {}, "using": print}, ValueError, "rules or using, not both"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"init_module_: .*{re.escape(message)}"):
        seeded.init_module_(torch.nn.Linear(2, 2), **arguments)


def test_functions_of_torch_are_as_they_were_afterwards():
    before = torch.nn.init.trunc_normal_.__code__, torch.nn.init.orthogonal_.__defaults__
    with pytest.raises(ZeroDivisionError):
        seeded.init_module_(torch.nn.Linear(2, 2), seed=7, using=lambda model: 1 / 0)
    after = torch.nn.init.trunc_normal_.__code__, torch.nn.init.orthogonal_.__defaults__
    assert before == after
    torch.manual_seed(2)
    one = torch.nn.init.trunc_normal_(torch.empty(5))
    torch.manual_seed(2)
    assert torch.equal(torch.nn.init.trunc_normal_(torch.empty(5)), one)
