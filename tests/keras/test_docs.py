"""The examples of docs/keras.md run as they are."""

from pathlib import Path

import pytest

from tests.keras.runner import ROOT, run

SECTIONS = (ROOT / "docs/keras.md").read_text().split("\n## ")[1:]
PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
for example in sys.argv[2:]:
    exec(compile(example, "docs/keras.md", "exec"), {"__name__": "example"})
print("done")
"""


def examples(section):
    return [part.split("```")[0] for part in section.split("```python\n")[1:]]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_examples(backend, tmp_path):
    chosen = [s for s in SECTIONS if s.startswith("TensorFlow") == (backend == "tensorflow")]
    found = [example for section in chosen for example in examples(section)]
    assert len(found) == {"jax": 7, "tensorflow": 1}[backend]
    flags = "--xla_force_host_platform_device_count=4"
    assert "done" in run(backend, "-c", PROGRAM, Path(tmp_path), *found, XLA_FLAGS=flags)
