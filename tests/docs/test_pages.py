"""The pages of docs/: their examples run, and none is left out.

Each example has names of its own. Those of a framework run in one process, and are skipped, and
reported, where it is not installed.
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages whose examples other tests run.
ELSEWHERE = {
    "embeddings.md": "embeddings/test_docs.py",
    "frameworks.md": "frameworks/test_dask.py",
    "jax.md": "frameworks/test_jax.py",
    "keras.md": "keras/test_docs.py",
    "tables.md": "cli/test_docs.py",
    "torch.md": "torch/test_docs.py",
}
LANGUAGES = {"python", "sh", "toml", "text", "py", ""}  # `py` is shown only
MARKED = ("tensorflow", "keras", "torch", "jax", "dask", "matplotlib", "cuda")
PACKAGES = (*MARKED, "torchrec", "zarr", "fsspec", "obstore", "s3fs")
PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
for page, example in zip(sys.argv[2::2], sys.argv[3::2]):
    exec(compile(example, page, "exec"), {"__name__": "example"})
print("all", len(sys.argv) // 2 - 1, "ran")
"""
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def pages():
    return sorted(path for path in DOCS.rglob("*.md"))


def needs(example):
    """Return what an example needs that the core does not: packages, or a GPU."""
    if 'device="cuda"' in example:
        return ("cuda",)
    roots = set(re.findall(r"^\s*(?:import|from) (?:seedbed\.)?(\w+)", example, re.M))
    found = [package for package in PACKAGES if package in roots]
    if re.search(r"seedbed\.show\(|\.plot\(", example):
        found.append("matplotlib")
    return tuple(found)


def examples():
    """Return the examples of all pages, as (page, example), by what they need."""
    found = {}
    for path in pages():
        page = path.relative_to(DOCS).as_posix()
        for language, example in FENCED.findall(path.read_text()):
            if language == "python" and page not in ELSEWHERE:
                found.setdefault(needs(example), []).append((page, example))
    return found


EXAMPLES = examples()


@pytest.mark.parametrize(("page", "example"), EXAMPLES[()])
def test_examples_run(page, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, page, "exec"), {"__name__": "example"})


def marked(packages):
    marks = [getattr(pytest.mark, package) for package in packages if package in MARKED]
    return pytest.param(packages, marks=marks, id="-".join(packages))


@pytest.mark.parametrize("packages", [marked(packages) for packages in EXAMPLES if packages])
def test_examples_of_frameworks_run(packages, tmp_path):
    for package in packages:
        if package not in MARKED:
            pytest.importorskip(package)
    if packages == ("cuda",):
        from tests.cuda.conftest import gpu

        if not gpu():
            pytest.skip("no GPU")
    found = EXAMPLES[packages]
    program = processes.python(PROGRAM, tmp_path, *(text for each in found for text in each))
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = processes.run(program, environment, cwd=ROOT)
    assert f"all {len(found)} ran" in done.stdout


@pytest.mark.parametrize("page", ["start.md", "benchmarks.md"])
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    from seedbed.cli import main

    monkeypatch.chdir(tmp_path)
    for language, block in FENCED.findall((DOCS / page).read_text()):
        for line in block.splitlines() if language == "sh" else ():
            program, *arguments = shlex.split(line)
            assert program == "seedbed"
            assert main(arguments) == 0, capsys.readouterr().err


def test_no_page_and_no_language_is_left_out():
    for path in pages():
        page = path.relative_to(DOCS).as_posix()
        languages = {language for language, _ in FENCED.findall(path.read_text())}
        assert languages <= LANGUAGES, page
        if "sh" in languages:
            assert page in ("start.md", "benchmarks.md", "tables.md")
    for page, test in ELSEWHERE.items():
        assert f"docs/{page}" in (ROOT / "tests" / test).read_text() or page in test


@pytest.fixture
def drawings():
    spec = importlib.util.spec_from_file_location("drawings", DOCS / "drawings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_drawings_are_those_of_the_script(drawings):
    """Each committed file is what docs/drawings.py makes now."""
    made = {draw.__name__: str(draw()) for draw in drawings.DRAWINGS}
    assert made == {path.stem: path.read_text() for path in (DOCS / "drawings").glob("*.svg")}


def test_the_drawn_lane_is_where_the_contract_says(drawings):
    """Element e is word (e div 32) mod 4 of lane e mod 32, in the first tile."""
    for element in range(300):
        lane, word = element % 32, element // 32 % 4
        assert drawings.element_at(element // 128, lane, word) == element
