"""`seedbed table` and its errors, in this process; signals and memory in processes of their own."""

import json
import os
import pty
import re
import signal
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers
from seedbed.cli import main
from tests import processes

COMMAND = (sys.executable, "-m", "seedbed")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(*options, shape="1000x64", initializer="glorot_uniform", seed="7", out="table.npy"):
    arguments = ["table", "--shape", shape, "--initializer", initializer, "--out", out]
    return main([*arguments, *(["--seed", seed] if seed else []), *options])


def test_writes_what_numpy_loads(capsys):
    assert table(shape="100000x64") == 0
    loaded = np.load("table.npy")
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, initializers.GlorotUniform(seed=7)((100_000, 64)))
    out, err = capsys.readouterr()
    assert out.startswith("table.npy: 100,000 × 64 float32 GlorotUniform seed 7: 25.6 MB in ")
    assert out.count("\n") == 1
    assert err == ""  # no bar: not a terminal
    assert os.listdir() == ["table.npy"]


def test_bytes_are_those_of_numpy_save():
    assert table() == 0
    np.save("saved.npy", initializers.GlorotUniform(seed=7)((1000, 64)))
    assert Path("table.npy").read_bytes() == Path("saved.npy").read_bytes()


@pytest.mark.parametrize(
    ("settings", "init"),
    [
        (["--set", "stddev=0.02"], initializers.TruncatedNormal(stddev=0.02, seed=7)),
        (["--set", "stddev=2", "--set", "mean=-1"], initializers.TruncatedNormal(-1, 2, seed=7)),
    ],
)
def test_arguments(settings, init):
    assert table(*settings, initializer="truncated_normal") == 0
    assert np.array_equal(np.load("table.npy"), init((1000, 64)))


