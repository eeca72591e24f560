"""Tests of a missing framework are skipped, and a run says so."""

import importlib.util
from types import SimpleNamespace

import pytest

from tests import conftest


class Item:
    def __init__(self, nodeid, marks=(), **params):
        self.nodeid = nodeid
        self.added = []
        self._marks = [SimpleNamespace(name=name) for name in marks]
        if params:
            self.callspec = SimpleNamespace(params=params)

    def iter_markers(self):
        return iter(self._marks)

    def add_marker(self, mark):
        self.added.append(mark if isinstance(mark, str) else mark.kwargs["reason"])


@pytest.mark.parametrize(
    ("item", "needs"),
    [
        (Item("tests/torch/test_init.py::test_it"), "torch"),
        (Item("tests/tables/test_torch_checkpoint.py::test_it"), "torch"),
        (Item("tests/tables/test_formats.py::test_safetensors_in_torch[float16]"), "torch"),
        (Item("tests/x.py::test_tf_keras_loads", ["jax"]), "jax keras tensorflow"),
        (Item("tests/x.py::test_it[torch-3]", backend="torch", count=3), "torch"),
        (Item("tests/x.py::test_it[src/torch/init.py]", path="src/torch/init.py"), ""),
        (Item("tests/x.py::test_torchrec", ["slow"]), ""),
        (Item("tests/x.py::test_show", ["matplotlib"]), "matplotlib"),
    ],
    ids=lambda value: getattr(value, "nodeid", ""),
)
def test_a_test_needs_the_frameworks_that_it_names(monkeypatch, item, needs):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    item.added.clear()
    conftest.mark([item])
    assert {f"needs {name}" for name in needs.split()} == {
        mark for mark in item.added if mark.startswith("needs")
    }
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    item.added.clear()
    conftest.mark([item])
    frameworks = set(needs.split()) - {"matplotlib"}
    assert set(item.added) == {*frameworks, *["frameworks"] * bool(frameworks)}


def test_what_was_not_run_is_a_line_for_each_reason():
    def skipped(reason, kind=SimpleNamespace):
        report = kind.__new__(kind)
        report.longrepr = ("file", 1, f"Skipped: {reason}")
        return report

    missing = "could not import 'torch': No module named 'torch'"
    reports = [skipped("needs torch")] * 2 + [skipped(missing, pytest.CollectReport)]
    assert list(conftest.not_run([*reports, skipped("no fork here")])) == [
        "1 file and 2 tests: needs torch",
        "1 test: no fork here",
    ]
