"""The examples of the docs and docstrings run."""

import doctest
from pathlib import Path

import pytest

from tests import processes

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).parents[2]


def test_example_in_the_docs():
    section = (ROOT / "docs/frameworks.md").read_text().split("\n## PyTorch\n")[1]
    exec(section.split("```python\n")[1].split("```")[0], {})


@pytest.mark.parametrize("module", [seeded.init, seeded.modules, seeded.tensors])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_without_torch_an_error_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import seedbed.torch"
    done = processes.run(processes.python(code), check=False)
    assert "seedbed.torch needs PyTorch: python -m pip install 'seedbed[frameworks]'" in done.stderr