def test_arguments_that_are_words():
    settings = ["--set", "mode=fan_out", "--set", "distribution=uniform", "--set", "scale=3.0"]
    assert table(*settings, initializer="variance_scaling") == 0
    init = initializers.VarianceScaling(3.0, "fan_out", "uniform", seed=7)
    assert np.array_equal(np.load("table.npy"), init((1000, 64)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows(dtype):
    assert table("--rows", "100:300", "--dtype", dtype) == 0
    loaded = np.load("table.npy")
    assert loaded.dtype == dtype
    assert np.array_equal(loaded, initializers.GlorotUniform(seed=7)((1000, 64), dtype)[100:300])


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads(threads):
    arguments = ["table", "--shape", "300000x3", "--initializer", "random_normal", "--seed", "3"]
    processes.run([*COMMAND, *arguments, "--out", "table.npy", "--threads", threads])
    init = initializers.RandomNormal(seed=3)
    assert np.array_equal(np.load("table.npy"), init((300_000, 3)))


def test_without_a_seed_the_summary_tells_it(capsys):
    assert table(seed=None) == 0
    seed = int(capsys.readouterr().out.split("seed ")[1].split(":")[0])
    assert np.array_equal(np.load("table.npy"), initializers.GlorotUniform(seed=seed)((1000, 64)))


BAD = {
    "no command": ([], "COMMAND"),
    "unknown command": (["tabel"], "'tabel'"),
    "unknown option": (["table", "--shap", "4"], "--shap"),
    "nothing given": (["table"], "--shape, --out, --initializer"),
    "negative shape": (["--shape", "-3x4"], "-3x4"),
    "shape of floats": (["--shape", "3.5x4"], "'3.5x4'"),
    "shape of words": (["--shape", "axb"], "'axb'"),
    "too large": (["--shape", "4000000000x4000000000"], "2**63"),
    "rank": (["--initializer", "identity", "--shape", "4x4x4", "--seed", ""], "rank 2"),
    "initializer": (["--initializer", "glorot_unifrom"], "glorot_uniform"),
    "dtype": (["--dtype", "blfoat16"], "bfloat16"),
    "dtype not random": (["--dtype", "int32"], "float32"),
    "dtype not in npy": (["--dtype", "bfloat16"], ".safetensors"),
    "argument": (["--set", "stddev=1"], "allowed: seed, input_axes, output_axes"),
    "argument without value": (["--set", "stddev"], "NAME=VALUE"),
    "argument of bad value": (
        ["--initializer", "random_normal", "--set", "stddev=-1"],
        "stddev must be a finite number of at least 0; given -1",
    ),
    "argument infinite": (
        ["--initializer", "random_normal", "--set", "stddev=1e999"],
        "given inf",
    ),
    "limits": (
        ["--initializer", "random_uniform", "--set", "minval=1", "--set", "maxval=0"],
        "minval",
    ),
    "seed": (["--seed", "-1"], "2**64"),
    "seed too large": (["--seed", str(2**64)], "2**64"),
    "seed a word": (["--seed", "seven"], "'seven'"),
    "seed not taken": (["--initializer", "zeros"], "takes no seed"),
    "rows outside": (["--rows", "5:1001"], "1000"),
    "rows reversed": (["--rows", "5:4"], "5:4"),
    "rows with a step": (["--rows", "1:9:2"], "1:9:2"),
    "threads": (["--threads", "0"], "--threads"),
    "format": (["--out", "table.npz"], ".npy or .safetensors"),
    "no folder": (["--out", "missing/table.npy"], "no folder missing"),
    "a folder": (["--out", "folder.npy"], "folder.npy: is a folder"),
    "exists": (["--out", "exists.npy"], "--force"),
    "disk too full": (["--shape", "1000000000000x64"], "bytes free"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_any_work(case, capsys):
    options, message = BAD[case]
    Path("folder.npy").mkdir()
    Path("exists.npy").write_bytes(b"precious")
    before = sorted(os.listdir())
    if options and options[0].startswith("--"):
        arguments = {
            "--shape": "1000x64",
            "--initializer": "glorot_uniform",
            "--seed": "7",
            "--out": "table.npy",
        }
        pairs = list(zip(options[::2], options[1::2], strict=True))
        arguments |= {name: value for name, value in pairs if name != "--set"}
        options = ["table"]
        for name, value in arguments.items():
            options += [f"{name}={value}"] if value else []
        options += [f"--set={value}" for name, value in pairs if name == "--set"]
    assert main(options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("seedbed: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(os.listdir()) == before
    assert Path("exists.npy").read_bytes() == b"precious"


def test_force_replaces_only_what_is_complete(capsys):
    Path("table.npy").write_bytes(b"precious")
    assert table("--force", "--dtype", "int8") == 2
    assert Path("table.npy").read_bytes() == b"precious"
    assert table("--force") == 0
    assert np.load("table.npy").shape == (1000, 64)
    assert os.listdir() == ["table.npy"]


def test_read_only_folder():
    """As a user for whom permissions count: root may write anywhere."""
    folder = Path("closed")
    folder.mkdir()
    folder.chmod(0o555)
    Path().chmod(0o755)
    program = (
        "import os, sys\n"
        "from seedbed.cli import main\n"
        "main(['table', '--shape=9x9', '--initializer=zeros', '--out=open.npy'])\n"
        "if os.getuid() == 0: os.setuid(65534)  # which may not import what is not imported yet\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["table", "--shape=9x9", "--initializer=zeros", f"--out={folder / 'table.npy'}"]
    run = processes.run(processes.python(program, *arguments), check=False)
    assert run.returncode == 2, run.stderr
    assert run.stderr == "seedbed: closed/table.npy: folder closed is not writable\n"
    assert os.listdir(folder) == []


LONG = ("table", "--shape=100000000x8", "--initializer=truncated_normal", "--seed=7")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_at_once(number, code):
    Path("table.npy").write_bytes(b"precious")
    partial = Path("table.npy.part")
    with processes.started([*COMMAND, *LONG, "--out=table.npy", "--force"]) as process:
        while not (partial.exists() and partial.stat().st_blocks > 0):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert err.count("\n") == 1
    assert Path("table.npy").read_bytes() == b"precious"
    saved = Path("table.npy.part.json").exists()
    assert saved == partial.exists()
    if saved:
        assert json.loads(Path("table.npy.part.json").read_text())["done"] > 0
        assert "--resume" in err
    partial.unlink(missing_ok=True)


def test_memory_stays_bounded():
    """A table larger than the memory that the process may map."""
    program = (
        "import resource, sys\n"
        "from seedbed import initializers\n"
        "from seedbed.cli import main\n"
        "initializers.RandomNormal(seed=1)((10,))\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "limit = size + 400_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["table", "--shape=10000000x16", "--initializer=random_normal", "--seed=1"]
    processes.run(processes.python(program, *arguments, "--out=table.npy"))
    loaded = np.load("table.npy", mmap_mode="r")
    assert loaded.nbytes > 600_000_000
    window = (slice(9_999_000, None), slice(None))
    init = initializers.RandomNormal(seed=1)
    assert np.array_equal(loaded[window], init(loaded.shape, window=window))
    Path("table.npy").unlink()


def test_a_terminal_shows_progress():
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    arguments = ["table", "--shape=3000000x64", "--initializer=zeros", "--out=table.npy"]
    with processes.started([*COMMAND, *arguments], stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            shown += data
        os.close(master)
        assert process.communicate(timeout=60)[0].count("\n") == 1
    assert process.returncode == 0
    last = shown.decode().strip().split("\r")[-1]
    assert re.match(r"100%\|.*\| 768MB of 768MB, [\d,]+ M values/s, [\d.]+ GB/s, 00:00 left", last)
    Path("table.npy").unlink()
