"""Models that say themselves how they are initialized; those of packages only where these are."""

import importlib.util
import warnings

import torch


def transformer():
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    return torch.nn.Sequential(
        torch.nn.Embedding(50, 16, padding_idx=3),
        torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        torch.nn.Linear(16, 50),
        torch.nn.BatchNorm1d(50),
    )


def lstm():
    return torch.nn.Sequential(torch.nn.LSTM(6, 8, 2, bidirectional=True, proj_size=4))


class Vit(torch.nn.Module):
    """As timm has them: old copies of functions, rescaled layers, drawn positions."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 4, 4)
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = torch.nn.Parameter(torch.randn(1, 17, 16) * 0.02)
        self.blocks = torch.nn.ModuleList(Block(16) for _ in range(2))
        self.head = torch.nn.Linear(16, 10)
        self.init_weights()

    def init_weights(self):
        pasted_trunc_normal_(self.positions, std=0.02)
        torch.nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.trunc_normal_(module.weight, std=0.02)
                torch.nn.init.zeros_(module.bias)
        for number, block in enumerate(self.blocks):
            block.mlp[2].weight.data.div_((2.0 * (number + 1)) ** 0.5)
        with torch.no_grad():  # one matrix holds three, of which each is drawn by itself
            for third in self.blocks[0].qkv.weight.chunk(3):
                torch.nn.init.xavier_uniform_(third)
            torch.nn.init.orthogonal_(self.blocks[1].qkv.weight, gain=0.5)
        self.head.weight.data = torch.rand(10, 16) - 0.5
        self.head.bias.data.fill_(-4.6)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(width, 2 * width), torch.nn.GELU(), torch.nn.Linear(2 * width, width)
        )


def pasted_trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """PyTorch's method of old, as many projects have it."""
    from math import erf, sqrt

    low, high = ((1.0 + erf((x - mean) / std / sqrt(2.0))) / 2.0 for x in (a, b))
    with torch.no_grad():
        tensor.uniform_(2 * low - 1, 2 * high - 1)
        tensor.erfinv_()
        tensor.mul_(std * sqrt(2.0))
        tensor.add_(mean)
        tensor.clamp_(min=a, max=b)


def timm_vit():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=10
    )


def llama():
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


def bert():
    import transformers

    config = transformers.BertConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    return transformers.BertForMaskedLM(config)


def t5():
    import transformers

    config = transformers.T5Config(
        vocab_size=64, d_model=32, d_ff=64, d_kv=16, num_layers=2, num_heads=2
    )
    return transformers.T5ForConditionalGeneration(config)


def decisions():
    """As GPT-2: some of its matrices are set in constructors only."""
    import transformers

    config = transformers.DecisionTransformerConfig(
        hidden_size=32, n_layer=2, n_head=2, state_dim=3, act_dim=2, max_ep_len=10
    )
    return transformers.DecisionTransformerModel(config)


def _installed(*names):
    return all(importlib.util.find_spec(name) is not None for name in names)


MODELS = {
    "transformer": transformer,
    "lstm": lstm,
    "vit": Vit,
    "timm_vit": timm_vit,
    "llama": llama,
    "bert": bert,
    "t5": t5,
    "decisions": decisions,
}
NEEDS = {"timm_vit": "timm", **dict.fromkeys(("llama", "bert", "t5", "decisions"), "transformers")}
AVAILABLE = [name for name in MODELS if name not in NEEDS or _installed(NEEDS[name])]


def build(name):
    """Build a model without the warnings that these packages have for everybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MODELS[name]()
