"""Tables of arrays of constants, and of classes of the user: what is kept of them on the disk."""

import hashlib
import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.tables import pipeline
from seedbed.tables.job import Job

VALUES = np.random.default_rng(1).normal(size=(700, 300)).astype("float32")
CONSTANT = initializers.Constant(VALUES)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_large_array_is_in_the_file_once():
    tables.write("a.safetensors", CONSTANT, VALUES.shape)
    assert os.path.getsize("a.safetensors") == 4096 + VALUES.nbytes
    with safetensors.safe_open("a.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("weight"), VALUES)
        config = json.loads(file.metadata()["weight.initializer"])["config"]
    assert config["value"]["config"] == {
        "sha256": hashlib.sha256(VALUES.tobytes()).hexdigest(),
        "shape": [700, 300],
        "dtype": "float32",
    }


def test_verify_asks_for_the_array():
    tables.write("a.safetensors", CONSTANT, VALUES.shape)
    with pytest.raises(ValueError, match=r"weight is made from an array .* give the initializer"):
        tables.verify("a.safetensors")
    assert tables.verify("a.safetensors", CONSTANT).ok
    other = VALUES.copy()
    other[3, 4] += 1
    assert "weight[3, 4]" in str(tables.verify("a.safetensors", initializers.Constant(other)))


def test_info_says_which_array(capsys):
    tables.write("a.safetensors", CONSTANT, VALUES.shape)
    assert main(["info", "a.safetensors"]) == 0
    assert hashlib.sha256(VALUES.tobytes()).hexdigest() in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int16", "complex64"])
def test_digests_are_of_the_array_as_it_was_given(dtype):
    values = np.arange(900).reshape(30, 30).astype(getattr(ml_dtypes, dtype, dtype))
    init = initializers.Constant(values.T)  # not in C order
    tables.write("a.safetensors", init, (30, 30), dtype if dtype != "float64" else "float64")
    (tensor,) = tables.tensors("a.safetensors")
    digest = tensor.description["initializer"]["config"]["value"]["config"]["sha256"]
    assert digest == hashlib.sha256(np.ascontiguousarray(values.T).tobytes()).hexdigest()
    assert tables.verify("a.safetensors", init).ok


def test_a_small_array_is_written_out():
    init = initializers.Constant([1.0, 2.0, 3.0])
    tables.write("a.safetensors", init, (50, 3))
    assert tables.verify("a.safetensors").checked == 150


def test_a_large_array_in_parts_is_resumed_and_finished(monkeypatch):
    def stopped(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_all", stopped)
        with pytest.raises(RuntimeError):
            tables.write("a.npy", CONSTANT, VALUES.shape, part=(1, 2))
    assert os.path.getsize("a.npy.part-1-of-2.json") < 2000
    other = initializers.Constant(VALUES + 1)
    with pytest.raises(tables.OutputError, match="sha256"):
        tables.write("a.npy", other, VALUES.shape, part=(1, 2), resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_finish", lambda job: [])
        for number in (1, 2):
            tables.write("a.npy", CONSTANT, VALUES.shape, part=(number, 2), resume=True)
    with pytest.raises(tables.OutputError, match="write a part again with --resume"):
        tables.finish("a.npy")
    tables.write("a.npy", CONSTANT, VALUES.shape, part=(2, 2), resume=True)
    assert np.array_equal(np.load("a.npy"), VALUES)


class Plain(initializers.Initializer):
    """As users write them: a shape and a dtype, and no window."""

    calls = 0

    def __call__(self, shape, dtype=None, **kwargs):
        self.calls += 1
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


class Wrong(initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return np.zeros(shape, "float64")


@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"rows": (10, 70)}, {"chunk_bytes": 100}])
def test_a_class_that_makes_no_windows_is_made_whole_and_cut(options):
    init, expected = Plain(), np.arange(300, dtype="float32").reshape(100, 3)
    path = "folder" if "shards" in options else "a.safetensors"
    tables.write(path, init, (100, 3), **options)
    assert init.calls == 1
    files = sorted(Path(path).iterdir()) if "shards" in options else [path]
    parts = []
    for one in files:
        with safetensors.safe_open(one, "np") as file:
            parts.append(file.get_tensor("weight"))
    start, stop = options.get("rows", (0, 100))
    assert np.array_equal(np.concatenate(parts), expected[start:stop])
    if not options:
        assert tables.verify("a.safetensors", Plain()).ok


def test_a_class_that_returns_something_else_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"Wrong: must return 9 × 3 float32.*; returned .*float64"):
        tables.write("a.npy", Wrong(), (9, 3))
    with pytest.raises(TypeError, match="init must be an initializer of Seedbed"):
        tables.write("a.npy", lambda shape, dtype=None: np.zeros(shape, dtype), (9, 3))
    assert os.listdir() == []


def test_a_class_of_the_user_has_no_parts():
    with pytest.raises(ValueError, match="Plain is computed as a whole: no parts"):
        tables.write("a.npy", Plain(), (9, 3), part=(1, 2))
