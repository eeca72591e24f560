"""Random operations of PyTorch inside an initialization: what they draw, and from which stream."""

import math

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.seeds import derive  # noqa: E402
from seedbed.torch import computed  # noqa: E402

COUNT = 40_000


def drawn(using, shape=(COUNT,), dtype=torch.float32):
    """Return what a function makes of a parameter."""
    module = torch.nn.Module()
    needs_grad = dtype.is_floating_point or dtype.is_complex
    module.weight = torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=needs_grad)
    seeded.init_module_(module, seed=7, using=lambda model: using(model.weight.data))
    return module.weight.detach()


# With fixed seeds; a p-value below 1e-7 would be a false alarm in one of some 1e6 suites.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda w: w.normal_(1.0, 2.0), stats.norm(1, 2)),
        (lambda w: w.uniform_(-1.0, 3.0), stats.uniform(-1, 4)),
        (lambda w: w.exponential_(2.0), stats.expon(scale=0.5)),
        (lambda w: w.log_normal_(0.5, 0.3), stats.lognorm(0.3, scale=math.exp(0.5))),
        (lambda w: w.cauchy_(1.0, 2.0), stats.cauchy(1, 2)),
        (lambda w: w.copy_(torch.rand(COUNT)), stats.uniform()),
        (lambda w: w.copy_(torch.rand_like(w)), stats.uniform()),
        (lambda w: w.copy_(torch.randn(COUNT, dtype=w.dtype)), stats.norm()),
        (lambda w: w.copy_(torch.randn_like(w) * 3 + 1), stats.norm(1, 3)),
        (lambda w: w.copy_(torch.normal(1.0, 2.0, (COUNT,))), stats.norm(1, 2)),
        (lambda w: w.copy_(torch.empty_like(w).normal_(0, 2)), stats.norm(0, 2)),
        (lambda w: torch.nn.init.trunc_normal_(w, 0.0, 1.0, -2.0, 1.0), stats.truncnorm(-2, 1)),
        (lambda w: torch.nn.init.trunc_normal_(w, 0.0, 1.0, 2.5, 2.6), stats.truncnorm(2.5, 2.6)),
    ],
)
def test_distributions_of_real_numbers(draw, distribution, dtype):
    values = drawn(draw, dtype=dtype).double().numpy()
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
@pytest.mark.parametrize(
    ("draw", "probabilities"),
    [
        (lambda w: w.bernoulli_(0.3), [0.7, 0.3]),
        (lambda w: w.geometric_(0.4), [0, *(0.4 * 0.6**k for k in range(30))]),
        (lambda w: w.random_(5), [0.2] * 5),
        (lambda w: w.random_(2, 6), [0, 0, *[0.25] * 4]),
        (lambda w: w.copy_(torch.randint(3, (COUNT,))), [1 / 3] * 3),
        (lambda w: w.copy_(torch.randint(1, 3, (COUNT,))), [0, 0.5, 0.5]),
        (lambda w: w.copy_(torch.randperm(COUNT) % 4), [0.25] * 4),
    ],
)
def test_distributions_of_integers(draw, probabilities, dtype):
    values = drawn(draw, dtype=dtype).long()
    counts = torch.bincount(values, minlength=len(probabilities)).double().numpy()
    expected = COUNT * np.array(probabilities)
    few = expected < 20
    assert counts[few & (expected == 0)].sum() == 0
    kept = counts[~few]
    expected = expected[~few] * kept.sum() / expected[~few].sum()
    assert stats.chisquare(kept, expected).pvalue > 1e-7


def test_integers_of_the_whole_range():
    values = drawn(lambda w: w.random_(), dtype=torch.int64)
    assert values.min() >= 0
    assert stats.kstest(values.double().numpy() / 2.0**63, stats.uniform.cdf).pvalue > 1e-7
    values = drawn(lambda w: w.random_(), dtype=torch.float16)
    assert values.max() == 2**11
    assert drawn(lambda w: w.random_(-(2**63), None), dtype=torch.int64).min() < -(2**61)


def test_a_permutation_is_one():
    order = drawn(lambda w: w.copy_(torch.randperm(COUNT)), dtype=torch.int64)
    assert torch.equal(order.sort().values, torch.arange(COUNT))
    assert abs(stats.pearsonr(order.numpy(), np.arange(COUNT)).statistic) < 6 / COUNT**0.5


@pytest.mark.parametrize(
    "init",
    [
        computed.Bernoulli(0.3, 7),
        computed.Integers(-5, 1000, 7),
        computed.Exponential(2.0, 7),
        computed.Geometric(0.01, 7),
        computed.Cauchy(1.0, 2.0, 7),
        computed.LogNormal(0.0, 1.0, 7),
        computed.Sparse(0.3, 1.0, 7),
        computed.Complex(initializers.RandomNormal(0.0, 1.0, 7)),
        computed.Matrix(1.0, 7),
    ],
    ids=lambda init: type(init).__name__,
)
def test_a_window_is_a_window_of_all(init):
    dtype = "complex64" if isinstance(init, computed.Complex) else "float32"
    window = (slice(2, 9), slice(3, 11))
    whole = init((20, 12), dtype)
    np.testing.assert_array_equal(init((20, 12), dtype, window=window), whole[window])


