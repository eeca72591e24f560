"""`seedbed info`, `show` and what they say when something is missing."""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from seedbed import initializers
from seedbed.cli import info, main
from seedbed.initializers import picture
from tests import processes


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_info(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    version = importlib.metadata.version("seedbed")
    assert lines["seedbed"] == f"{version}, stream version 1"
    assert re.fullmatch(r"\d+ of \d+ CPUs", lines["threads"])
    assert np.__version__ in lines["python"]
    assert set(lines) == {"seedbed", "python", "threads", "instructions", "cache", "cuda"}


def test_info_follows_the_environment():
    environment = {
        "NUMBA_CPU_NAME": processes.OTHER_CPUS[-1],
        "NUMBA_NUM_THREADS": "3",
        "NUMBA_CACHE_DIR": str(Path("kept").resolve()),
    }
    run = processes.run([sys.executable, "-m", "seedbed", "info"], environment)
    assert f"those of {processes.OTHER_CPUS[-1]} " in run.stdout
    assert "3 of" in run.stdout
    assert str(Path("kept").resolve()) in run.stdout


@pytest.mark.parametrize(
    ("features", "widest"),
    [("avx2 avx sse4.2", "AVX2"), ("sve2 sve neon", "SVE2"), ("sve neon", "SVE"), ("neon", "NEON")],
)
def test_info_names_the_widest_vectors(features, widest, monkeypatch):
    found = dict.fromkeys(features.split(), True)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: found)
    assert info.describe()["instructions"].startswith(f"{widest} (")


@pytest.mark.parametrize(
    "options",
    [
        ["--initializer=truncated_normal", "--set=stddev=0.02", "--seed=7"],
        ["--initializer=random_normal", "--seed=7", "--dtype=bfloat16"],
        ["--initializer=glorot_uniform", "--seed=7", "--dtype=float16"],
        ["--initializer=orthogonal", "--seed=7"],
        ["--initializer=identity"],
        ["--initializer=zeros", "--dtype=int8"],
    ],
)
@pytest.mark.matplotlib
def test_show_draws(options, capsys):
    assert main(["show", "--shape=100x200", "--out=drawn.png", *options]) == 0
    data = Path("drawn.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000
    out = capsys.readouterr().out
    assert "20,000 values" in out
    assert os.listdir() == ["drawn.png"]
    if "random_normal" in options[0]:
        mean, stddev = (float(x) for x in re.search(r"theory (\S+) and (\S+)\)", out).groups())
        assert (mean, stddev) == (0.0, 0.05)


@pytest.mark.parametrize(
    "init",
    [
        initializers.RandomUniform(-1.0, 3.0, seed=5),
        initializers.RandomNormal(1.0, 1.2, seed=5),
        initializers.TruncatedNormal(1.0, 2.0, seed=5),
        initializers.TruncatedNormal(0.0, 1.0, seed=5, lower=0.5, upper=6.0),
        initializers.GlorotUniform(seed=5),
        initializers.HeNormal(seed=5),
        initializers.Orthogonal(gain=-2.0, seed=5),
    ],
)
def test_theory_is_that_of_the_values(init):
    """By a Kolmogorov-Smirnov test that is wrong once in a million seeds."""
    shape = (300, 400)
    theory = picture._theory(init.recipe(shape), shape)
    values = init(shape, "float64").ravel()
    assert stats.kstest(values, theory.distribution.cdf).pvalue > 1e-6
    mean, stddev = theory.moments[:2]
    assert abs(values.mean() - mean) < 5 * stddev / values.size**0.5
    assert values.std() == pytest.approx(stddev, rel=0.02)
    low, high = theory.moments[4:]
    assert low <= values.min() < values.max() <= high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out=drawn.jpg"], ".png"),
        (["--out=missing/drawn.png"], "missing"),
        (["--out=exists.png"], "--force"),
        (["--shape=1"], "two or more"),
        (["--dtype=complex64", "--initializer=zeros"], "real"),
    ],
)
@pytest.mark.matplotlib
def test_show_refuses(options, message, capsys):
    Path("exists.png").write_bytes(b"precious")
    given = [] if any("--initializer" in option for option in options) else ["--seed=1"]
    given += ["--shape=9x9", "--initializer=random_normal"] if given else ["--shape=9x9"]
    assert main(["show", *given, *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert Path("exists.png").read_bytes() == b"precious"


def test_show_says_how_to_install_matplotlib(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "seedbed.initializers.figure", raising=False)
    assert main(["show", "--shape=9x9", "--initializer=random_normal"]) == 2
    assert "pip install 'seedbed[plot]'" in capsys.readouterr().err
