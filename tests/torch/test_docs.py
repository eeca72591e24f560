"""The examples of the docs and docstrings run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from tests import processes

torch = pytest.importorskip("torch")

import seedbed.torch as room  # noqa: E402

PAGE = (Path(__file__).parents[2] / "docs/torch.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
def test_examples_on_the_page(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "torch.md", "exec"), {})


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(room.__path__)])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"seedbed.torch.{name}")
    assert doctest.testmod(module).failed == 0


def test_without_torch_an_error_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import seedbed.torch"
    done = processes.run(processes.python(code), check=False)
    assert "seedbed.torch needs PyTorch: python -m pip install 'seedbed[torch]'" in done.stderr