def test_the_exponential_function_is_within_two_units_of_the_last_place():
    x = np.concatenate([np.linspace(-745, 709.7, 20001), np.linspace(-1, 1, 20001)])
    expected = np.exp(x.astype(np.longdouble))
    normal = expected > 1e-300
    error = np.abs(computed.exp(x) - expected)[normal] / np.spacing(expected[normal].astype(float))
    assert error.max() < 2
    assert computed.exp(np.array([0.0, 800.0, -800.0])).tolist() == [1.0, math.inf, 0.0]


def test_an_old_truncated_normal_is_recognised():
    def pasted(weight):  # and scaled afterwards, as timm's trunc_normal_tf_
        low, high = (1 + math.erf(-2 / math.sqrt(2))) / 2, (1 + math.erf(2 / math.sqrt(2))) / 2
        weight.uniform_(2 * low - 1, 2 * high - 1)
        weight.erfinv_()
        weight.mul_(math.sqrt(2.0))
        weight.add_(0.0)
        weight.clamp_(min=-2.0, max=2.0)
        weight.mul_(0.5).add_(1.0)

    expected = seeded.trunc_normal_(torch.empty(COUNT), seed=derive(7, "weight")) * 0.5 + 1.0
    assert torch.equal(drawn(pasted), expected)


def test_matrices_and_other_named_functions_are_drawn_directly():
    seed = derive(7, "weight")
    for name, shape, arguments in (
        ("orthogonal_", (20, 30), {"gain": 2.0}),
        ("orthogonal_", (20, 5, 3), {}),
        ("sparse_", (20, 30), {"sparsity": 0.3}),
        ("trunc_normal_", (20, 30), {"std": 0.5, "a": -0.5, "b": 0.1}),
    ):
        values = drawn(lambda w, n=name, a=arguments: getattr(torch.nn.init, n)(w, **a), shape)
        expected = getattr(seeded, name)(torch.empty(shape), **arguments, seed=seed)
        assert torch.equal(values, expected), name
    for name, shape in (("eye_", (3, 5)), ("dirac_", (4, 4, 3))):
        values = drawn(lambda w, n=name: getattr(torch.nn.init, n)(w), shape)
        assert torch.equal(values, getattr(torch.nn.init, name)(torch.empty(shape)))


def test_halves_of_a_matrix_in_lower_precision():
    """As transformers' orthogonal_: made in float32, and copied."""

    def half(weight):
        wide = torch.empty_like(weight, dtype=torch.float32)
        torch.nn.init.orthogonal_(wide)
        weight.copy_(wide)

    values = drawn(half, (12, 9), torch.bfloat16)
    expected = seeded.orthogonal_(
        torch.empty(12, 9, dtype=torch.bfloat16), seed=derive(7, "weight")
    )
    assert torch.equal(values, expected)


# While a model is built


class Built(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        torch.nn.init.normal_(self.layer.weight, std=0.1)
        self.scale = torch.nn.Parameter(torch.randn(5) * 0.02)
        self.kernel = torch.nn.Parameter(torch.empty(2, 3))
        torch.nn.init.xavier_uniform_(self.kernel)
        self.register_buffer("noise", torch.rand(3))
        self.mixed = torch.nn.Parameter(torch.rand(3) + torch.rand(3))


def test_what_constructors_draw_goes_by_the_names_of_parameters():
    torch.manual_seed(3)
    with seeded.seeded(7):
        torch.randn(10)  # of no account
        model = Built()

    def seed(name):
        return derive(7, name)

    weight = seeded.normal_(torch.empty(4, 4), std=0.1, seed=seed("layer.weight"))
    assert torch.equal(model.layer.weight, weight)
    assert torch.equal(model.scale, seeded.normal_(torch.empty(5), seed=seed("scale")) * 0.02)
    kernel = seeded.xavier_uniform_(torch.empty(2, 3), seed=seed("kernel"))
    assert torch.equal(model.kernel, kernel)
    assert torch.equal(model.noise, seeded.uniform_(torch.empty(3), seed=seed("noise")))
    with seeded.seeded(7):
        torch.randn(10)
        again = Built()
    assert torch.equal(model.mixed, again.mixed)
    assert int(torch.randint(1000, ())) == int(_after_seed_3())


def _after_seed_3():
    torch.manual_seed(3)
    return torch.randint(1000, ())


def test_a_model_built_is_equal_to_one_initialized():
    from tests.torch.models import AVAILABLE, build

    for name in AVAILABLE:
        with seeded.seeded(7):
            built = build(name)
        expected = seeded.init_module_(build(name), seed=7)
        for one, other in zip(built.parameters(), expected.parameters(), strict=True):
            assert torch.equal(one, other), name


def test_copies_of_a_layer_have_values_of_their_own():
    with seeded.seeded(7):
        layer = torch.nn.TransformerEncoderLayer(4, 1, 8)
        model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        del layer
    first, second = (one.linear1.weight for one in model.layers)
    assert not torch.equal(first, second)


def test_one_model_at_a_time():
    told = "seeded: one model must be built at a time; given Linear"
    models = []
    with pytest.raises(ValueError, match=told), seeded.seeded(7):
        models += torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    del models
    with seeded.seeded(7):
        assert torch.nn.Linear(2, 2)
    told = "poisson draws random numbers for which"
    with pytest.raises(ValueError, match=told), seeded.seeded(7):
        torch.poisson(torch.ones(3))
    with pytest.raises(TypeError, match="seeded: seed must be an integer"), seeded.seeded(None):
        pass
