"""README.md: its example runs, its commands are those that CI runs, its links lead somewhere."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)#]*)(?:#[^)]*)?\)")


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})


def test_commands_are_single_lines_for_a_bare_python():
    table, tests, more = [block.strip() for block in blocks("") if "venv" in block]
    for command in (table, tests):
        assert command.startswith("python3 -m venv .venv && .venv/bin/python -m pip install")
    assert "--shape 1000000x64 --initializer glorot_uniform --seed 7 --dtype float32" in table
    assert tests.endswith("-e '.[test]' && .venv/bin/python -m pytest -q -n 3")
    assert more.startswith(".venv/bin/python -m pip install")
    assert not [command for command in (table, tests, more) if "\n" in command]


def test_ci_runs_the_test_commands():
    """It takes the lines of README.md that have these words: both of them, and no other."""
    (words,) = re.findall(r"grep -- '(.*)' README.md", (ROOT / ".ci" / "run").read_text())
    found = [line for line in README.splitlines() if words in line]
    assert found == [block.strip() for block in blocks("") if "pytest" in block]
    assert len(found) == 2


def test_packages_of_the_commands_are_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for page in PAGES:
        text = (ROOT / page).read_text()
        for names in re.findall(r"(?:seedbed|'\.)\[([\w,]+)\]", text):
            assert set(names.split(",")) <= extras.keys(), page


def test_folders_of_the_map_exist():
    for path in re.findall(r"^([\w./]+/?) {2,}", "\n".join(blocks("text")), re.M):
        assert (ROOT / path).exists(), path


def test_files_of_the_walks_exist():
    walks = re.findall(r"^\| (\d) \| `([^`]+)`", (ROOT / "docs" / "design.md").read_text(), re.M)
    assert [int(number) for number, _ in walks] == [1, 2, 3, 4, 5, 6, 7] * 2
    for _, path in walks:
        assert (ROOT / "src" / "seedbed" / path).exists() or (ROOT / "kernels" / path).exists(), (
            path
        )


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in LINK.findall((ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_a_release_has_absolute_links_and_the_addresses_of_its_repository():
    spec = importlib.util.spec_from_file_location("addresses", ROOT / ".ci" / "addresses.py")
    addresses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(addresses)
    url = "https://example.org/seedbed"
    text = addresses.absolute(README, url, "v1")
    assert LINK.findall(README)
    assert not LINK.findall(text)
    assert f"]({url}/blob/v1/CONTRIBUTING.md)" in text
    assert f"]({url}/raw/v1/benchmarks/results/libraries.png)" in text
    project = tomllib.loads(addresses.addressed((ROOT / "pyproject.toml").read_text(), url, "v1"))
    assert project["project"]["urls"]["Source"] == url
    assert project["project"]["scripts"]
