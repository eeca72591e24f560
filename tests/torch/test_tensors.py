"""Tensors filled in place: values, views, dtypes, and what is refused."""

import enum
import re
import textwrap
from functools import partial

import ml_dtypes
import numpy as np
import pytest

from tests import processes

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed import initializers  # noqa: E402
from seedbed.seeds import SeedGenerator  # noqa: E402


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
    with pytest.warns(UserWarning, match="on meta and were left as they are; call to_empty"):
        seeded.init_module_(layer, {}, 7, default="zeros")
    assert layer.weight.is_meta
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


# Tensors without values of their own


def test_conjugate_and_negative_views():
    base = torch.full((3, 4), 2 + 1j)
    seeded.fill_(base.conj(), initializers.Constant(1 + 2j))
    assert (base == 1 - 2j).all()
    imaginary = torch.zeros(3, 4, dtype=torch.complex64).conj().imag  # negative, and strided
    assert imaginary.is_neg()
    seeded.normal_(imaginary, seed=7)
    assert torch.equal(imaginary, seeded.normal_(torch.empty(3, 4), seed=7))


def test_a_fake_has_no_values():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(3, 4)
        assert seeded.normal_(fake, seed=7) is fake  # as on meta
        with pytest.raises(ValueError, match="fill_: tensor must have storage; given a FakeTensor"):
            seeded.fill_(fake, "zeros")


def test_a_batched_tensor_is_refused_in_a_line():
    def call(x):
        return seeded.normal_(x, seed=7)

    with pytest.raises(ValueError, match=r"normal_: tensor must not be one of torch.func \(vmap"):
        torch.vmap(call)(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"fill_: tensor must not be one of torch\.func"):
        torch.func.grad(lambda x: seeded.fill_(x, "zeros").sum())(torch.ones(3))


class OnGpu:
    """What an initializer sees of a tensor on a GPU."""

    dtype = torch.float8_e4m3fn

    @property
    def __cuda_array_interface__(self):
        raise KeyError(self.dtype)  # as PyTorch's for that dtype


def test_tensors_that_say_not_where_they_are():
    with pytest.raises(ValueError, match=r"Ones: out must be of a dtype that interfaces .*fill_"):
        initializers.Ones()((3,), out=OnGpu())
    weight = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match=r"Ones: out must not require a gradient"):
        initializers.Ones()((3,), out=weight)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_parts_of_complex_values_are_pairs_of_draws(dtype):
    real = torch.float32 if dtype == torch.complex64 else torch.float64
    for name, arguments, parts in (
        ("normal_", {"std": 2.0}, {"std": 2.0 / 2.0**0.5}),
        ("uniform_", {"a": -1.0, "b": 3.0}, {"a": -1.0, "b": 3.0}),
    ):
        values = getattr(seeded, name)(torch.empty(20, 30, dtype=dtype), **arguments, seed=7)
        pairs = getattr(seeded, name)(torch.empty(20, 30, 2, dtype=real), **parts, seed=7)
        assert torch.equal(torch.view_as_real(values), pairs)
    weight = torch.empty(400, 300, dtype=dtype)
    for name in ("xavier_normal_", "xavier_uniform_", "kaiming_normal_", "kaiming_uniform_"):
        torch.manual_seed(1)
        expected = getattr(torch.nn.init, name)(torch.empty_like(weight))
        values = getattr(seeded, name)(weight, seed=2)
        for part in (torch.real, torch.imag):  # 120 000 values: within 1 % but for 1e-6
            assert float(part(values).std()) == pytest.approx(
                float(part(expected).std()), rel=0.015
            )


def test_a_generator_gives_a_seed_and_a_hint():
    generator = torch.Generator().manual_seed(3)
    with pytest.warns(UserWarning, match="generator= gives one seed, drawn from it; seed=7 needs"):
        one = seeded.normal_(torch.empty(5), generator=generator)
    with pytest.warns(UserWarning, match="generator="):
        other = seeded.normal_(torch.empty(5), 0.0, 1.0, torch.Generator().manual_seed(3))
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"normal_: give seed or generator, not both"):
        seeded.normal_(torch.empty(5), seed=3, generator=generator)
    with pytest.raises(TypeError, match=r"uniform_: generator must be a torch\.Generator; given 3"):
        seeded.uniform_(torch.empty(5), generator=3)


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_"])
def test_tensors_of_no_elements_are_warned_of_as_by_torch(name):
    for module in (torch.nn.init, seeded):
        with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
            getattr(module, name)(torch.empty(0, 3))


