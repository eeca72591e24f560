"""What the command returns and says: refused, failed, stopped, or a fault of its own."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.storage.atomic import Folder
from seedbed.tables import pipeline
from seedbed.tables.table import Table
from tests import processes

TABLE = ["table", "--shape=1000x64", "--initializer=glorot_uniform", "--seed=7", "--out=table.npy"]
COMMAND = [sys.executable, "-m", "seedbed"]
PLAN = 'seed = 7\n[[table]]\nname = "user"\nshape = [8, 3]\ninitializer = "random_normal"\n'


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, RuntimeError, OverflowError])
def test_a_fault_of_the_program_is_a_traceback_and_leaves_the_part(monkeypatch, capsys, error):
    fill, left = Table.fill, [1]

    def failing(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise error("a fault")
        fill(*arguments)

    monkeypatch.setattr(Table, "fill", failing)  # once for the look at the scale
    assert main(TABLE) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback (most recent call last)" in err
    assert f"{error.__name__}: " in err
    assert err.splitlines()[-1].startswith("seedbed: a fault in seedbed")
    assert sorted(os.listdir()) == ["table.npy.part", "table.npy.part.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fails_is_told_with_the_file(monkeypatch, capsys, code):
    def failing(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pipeline, "write_all", failing)
    assert main(TABLE) == 1
    assert capsys.readouterr().err == f"seedbed: table.npy.part: {os.strerror(code)}\n"
    assert os.listdir() == []


def test_a_limit_of_file_sizes_is_told_with_the_file():
    program = (
        "import resource, sys\nfrom seedbed.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    run = processes.run(processes.python(program, *TABLE), {"NUMBA_CACHE_DIR": None}, check=False)
    assert run.returncode == 1, run.stderr
    assert run.stderr.splitlines()[-1] == "seedbed: table.npy.part: File too large"


def long_name():
    return "n" * 300 + ".npy"


def closed():
    os.mkdir("closed")
    os.chmod("closed", 0)
    return "closed/table.npy"


def loop():
    os.symlink("loop.npy", "loop.npy")
    return "loop.npy"


def in_a_file():
    Path("file").write_text("")
    return "file/table.npy"


def in_a_loop():
    os.symlink("round", "round")
    return "round/table.npy"


@pytest.mark.parametrize(
    "place", [long_name, closed, loop, in_a_file, in_a_loop, lambda: "n\0.npy"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "{}"],
        ["verify", "{}", "--initializer=zeros"],
        ["table", "--plan={}"],
        ["table", "--finish", "--out={}"],
        ["table", "--shape=9x3", "--initializer=zeros", "--out={}"],
        ["table", "--shape=9x3", "--initializer=zeros", "--out={}", "--resume", "--force"],
        ["table", "--shape=9x3", "--initializer=zeros", "--out={}", "--shards=2"],
        ["table", "--shape=9x3", "--initializer=zeros", "--out=b.npy", "--grow={}"],
        ["show", "--shape=9x3", "--initializer=zeros", "--out={}"],
    ],
    ids=" ".join,
)
def test_places_that_the_system_refuses(place, arguments, capsys):
    path = place()
    if path.startswith("closed") and os.geteuid() == 0:
        path = "missing/table.npy"  # root may do everything
    before = sorted(os.listdir())
    assert main([argument.format(path) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "Errno" not in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("url", ["s3://bucket/t.npy", "gs://b/t", "https://x.org/t.npy"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "--plan={}"],
        ["table", "--finish", "--out={}"],
        ["table", "--shape=9x3", "--initializer=zeros", "--out=b.npy", "--grow={}"],
        ["show", "--shape=9x3", "--initializer=zeros", "--out={}"],
    ],
    ids=" ".join,
)
def test_urls_are_refused(url, arguments, capsys):
    refused(url, arguments, capsys)


@pytest.mark.parametrize("url", ["https://x.org/t.npy", "ftp://x.org/t"])
@pytest.mark.parametrize("command", ["info", "verify"])
def test_urls_of_no_store_are_not_read(url, command, capsys):
    refused(url, [command, "{}"], capsys)


def refused(url, arguments, capsys):
    assert main([argument.format(url) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert "not a URL" in err
    assert url in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://x.org/t.npy", "not a URL"),
        ("https://x.org/t.zarr", "not a URL"),
        ("s3://bucket/t.npy", "a store takes a .zarr, or shards"),
        ("gs://bucket/t.safetensors", "a store takes a .zarr, or shards"),
        ("gs://bucket/t", "path must end in"),
        ("s3://bucket/t.npy --shards=2", "path of shards is a folder"),
        ("s3://bucket", "PROTOCOL://BUCKET/NAME"),
    ],
)
def test_urls_of_outputs_that_are_refused(url, said, capsys):
    url, *shards = url.split()
    arguments = ["table", "--shape=9x3", "--initializer=zeros", f"--out={url}", *shards]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert url in err
    assert os.listdir() == []


def test_a_url_of_a_local_file_is_the_file(tmp_path, capsys):
    url = f"file://{tmp_path}/t.npy"
    made = ["--shape=9x3", "--initializer=ones"]
    assert main(["table", *made, f"--out={url}"]) == 0
    assert (np.load(tmp_path / "t.npy") == np.ones((9, 3))).all()
    assert main(["verify", url, "--initializer=ones"]) == 0
    assert main(["verify", url, "--initializer=zeros"]) == 1
    assert main(["info", url]) == 0
    assert "9" in capsys.readouterr().out


def test_a_url_in_a_plan_or_in_a_path_object():
    Path("plan.toml").write_text(PLAN + 'file = "s3://bucket/x.npy"\n')
    with pytest.raises(ValueError, match=r"plan.toml: table user: file .* not a URL"):
        tables.write_plan("plan.toml")
    with pytest.raises(ValueError, match="not a URL"):
        tables.write(Path("s3://bucket/x.npy"), "zeros", (3,))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('file = "x.zip"', "table user: path must end in"),
        ('file = "x.npy"\nshards = 2', "table user: path of shards is a folder"),
        ('file = "x"\nshards = 9', "table user: shards must be from 1 to the 8 rows"),
        ('file = "x.npy"\ndtype = "int8"', "table user: RandomNormal: dtype must be one of"),
        ('file = "x.npy"\narguments = { stddev = -1 }', "table user: RandomNormal: stddev must be"),
        ('file = "x.npy"\narguments = { sd = 1 }', "table user: "),
    ],
)
def test_a_bad_plan_says_where_and_not_which_function(line, told, capsys):
    Path("plan.toml").write_text(PLAN + line)
    assert main(["table", "--plan=plan.toml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"seedbed: plan.toml: {told}")
    assert "tables." not in err


def test_functions_say_their_name_and_the_command_does_not(capsys):
    with pytest.raises(ValueError, match=r"^tables\.write: path must end in"):
        tables.write("table.zip", "zeros", (3,))
    with pytest.raises(ValueError, match=r"^tables\.verify: missing\.npy: there is no such file"):
        tables.verify("missing.npy")
    with pytest.raises(ValueError, match=r"^tables\.finish: .*nothing to finish"):
        tables.finish("missing.npy")
    assert main(["verify", "missing.npy"]) == 2
    assert capsys.readouterr().err == "seedbed: missing.npy: there is no such file\n"


def test_what_is_refused_after_a_table_was_written_has_failed(capsys, monkeypatch):
    """Another process takes the name of the second one meanwhile."""
    second = PLAN[9:].replace("user", "item")
    Path("plan.toml").write_text(PLAN + 'file = "a.npy"\n' + second + 'file = "b.npy"\n')
    publish = Folder.publish

    def late(*arguments, **options):
        publish(*arguments, **options)
        Path("b.npy").write_bytes(b"precious")

    monkeypatch.setattr(Folder, "publish", late)
    assert main(["table", "--plan=plan.toml"]) == 1
    assert "b.npy: exists" in capsys.readouterr().err
    assert Path("b.npy").read_bytes() == b"precious"


STOPPED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
            for _ in range(1000):  # the signal is answered between two of these
                pass

sys.meta_path.insert(0, Finder())
sys.argv = ["seedbed", *{arguments!r}]
from seedbed.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize(
    "name", ["argparse", "seedbed.cli.options", "numpy", "ml_dtypes", "seedbed.tables", "numba"]
)
def test_a_signal_while_modules_are_imported(name, number):
    program = STOPPED.format(name=name, number=number, arguments=TABLE)
    run = processes.run(processes.python(program), check=False)
    assert run.stderr == f"seedbed: {'interrupted' if number == 2 else 'terminated'}\n"
    assert run.returncode == 128 + number
    assert os.listdir() == []


LOST = """
import ctypes, os, signal, sys
from seedbed import cli, tables
from seedbed.tables.table import Table

