"""docs/tables.md: every command and example in it runs, in order."""

import re
import shlex
from pathlib import Path

import pytest

from seedbed import tables
from seedbed.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()


@pytest.mark.frameworks
@pytest.mark.torch
def test_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S):
        if language == "toml":
            Path("tables.toml").write_text(block)
        elif language == "python":
            exec(compile(block, "tables.md", "exec"), {})
        else:
            for line in block.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "seedbed"
                assert main(arguments) == 0, capsys.readouterr().err
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == [
        "embeddings.safetensors",
        "grown.safetensors",
        "ids_new.npy",
        "ids_old.npy",
        "items",
        "shared.npy",
        "table.npy",
        "table.zarr",
        "tables.toml",
        "user",
        "user.safetensors",
        "wide.safetensors",
    ]
    assert str(tables.named_seed(7, "user")) in PAGE
