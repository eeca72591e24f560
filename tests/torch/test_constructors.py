"""Models that their constructors initialize: `as_built`, Hugging Face's, and who is warned."""

import copy
import importlib.util
import warnings

import pytest

torch = pytest.importorskip("torch")

import seedbed.torch as seeded  # noqa: E402
from seedbed.errors import ArgumentError, ArgumentTypeError  # noqa: E402
from seedbed.seeds import derive  # noqa: E402
from tests.torch.models import decisions  # noqa: E402

transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs transformers"
)


class Net(torch.nn.Module):
    """As torchvision's are: the constructor goes over its layers, whose methods it overrides."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(32))
        self.scale = torch.nn.Parameter(torch.tensor(2.5))
        self.token = torch.nn.Parameter(0.02 * torch.randn(1, 1, 2048))
        self.gamma = torch.nn.Parameter(torch.full((32,), 1e-6))
        self.beta = torch.nn.Parameter(torch.ones(32))
        layer = torch.nn.TransformerEncoderLayer(32, 2, 64)
        self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(32, classes)
        self.register_buffer("steps", torch.arange(4))
        self.register_buffer("window", torch.linspace(0, 1, 5))
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                torch.nn.init.zeros_(module.bias)
        torch.nn.init.trunc_normal_(self.head.weight, std=0.02)
        self.copied = copy.deepcopy(self.head)


def values(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    one, other = values(one), values(other)
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def emptied(build):
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.data.fill_(77)
    return model


def test_a_model_is_initialized_as_its_constructors_do():
    model = seeded.init_module_(Net(), seed=7, using=seeded.as_built(Net))
    expected = {
        "stem.0.weight": seeded.kaiming_normal_(
            torch.empty(32, 3, 3, 3), mode="fan_out", nonlinearity="relu",
            seed=derive(7, "stem.0.weight")
        ),
        "stem.0.bias": torch.zeros(32),
        "stem.1.weight": torch.ones(32),
        "stem.1.running_var": torch.ones(32),
        "scale": torch.tensor(2.5),
        "token": seeded.normal_(torch.empty(1, 1, 2048), seed=derive(7, "token")) * 0.02,
        "gamma": torch.full((32,), 1e-6),
        "beta": torch.ones(32),
        "head.weight": seeded.trunc_normal_(
            torch.empty(5, 32), std=0.02, seed=derive(7, "head.weight")
        ),
        "copied.weight": seeded.trunc_normal_(
            torch.empty(5, 32), std=0.02, seed=derive(7, "copied.weight")
        ),
        "steps": torch.arange(4),
        "window": torch.linspace(0, 1, 5),
    }  # fmt: skip
    found = values(model)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
    layers = [found[f"layers.layers.{number}.linear1.weight"] for number in range(2)]
    assert not torch.equal(*layers)  # copies of a layer have names of their own


def test_values_do_not_depend_on_what_was_there_or_where_the_model_was_made():
    expected = seeded.init_module_(Net(), seed=7, using=seeded.as_built(Net))
    assert same(seeded.init_module_(emptied(Net), seed=7, using=seeded.as_built(Net)), expected)
    with seeded.seeded(7):
        built = Net()
    assert same(built, expected)
    half = seeded.init_module_(Net().bfloat16(), seed=7, using=seeded.as_built(Net))
    drawn = seeded.trunc_normal_(
        torch.empty(5, 32, dtype=torch.bfloat16), std=0.02, seed=derive(7, "head.weight")
    )
    assert torch.equal(half.head.weight, drawn)


def test_a_checkpoint_is_written_as_constructors_say(tmp_path):
    from safetensors.torch import load_file

    with torch.device("meta"):
        empty = Net()
    using = seeded.as_built(Net)
    seeded.save_initialized(empty, tmp_path / "net", seed=7, using=using)
    found = load_file(tmp_path / "net" / "model.safetensors")
    expected = values(seeded.init_module_(Net(), seed=7, using=using))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


class Views(torch.nn.Module):
    """Parameters that are parts of what was drawn, or lie in another order."""

    def __init__(self):
        super().__init__()
        whole = torch.arange(60.0).reshape(10, 6) + torch.zeros(10, 6)
        self.turned = torch.nn.Parameter(torch.randn(64, 16).t())
        halves = torch.randn(2, 512)
        self.first = torch.nn.Parameter(halves[0])
        self.second = torch.nn.Parameter(halves[1])
        self.part = torch.nn.Parameter(whole[2:7, 1:3])


def test_parameters_that_are_views_of_what_was_made():
    model = seeded.init_module_(Views(), seed=7, using=seeded.as_built(Views))
    found = values(model)
    expected = torch.arange(60.0).reshape(10, 6)[2:7, 1:3]
    assert torch.equal(found["part"], expected)
    for name in ("turned", "first", "second"):
        assert abs(float(found[name].std()) - 1) < 0.2
    assert not torch.equal(found["first"], found["second"])
    assert same(seeded.init_module_(emptied(Views), seed=7, using=seeded.as_built(Views)), model)


def test_a_part_of_memory_that_nobody_has_set_is_refused():
    def build():
        layer = torch.nn.Linear(6, 5)
        layer.weight = torch.nn.Parameter(torch.empty(10, 6)[2:7])
        return layer

    with pytest.raises(ArgumentError, match="is read before the initialization sets it"):
        seeded.init_module_(build(), seed=7, using=seeded.as_built(build))


def test_weights_of_a_given_norm_are_made_of_the_constructors_values():
    def build():
        return torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(64, 8), dim=0)

    for model in (build(), emptied(build)):
        seeded.init_module_(model, seed=7, using=seeded.as_built(build))
        length, direction = model.parametrizations.weight.parameters()
        torch.testing.assert_close(length[:, 0], direction.norm(dim=1))
        assert direction.abs().max() <= 1 / 8  # uniform in ±1/8
        assert direction.std() > 0.06


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Net(6), r"as_built: head\.weight: build makes no parameter .* shape \(5, 32\)"),
        (lambda: torch.nn.Linear(2, 2), r"as_built: scale: build makes no parameter"),
    ],
)
def test_a_model_that_is_another_one_is_refused(build, message):
    model = Net()
    before = values(model)
    with pytest.raises(ArgumentError, match=message):
        seeded.init_module_(model, seed=7, using=seeded.as_built(build))
    assert all(torch.equal(now, before[name]) for name, now in values(model).items())


def test_what_constructs_must_be_a_function():
    with pytest.raises(ArgumentTypeError, match=r"as_built: build must be a function .* Linear\("):
        seeded.as_built(torch.nn.Linear(2, 2))


def test_random_numbers_without_a_counterpart_are_refused():
    class Poisson(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.poisson(torch.ones(4)))

    with pytest.raises(ArgumentError, match="poisson draws random numbers"):
        seeded.init_module_(Poisson(), seed=7, using=seeded.as_built(Poisson))


# Models of Hugging Face are built again of their configurations


def logits_scale(found):
    assert abs(float(found["logit_scale"]) - 2.6592) < 1e-6


def matrices_of_gpt2(found):
    name = "encoder.h.0.attn.c_attn.weight"
    assert torch.equal(
        found[name], seeded.normal_(torch.empty(32, 96), std=0.02, seed=derive(7, name))
    )


def lengths_of_a_convolution(found):
    start = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    length, direction = found[f"{start}0"], found[f"{start}1"]
    torch.testing.assert_close(length.flatten(), direction.norm(dim=(0, 1)))


def models():
    import transformers as hf

    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    small = {**sizes, "intermediate_size": 64}
    vision = {**small, "image_size": 16, "patch_size": 8}
    return {
        "clip": lambda: hf.CLIPModel(
            hf.CLIPConfig(
                text_config={**small, "vocab_size": 64},
                vision_config=vision,
                projection_dim=16,
                logit_scale_init_value=2.6592,
            )
        ),
        "gpt2": decisions,
        "wav2vec2": lambda: hf.Wav2Vec2Model(
            hf.Wav2Vec2Config(**small, conv_dim=(8, 8), conv_stride=(5, 2), conv_kernel=(10, 3),
                              num_feat_extract_layers=2, num_conv_pos_embeddings=8,
                              num_conv_pos_embedding_groups=2)
        ),
    }  # fmt: skip


@transformers
@pytest.mark.parametrize(
    ("name", "looks_right"),
    [
        ("clip", logits_scale),
        ("gpt2", matrices_of_gpt2),
        ("wav2vec2", lengths_of_a_convolution),
    ],
)
def test_what_no_method_sets_is_as_the_constructor_makes_it(name, looks_right):
    build = models()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", module="transformers|torch")
        model = seeded.init_module_(build(), seed=7)
    looks_right(values(model))
    assert same(seeded.init_module_(emptied(build), seed=7), model)
    torch.manual_seed(1)
    own = values(build())
    for key, found in values(model).items():
        if found.dtype.is_floating_point and found.numel() > 200:
            error = 6 * found.numel() ** -0.5 * own[key].std()
            assert abs(found.std() - own[key].std()) <= error, key


@transformers
def test_parameters_that_a_constructor_does_not_know_are_refused():
    model = models()["clip"]()
    model.extra = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ArgumentError, match=r"extra: nothing in the model .*as_built"):
        seeded.init_module_(model, seed=7)


class Backbone(torch.nn.Sequential):
    """As timm's: initialized when it is made, and not by what is around it."""

    def __init__(self):
        super().__init__(torch.nn.Linear(16, 64))
        torch.nn.init.uniform_(self[0].weight, 2, 3)


