"""README.md: its Python example runs, and its commands are those that CI runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})


def test_commands_are_single_lines_for_a_bare_python():
    table, tests = [block.strip() for block in blocks("") if "venv" in block]
    for command in (table, tests):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install")
    assert "--shape 1000000x64 --initializer glorot_uniform --seed 7 --dtype float32" in table
    assert tests.endswith(".venv/bin/python -m pytest -q -n 2")


def test_folders_of_the_map_exist():
    for path in re.findall(r"^([\w./]+/?) {2,}", "\n".join(blocks("text")), re.M):
        assert (ROOT / path).exists(), path
