"""The initial weights of a transformer of 1.3·10⁹ parameters: Seedbed's, and PyTorch's own.

Run as ``python -m benchmarks.torch_models [LAYERS]``. The model is made on ``meta`` and gets its
memory from `to_empty`, which is touched before the clock starts; then it is initialized by its own
scheme, by either in turn. Prints seconds, and how many times as fast Seedbed is.
"""

import functools
import sys
import time

import torch

import seedbed.torch as seeded

WIDTH, VOCABULARY, LAYERS = 2048, 50_304, 24


class Block(torch.nn.Module):
    """A layer as GPT-2's."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(WIDTH) for _ in "ab")
        self.qkv, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)


class Transformer(torch.nn.Module):
    """Embeddings, layers, and an output layer that is tied to the embeddings."""

    def __init__(self, layers: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.words = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))

    def init_weights(self) -> None:
        """Draw all matrices, as GPT-2 does (normal) or timm's and many others (truncated)."""
        for module in self.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
                getattr(torch.nn.init, self.kind)(module.weight, std=0.02)
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.zeros_(module.bias)
            if isinstance(module, torch.nn.LayerNorm):
                module.reset_parameters()


def model(layers: int, kind: str) -> Transformer:
    """Return a model with memory, which has been touched."""
    with torch.device("meta"):
        made = Transformer(layers, kind)
    made.to_empty(device="cpu")
    for parameter in made.parameters():
        parameter.detach().fill_(1.0)
    return made


def seconds(call: object, *arguments: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call(*arguments)  # pyright: ignore[reportCallIssue]
    return time.perf_counter() - start


def main(layers: int) -> None:
    """Measure, and print."""
    for kind in ("normal_", "trunc_normal_"):
        small = model(1, kind)
        seeded.init_module_(small, seed=1)  # compile, and start threads
        large = model(layers, kind)
        count = sum(parameter.numel() for parameter in large.parameters())
        ours, theirs = [], []
        for turn in range(3):
            theirs.append(seconds(large.init_weights))
            ours.append(seconds(functools.partial(seeded.init_module_, seed=turn), large))
        print(
            f"{count:,} parameters, {kind}: PyTorch {min(theirs):.2f} s, Seedbed {min(ours):.2f} s "
            f"({count / min(ours) / 1e9:.2f}·10⁹/s), {min(theirs) / min(ours):.1f} times as fast"
        )
        del large


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else LAYERS)
