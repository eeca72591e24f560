"""Plans of models: `seedbed table --plan` writes, without PyTorch, what a model would have."""

import json
import re

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

import seedbed.torch as seeded  # noqa: E402
from seedbed.cli import main  # noqa: E402


def model():
    return torch.nn.Sequential(
        torch.nn.Embedding(50, 8),
        torch.nn.TransformerEncoderLayer(8, 2, 16),
        torch.nn.RMSNorm(8),
        torch.nn.Linear(8, 50),
    )


def on_meta():
    with torch.device("meta"):
        return model()


RULES = {
    "*norm*.weight": "ones",
    "2.weight": seeded.ones_,
    "*bias": "zeros",
    "0.weight": lambda weight, seed: seeded.trunc_normal_(weight, 0.0, 0.02, -0.05, 0.06, seed),
    "*linear?.weight": seeded.xavier_uniform_,
    "3.weight": lambda weight, seed: seeded.normal_(weight, std=0.3, seed=seed + 1),
    "*": seeded.orthogonal_,
}


@pytest.mark.parametrize("rules", [None, RULES], ids=["own", "rules"])
@pytest.mark.parametrize("size", [1_000, "1GB"])
def test_the_command_writes_what_the_model_would_have(rules, size, tmp_path):
    text = seeded.plan(on_meta(), rules, 7, path=tmp_path / "model.toml", max_shard_size=size)
    assert (tmp_path / "model.toml").read_text() == text
    assert main(["table", "--plan", str(tmp_path / "model.toml"), "--hf"]) == 0
    expected = seeded.init_module_(model(), rules, seed=7).state_dict()
    index = tmp_path / "model.safetensors.index.json"
    assert index.exists() == (size != "1GB")
    files = {"model.safetensors"}
    if index.exists():
        weights = json.loads(index.read_text())["weight_map"]
        assert weights.keys() == expected.keys()
        files = set(weights.values())
    found = {}
    for file in files:
        found |= load_file(tmp_path / file)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def test_what_no_initializer_makes_is_named():
    with torch.device("meta"):
        padded = torch.nn.Embedding(5, 3, padding_idx=0)
    with pytest.raises(ValueError, match="plan: weight: no single initializer makes it"):
        seeded.plan(padded, seed=7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--hf", "--shape", "3", "--initializer", "zeros", "--out", "a.npy"],
            "--hf needs a --plan",
        ),
        (["--hf", "--plan", "plan.toml"], "--hf is for .safetensors files in one folder"),
    ],
)
def test_the_option_is_refused_where_it_has_no_meaning(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(
        'seed = 7\n[[table]]\nname = "a"\nshape = [3]\ninitializer = "zeros"\nfile = "a.npy"\n'
    )
    assert main(["table", *arguments]) == 2
    assert re.search(re.escape(message), capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]