Backbone.__module__ = "timm.models.backbone"


class Old(torch.nn.Module):
    """As models of transformers 4, which do not say to what a weight is tied."""

    _tied_weights_keys = ("head.weight",)

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.words = torch.nn.Embedding(20, 16, padding_idx=0)
        self.backbone = Backbone()
        self.head = torch.nn.Linear(16, 20, bias=False)
        for module in (self.words, self.head):
            self._initialize_weights(module)
        self.head.weight = self.words.weight

    @classmethod
    def _from_config(cls, config):
        return cls(config)

    def _initialize_weights(self, module):
        self._init_weights(module)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            module.weight.normal_(std=0.02)
        if isinstance(module, torch.nn.Embedding):
            module.weight[module.padding_idx].zero_()


@pytest.mark.parametrize("make", [lambda build: build(), emptied])
def test_a_model_of_transformers_4_keeps_its_ties_and_its_backbone(make):
    model = seeded.init_module_(make(lambda: Old({})), seed=7)
    assert model.head.weight is model.words.weight
    expected = seeded.normal_(torch.empty(20, 16), std=0.02, seed=derive(7, "words.weight"))
    expected[0] = 0
    assert torch.equal(model.words.weight, expected)
    name = "backbone.0.weight"
    drawn = seeded.uniform_(torch.empty(64, 16), 2, 3, seed=derive(7, name))
    assert torch.equal(model.get_parameter(name), drawn)