fill = Table.fill

@ctypes.CFUNCTYPE(None)
def callback():  # C code that called this drops its exceptions
    os.kill(os.getpid(), {number})
    for _ in range(1000):
        pass

def stopped(*arguments):
    callback()
    fill(*arguments)

Table.fill = stopped
sys.argv = ["seedbed", "table", "--shape=100000000x8", "--initializer=zeros", "--out=table.npy"]
sys.exit(cli.main())
"""


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_that_a_callback_of_c_code_drops(number):
    run = processes.run(processes.python(LOST.format(number=number)), check=False)
    assert run.returncode == 128 + number, run.stderr
    assert run.stderr.count("\n") == 1


def test_an_interrupt_that_passes_through_exec():
    """Python would end itself by the signal then, whatever the exit code."""
    program = (
        "import sys\nfrom seedbed import cli\nfrom seedbed.tables.table import Table\n"
        "def stopped(*_): exec('raise KeyboardInterrupt')\n"
        "Table.fill = stopped\n"
        f"sys.argv = ['seedbed', *{TABLE!r}]\nsys.exit(cli.main())"
    )
    run = processes.run(processes.python(program), check=False)
    assert (run.returncode, run.stderr) == (130, "seedbed: interrupted\n")


def test_no_room_on_standard_output():
    tables.write("a.npy", initializers.Zeros(), (3, 3))
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        run = processes.run([*COMMAND, "info", "a.npy"], check=False, stdout=full)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "No space left on device" in run.stderr


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "2>&- 1>&-"])
def test_closed_streams(closed):
    """What is refused goes to no other stream; what is written is written."""
    command = " ".join([*COMMAND, *TABLE])
    run = processes.run(["sh", "-c", f"{command} {closed}"], check=False)
    assert run.returncode == 0, run.stderr
    assert np.load("table.npy").shape == (1000, 64)
    run = processes.run(["sh", "-c", f"{command} {closed}"], check=False)
    assert run.returncode == 2
    assert run.stdout == ""


def test_a_reader_that_goes_away():
    tables.write("s", initializers.Zeros(), (200, 3), shards=200)
    run = processes.run(["sh", "-c", f"{' '.join(COMMAND)} info s | head -n 1"], check=False)
    assert run.stdout.count("\n") == 1
    assert run.stderr == ""
