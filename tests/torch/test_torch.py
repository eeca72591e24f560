"""seedbed.torch: tensors in place, torch.nn.init by name, whole models, pieces of DTensors."""

import doctest
import hashlib
import inspect
import math
import re
import sys
import textwrap
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests import processes  # noqa: E402

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.values.seeds import derive  # noqa: E402

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).parents[2]
WORLD = Path(__file__).with_name("torch_world.py")


def bits(tensor):
    """Return a tensor's values as NumPy's, bit for bit."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


# Plain tensors


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_values_are_those_of_numpy(dtype):
    init = initializers.TruncatedNormal(stddev=0.02, seed=7)
    tensor = torch.empty(37, 21, dtype=getattr(torch, dtype), requires_grad=True)
    storage = tensor.data_ptr()
    assert seeded.fill_(tensor, init) is tensor
    assert tensor.data_ptr() == storage
    np.testing.assert_array_equal(bits(tensor), init((37, 21), dtype), strict=True)
    assert tensor.is_leaf
    assert tensor.requires_grad


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "complex64", "complex128",
     "float8_e4m3fn", "float8_e5m2"],
)  # fmt: skip
def test_ones_of_every_dtype(dtype):
    kind = getattr(torch, dtype)
    for tensor in (torch.zeros(3, 4, dtype=kind), torch.zeros(4, 3, dtype=kind).T):
        assert (seeded.ones_(tensor).to(torch.complex64) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "view",
    [
        lambda base: base[:, 3:17],
        lambda base: base[::2, ::3],
        lambda base: base.T,
        lambda base: base.reshape(10, 2, 5, 8).permute(0, 3, 1, 2),
        lambda base: base[4],
        lambda base: base[4:9],
    ],
)
def test_views_get_the_values_and_nothing_else_changes(view, dtype):
    base = torch.full((20, 40), 9.0, dtype=dtype)
    part = view(base)
    init = initializers.RandomUniform(seed=3)
    seeded.fill_(part, init)
    expected = torch.from_numpy(init(tuple(part.shape), part.dtype).astype("float32")).to(dtype)
    assert (part == expected).all()
    view(base).fill_(9.0)
    assert (base == 9).all()


def test_an_empty_tensor_is_a_draw_as_in_numpy():
    for fill in (seeded.normal_, seeded.orthogonal_, partial(seeded.sparse_, sparsity=0.5)):
        generator = initializers.SeedGenerator(7)
        fill(torch.empty(0, 3), seed=generator)
        fill(torch.empty(3, 0), seed=generator)
        assert generator.next().draw == 3
    generator = initializers.SeedGenerator(7)
    seeded.orthogonal_(torch.empty(3, 0, 2), seed=generator)
    assert generator.next().draw == 2


def test_scalars_empty_tensors_and_channels_last():
    assert seeded.constant_(torch.empty(()), 0.5) == 0.5
    assert seeded.normal_(torch.empty(0, 3), seed=1).shape == (0, 3)
    tensor = torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last)
    expected = seeded.normal_(torch.empty(2, 3, 4, 5), seed=1)
    assert (seeded.normal_(tensor, seed=1) == expected).all()


def test_what_autograd_saved_is_known_to_have_changed():
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    seeded.normal_(weight, seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_meta():
    init = initializers.RandomNormal(seed=1)
    with pytest.raises(ValueError, match=r"fill_: .* meta: call to_empty"):
        seeded.fill_(torch.empty(3, device="meta"), init)
    layer = torch.nn.Linear(3, 4, device="meta")
    assert seeded.xavier_normal_(layer.weight, seed=1).is_meta  # as in torch.nn.init
    with pytest.raises(ValueError, match=r"init_module_: bias: .* meta"):
        seeded.init_module_(layer, {}, 7, default="zeros")
    layer = layer.to_empty(device="cpu")
    assert (bits(seeded.fill_(layer.weight, init)) == init((4, 3))).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: seeded.fill_(t, 3), TypeError, "fill_: init must be"),
        (lambda t: seeded.fill_(t, "glorot"), ValueError, "glorot"),
        (lambda t: seeded.fill_(t.int(), "glorot_uniform"), ValueError, "dtype must be one of"),
        (lambda t: seeded.fill_(t[:1].expand(3, 4), "zeros"), RuntimeError, "single memory"),
        (lambda t: seeded.normal_(t, seed=-1), ValueError, "normal_: seed must be"),
        (lambda t: seeded.normal_(t, std=-1), ValueError, "stddev must be"),
        (lambda t: seeded.uniform_(t, 1, 0), ValueError, "minval must not be above"),
        (lambda t: seeded.trunc_normal_(t, a=1, b=0), ValueError, "a must be below b"),
        (lambda t: seeded.eye_(t[0]), ValueError, "eye_: tensor must have rank 2; given 1"),
        (lambda t: seeded.dirac_(t), ValueError, "dirac_: tensor must have rank 3 or 4 or 5"),
        (lambda t: seeded.dirac_(t[:, :, None], 2), ValueError, "groups must divide"),
        (lambda t: seeded.orthogonal_(t[0]), ValueError, "orthogonal_: tensor must have rank 2"),
        (lambda t: seeded.xavier_normal_(t[0]), ValueError, "xavier_normal_: tensor must have"),
        (lambda t: seeded.kaiming_normal_(t, mode="fan"), ValueError, "mode must be"),
        (lambda t: seeded.kaiming_normal_(t, nonlinearity="x"), ValueError, "nonlinearity must"),
        (lambda t: seeded.sparse_(t, 2), ValueError, "sparsity must be in"),
        (lambda t: seeded.constant_(t.int(), 0.5), ValueError, "does not fit"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(torch.zeros(3, 4))


# torch.nn.init


def test_names_and_arguments_are_those_of_torch():
    ours = {name for name in seeded.__all__ if name not in ("fill_", "init_module_")}
    theirs = {
        name
        for name in dir(torch.nn.init)
        if name == "calculate_gain" or (name.endswith("_") and not name.startswith("_"))
    }
    assert ours == theirs
    for name in ours:
        one, other = (inspect.signature(getattr(m, name)) for m in (seeded, torch.nn.init))
        renamed = {"generator": "seed"}
        assert list(one.parameters) == [renamed.get(key, key) for key in other.parameters], name
        for key, parameter in other.parameters.items():
            assert one.parameters[renamed.get(key, key)].default == parameter.default, (name, key)


@pytest.mark.parametrize("name", [*seeded.init.GAINS, "other"])
@pytest.mark.parametrize("param", [None, 0, 0.3, -1.0, True])
def test_gains_are_those_of_torch(name, param):
    try:
        expected = torch.nn.init.calculate_gain(name, param)
    except ValueError:
        with pytest.raises(ValueError, match="calculate_gain: "):
            seeded.calculate_gain(name, param)
    else:
        assert seeded.calculate_gain(name, param) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    "shape", [(6, 6, 3), (4, 6, 2), (6, 4, 3, 5), (2, 6, 3, 4, 5), (8, 1, 2, 2), (8, 3, 1)]
)
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_equals_that_of_torch(shape, groups):
    expected = torch.nn.init.dirac_(torch.empty(shape), groups)
    assert (seeded.dirac_(torch.full(shape, torch.nan), groups) == expected).all()


@pytest.mark.parametrize("name", ["eye_", "ones_", "zeros_"])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_constants_equal_those_of_torch(name, shape):
    expected = getattr(torch.nn.init, name)(torch.empty(shape))
    assert (getattr(seeded, name)(torch.full(shape, torch.nan)) == expected).all()


# 300 000 values: a standard deviation is known to 0.13 % (0.2 % for kurtosis like the normal's),
# a maximum of uniform values to 1e-5; 1 % and 0.1 % leave false alarms below 1e-9.
@pytest.mark.parametrize("shape", [(600, 500), (250, 100, 4, 3)])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("uniform_", {"a": -2.0, "b": 3.0}),
        ("normal_", {"mean": 1.0, "std": 3.0}),
        ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 1.5}),
        ("xavier_uniform_", {"gain": 1.5}),
        ("xavier_normal_", {"gain": 1.5}),
        ("kaiming_uniform_", {"a": 0.3}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {"a": 0.3}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}),
    ],
)
def test_distributions_are_those_of_torch(name, arguments, shape):
    torch.manual_seed(1)
    expected = getattr(torch.nn.init, name)(torch.empty(shape), **arguments)
    values = getattr(seeded, name)(torch.empty(shape), **arguments, seed=2)
    spread = float(expected.std())
    assert float(values.std()) == pytest.approx(spread, rel=0.015)
    assert float(values.mean()) == pytest.approx(float(expected.mean()), abs=0.02 * spread)
    if "uniform" in name or "trunc" in name:
        assert float(values.max()) == pytest.approx(float(expected.max()), rel=1e-3)
        assert float(values.min()) == pytest.approx(float(expected.min()), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.3, 0.1, 0.0, 0.31),
        (0.1, 0.7, -0.3, 0.9),
        (0.0, 1.0, 0.7, 100.0),
        (1e3, 0.01, 999.99, 1e3),
        (0.0, 1.0, 0.5, 0.51),
        (0.0, 1.0, 6.0, 9.0),
        (np.float32(0.0), np.float32(0.5), np.float32(-1.0), np.int64(1)),
    ],
)
def test_truncated_values_lie_between_the_bounds(mean, std, a, b, dtype):
    values = seeded.trunc_normal_(torch.empty(5000, dtype=dtype), mean, std, a, b, seed=5).double()
    if dtype != torch.bfloat16 or mean < 1e3:  # where 999.99 is no number and 1000 is
        assert values.min() >= a
    assert values.max() <= b


def test_bounds_may_be_scalars_of_numpy():
    init = initializers.TruncatedNormal(lower=np.float32(-1), upper=np.int64(1), seed=7)
    assert init.get_config()["lower"] == -1
    assert type(init.get_config()["lower"]) is float
    assert (init((9,)) == initializers.TruncatedNormal(lower=-1.0, upper=1, seed=7)((9,))).all()
    values = seeded.trunc_normal_(torch.empty(9), std=np.float32(0.5), seed=7)
    assert (values == seeded.trunc_normal_(torch.empty(9), std=0.5, seed=7)).all()


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (12, 5, 3, 2), (40, 2, 3)])
def test_orthogonal_rows_or_columns(shape):
    matrix = seeded.orthogonal_(torch.empty(shape), gain=2.0, seed=3).flatten(1)
    product = matrix @ matrix.T if shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(product, 4 * torch.eye(len(product)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.55, 1.0])
def test_sparse_columns(sparsity):
    tensor = seeded.sparse_(torch.empty(50, 400), sparsity, std=0.5, seed=4)
    zeros = tensor == 0
    assert (zeros.sum(0) == math.ceil(sparsity * 50)).all()
    if 0 < sparsity < 1:
        # Each row's zeros are binomial: within 6 sigma (false alarms 1e-7 for 50 rows).
        share = math.ceil(sparsity * 50) / 50
        assert (
            (zeros.float().mean(1) - share).abs() < 6 * (share * (1 - share) / 400) ** 0.5
        ).all()
        assert float(tensor[~zeros].std()) == pytest.approx(0.5, rel=0.05)


def test_no_seed_is_one_of_torch():
    torch.manual_seed(5)
    first, second = (seeded.normal_(torch.empty(4)) for _ in range(2))
    assert not (first == second).any()
    torch.manual_seed(5)
    assert (seeded.normal_(torch.empty(4)) == first).all()


# Whole models

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
def test_tied_weights_go_by_their_first_name(names):
    tied = torch.nn.Linear(4, 4, bias=False)
    both = torch.nn.ModuleDict(dict.fromkeys(names, tied))
    seeded.init_module_(both, {"*": seeded.normal_}, 7)
    expected = seeded.normal_(torch.empty(4, 4), seed=derive(7, "a.weight"))
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
    with pytest.raises(ValueError, match=r"init_module_: 1.bias: tensor must have a shape"):
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


# Several processes


def test_one_hash_for_all_numbers_of_processes_and_placements():
    done = processes.run([sys.executable, "-W", "ignore", WORLD], timeout=500)
    lines = [line for line in done.stdout.splitlines() if line.startswith("hashes ")]
    assert len(lines) == 1 + 2 + 4
    assert len(set(lines)) == 1


def test_example_in_the_docs():
    section = (ROOT / "docs/frameworks.md").read_text().split("\n## PyTorch\n")[1]
    exec(section.split("```python\n")[1].split("```")[0], {})


@pytest.mark.parametrize("module", [seeded.init, seeded.modules, seeded.tensors])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_without_torch_an_error_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import seedbed.torch"
    done = processes.run(processes.python(code), check=False)
    assert "seedbed.torch needs PyTorch: python -m pip install 'seedbed[frameworks]'" in done.stderr
