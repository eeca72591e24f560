"""Whole models by rules: patterns, names, seeds."""

import hashlib
import re
import textwrap
from functools import partial

import pytest

from tests import processes
from tests.torch.test_tensors import bits

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.values.seeds import derive  # noqa: E402

KAIMING = partial(seeded.kaiming_uniform_, nonlinearity="relu")


def model():
    return torch.nn.Sequential(
        torch.nn.Linear(6, 5), torch.nn.LayerNorm(5), torch.nn.Sequential(torch.nn.Linear(5, 3))
    )


def test_rules_patterns_and_seeds():
    rules = [
        (re.compile(r"\d\.bias"), "zeros"),
        ("1.*", seeded.ones_),
        ("2.?.weight", KAIMING),
        ("*", initializers.RandomNormal(stddev=0.1)),
    ]
    done = seeded.init_module_(model(), rules, seed=7)
    values = dict(done.named_parameters())
    assert not values["0.bias"].any()
    assert not values["1.bias"].any()
    assert (values["1.weight"] == 1).all()
    expected = KAIMING(torch.empty(3, 5), seed=derive(7, "2.0.weight"))
    assert (values["2.0.weight"] == expected).all()
    for name in ("0.weight", "2.0.bias"):
        normal = initializers.RandomNormal(stddev=0.1, seed=derive(7, name))
        assert (bits(values[name]) == normal(values[name].shape)).all()


@pytest.mark.parametrize("pattern", ["0.weigh", "0.weight?", "?.weight.", re.compile("0.weigh")])
def test_a_pattern_matches_the_whole_name(pattern):
    layer = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False))
    with pytest.raises(ValueError, match=r"unmatched: 0\.weight"):
        seeded.init_module_(layer, {pattern: "ones"}, seed=7)
    seeded.init_module_(layer, {"0.weight": "ones"}, seed=7)
    assert (layer[0].weight == 1).all()


def test_the_seed_of_a_name():
    text = b"seedbed.tables\0" + bytes([7, 0, 0, 0, 0, 0, 0, 0]) + b"0.weight"
    expected = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    assert derive(7, "0.weight") == expected


def test_wrappers_and_order_do_not_matter():
    """In a process of its own: Triton, which `torch.compile` loads, dies beside other LLVMs."""
    code = """
    import torch
    import seedbed.torch as seeded

    def model():
        inner = torch.nn.Sequential(torch.nn.Linear(5, 3))
        return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.LayerNorm(5), inner)

    rules = {"*.bias": "zeros", "*": seeded.uniform_}
    plain = seeded.init_module_(model(), rules, 7)
    for wrapped in (torch.compile(model()), torch.nn.DataParallel(model())):
        seeded.init_module_(wrapped, rules, 7)
        for one, other in zip(wrapped.parameters(), plain.parameters(), strict=True):
            assert (one == other).all()
    """
    processes.output(textwrap.dedent(code))


def test_module_is_a_name_like_others():
    class Holder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = torch.nn.Linear(2, 2, bias=False)

    done = seeded.init_module_(Holder(), {"module.weight": seeded.normal_}, 7)
    expected = seeded.normal_(torch.empty(2, 2), seed=derive(7, "module.weight"))
    assert (done.module.weight == expected).all()


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_tied_weights_go_by_the_name_registered_first(names):
    tied = torch.nn.Linear(4, 4, bias=False)
    both = torch.nn.ModuleDict(dict.fromkeys(names, tied))
    seeded.init_module_(both, {"*": seeded.normal_}, 7)
    expected = seeded.normal_(torch.empty(4, 4), seed=derive(7, f"{names[0]}.weight"))
    assert (tied.weight == expected).all()


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"0.*": "zeros"}, ValueError, "unmatched: 1.bias, 1.weight, 2.0.bias, 2.0.weight"),
        ({"*": initializers.RandomNormal(seed=3)}, ValueError, "must have no seed"),
        ({"*": partial(seeded.normal_, seed=3)}, ValueError, "must have no seed"),
        ({"*": torch.nn.init.normal_}, ValueError, "must take seed="),
        ({"*": partial(torch.nn.init.normal_, std=0.1)}, ValueError, "must take seed="),
        ({"*": torch.Tensor.normal_}, ValueError, "must take seed="),
        ({"*": 3}, TypeError, "a rule must be"),
        ({"*": initializers.RandomNormal}, TypeError, "a rule must be"),
        ({3: "zeros"}, TypeError, "a pattern must be"),
        ({"*": "xavier"}, ValueError, "xavier"),
    ],
)
def test_bad_rules_are_refused_before_any_work(rules, error, message):
    module = model()
    before = [parameter.clone() for parameter in module.parameters()]
    with pytest.raises(error, match=re.escape(message)):
        seeded.init_module_(module, rules, seed=7)
    for one, other in zip(module.parameters(), before, strict=True):
        assert (one == other).all()


def test_functions_get_a_seed_if_they_take_one():
    rules = {
        "0.weight": lambda weight, **others: seeded.normal_(weight, **others),
        "0.bias": partial(seeded.normal_, std=0.1, seed=None),
        "1.weight": torch.Tensor.zero_,
        "*": torch.nn.init.ones_,
    }
    values = dict(seeded.init_module_(model(), rules, seed=7).named_parameters())
    assert (
        values["0.weight"] == seeded.normal_(torch.empty(5, 6), seed=derive(7, "0.weight"))
    ).all()
    assert (
        values["0.bias"] == seeded.normal_(torch.empty(5), std=0.1, seed=derive(7, "0.bias"))
    ).all()
    assert (values["1.weight"] == 0).all()
    assert (values["1.bias"] == 1).all()


def test_a_lazy_parameter_is_refused_by_name_before_any_work():
    lazy = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LazyLinear(2))
    before = lazy[0].weight.clone()
    with pytest.raises(ValueError, match=r"init_module_: 1.weight: tensor must have a shape"):
        seeded.init_module_(lazy, {"*": "zeros"}, seed=7)
    assert (lazy[0].weight == before).all()
    with pytest.raises(ValueError, match=r"fill_: tensor must have a shape"):
        seeded.fill_(lazy[1].weight, "zeros")
    lazy(torch.ones(1, 3))
    seeded.init_module_(lazy, {"*": "zeros"}, seed=7)


def test_an_error_names_the_parameter():
    with pytest.raises(ValueError, match="rank 2 or more") as caught:
        seeded.init_module_(model(), {"*": seeded.xavier_normal_}, seed=7)
    assert caught.value.__notes__ == ["init_module_: parameter 0.bias of shape (5,)"]
