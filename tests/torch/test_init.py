"""The functions of torch.nn.init by name: arguments, distributions, differences."""

import inspect
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.torch import fans  # noqa: E402


def test_names_and_arguments_are_those_of_torch():
    theirs = {
        name
        for name in dir(torch.nn.init)
        if name == "calculate_gain" or (name.endswith("_") and not name.startswith("_"))
    }
    assert theirs <= set(seeded.__all__)
    for name in theirs:
        one, other = (inspect.signature(getattr(m, name)) for m in (seeded, torch.nn.init))
        ours = [key for key in one.parameters if key != "seed"]
        assert ours == list(other.parameters), name
        for key, parameter in other.parameters.items():
            assert one.parameters[key].default == parameter.default, (name, key)


@pytest.mark.parametrize("name", [*fans.GAINS, "other"])
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