# Who is told


def told(model, **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seeded.init_module_(model, seed=7, **arguments)
    return [str(one.message) for one in caught if "another distribution" in str(one.message)]


class Convolutions(torch.nn.Sequential):
    def __init__(self, *initialize):
        super().__init__(torch.nn.Conv2d(3, 64, 5), torch.nn.Conv2d(64, 8, 3))
        for module in self:
            for function in initialize:
                function(module.weight)


def normal(weight):
    torch.nn.init.normal_(weight, std=0.3)


def test_a_model_of_another_distribution_is_told_of_once():
    (message,) = told(Convolutions(normal))
    assert "the values of 0.weight were not" in message
    assert "using=seedbed.torch.as_built" in message
    (message,) = told(Convolutions(torch.nn.init.zeros_))
    norm = torch.nn.LayerNorm(64)
    torch.nn.init.constant_(norm.weight, 0.5)
    assert len(told(norm)) == 1


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (lambda: Convolutions(), {}),
        (lambda: seeded.init_module_(Convolutions(), seed=3), {}),
        (lambda: emptied(Convolutions), {}),
        (lambda: Convolutions(normal), {"using": seeded.as_built(lambda: Convolutions(normal))}),
        (lambda: Convolutions(normal), {"rules": {"*": "zeros"}}),
        (lambda: torch.nn.LSTM(16, 32, 2), {}),
        (lambda: torch.nn.TransformerEncoderLayer(32, 2), {}),
    ],
)
def test_others_are_not(model, arguments):
    assert told(model(), **arguments) == []