def test_sharded_tensors_and_their_pieces():
    """ShardedTensor on one process: several shards of rows and columns."""
    code = """
    import tempfile
    import torch
    import torch.distributed as dist
    from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor, ShardMetadata
    import seedbed.torch as seeded

    meeting = f"file://{tempfile.mkdtemp()}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    places = [((0, 0), (4, 6)), ((4, 0), (3, 6)), ((0, 6), (7, 2))]
    shards = [
        Shard(torch.zeros(size), ShardMetadata(list(offset), list(size), "rank:0/cpu"))
        for offset, size in places
    ]
    tensor = ShardedTensor._init_from_local_shards(shards, (7, 8))
    for fill, arguments in ((seeded.normal_, {}), (seeded.orthogonal_, {"gain": 2.0})):
        whole = fill(torch.empty(7, 8), seed=7, **arguments)
        fill(tensor, seed=7, **arguments)
        for shard, ((row, column), (height, width)) in zip(tensor.local_shards(), places):
            part = whole[row : row + height, column : column + width]
            assert torch.equal(shard.tensor, part)
    try:
        seeded.normal_(tensor)
    except ValueError as error:
        assert "needs a seed" in str(error)
    else:
        raise AssertionError
    dist.destroy_process_group()
    """
    processes.output(textwrap.dedent(code))


class Status(enum.Enum):
    """As DeepSpeed's PartitionedParamStatus has it."""

    AVAILABLE = 1
    NOT_AVAILABLE = 2


def partitioned(data, status=Status.AVAILABLE, quantized=False, secondary=None):
    """Return a parameter of shape (2, 3) as DeepSpeed ZeRO-3 leaves it."""
    parameter = torch.nn.Parameter(data)
    parameter.ds_shape = torch.Size((2, 3))
    parameter.ds_tensor = torch.zeros(3)
    parameter.ds_tensor.status, parameter.ds_secondary_tensor = status, secondary
    if quantized:
        parameter.ds_tensor.ds_quant_scale = torch.ones(1)
    return parameter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"status": Status.NOT_AVAILABLE},
            "must be on the CPU or a GPU; given one that is on NVMe",
        ),
        ({"quantized": True}, "must not be quantized"),
        ({"secondary": torch.zeros(3)}, "must have no secondary copy"),
    ],
)
def test_parts_of_zero_3_that_cannot_be_filled_are_refused_before_anything_is_written(
    arguments, message
):
    parameter = partitioned(torch.empty(0), **arguments)
    with pytest.raises(ValueError, match=f"a ZeRO-3 parameter {message}"):
        seeded.ones_(parameter)
    assert not parameter.ds_tensor.any()


def test_a_parameter_of_zero_3_that_is_gathered_only_is_filled_whole():
    parameter = partitioned(torch.zeros(2, 3), Status.NOT_AVAILABLE)
    seeded.normal_(parameter, seed=7)
    assert torch.equal(parameter.data, seeded.normal_(torch.empty(2, 3), seed=7))


# New tensors


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "part",
    [{}, {"window": (slice(3, 5), slice(1, 4))}, {"rows": [[8, 0], [8, 3]]}, {"rows": slice(0, 0)},
     {"rows": torch.tensor([2, 1]), "window": (None, slice(0, 2))}],
)  # fmt: skip
def test_a_new_tensor_is_the_array(dtype, part):
    init = initializers.TruncatedNormal(seed=7)
    made = seeded.tensor(init, (9, 4), getattr(torch, dtype), **part)
    np.testing.assert_array_equal(bits(made), init((9, 4), dtype, **part), strict=True)


def test_a_new_tensor_has_pytorchs_default_dtype_and_device():
    assert seeded.tensor("zeros", (2, 3)).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert seeded.tensor("ones", (2, 3)).equal(torch.ones(2, 3))
    finally:
        torch.set_default_dtype(torch.float32)
    generator = SeedGenerator(7)
    init = initializers.RandomNormal(seed=generator)
    with torch.device("meta"):
        assert seeded.tensor(init, (2, 3)).is_meta
    expected = initializers.RandomNormal(seed=SeedGenerator(7))((2, 3))
    assert (seeded.tensor(init, (2, 3)).numpy() == expected).all()  # the first draw


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, (2, 3)), "tensor: init must be a Seedbed initializer or its name; given 3"),
        (("zeros", (2, -3)), "tensor: shape must hold integers of at least 0"),
        (("zeros", (2, 3), "float128"), "tensor: unknown dtype 'float128'; allowed"),
        (("random_normal", (2, 3), "int8"), "RandomNormal: dtype must be one of float16, "),
    ],
)
def test_new_tensors_that_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        seeded.tensor(*arguments)
