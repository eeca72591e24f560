"""Files of others, damaged or made to harm: one line with the path, and bounded time and memory."""

import contextlib
import io
import json
import os
import random
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import FormatError, SeedbedError
from tests import processes
from tests.fuzz.files import mutated, signed

INIT = initializers.RandomNormal(seed=21)
PART = (2000, 3)  # several pages, so that part 1 of 2 holds something


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files():
    """Names and bytes of good files of each kind."""
    tables.write("a.npy", INIT, (8, 3))
    tables.write("a.safetensors", INIT, (8, 3), "bfloat16", name="w")
    tables.write("kept.safetensors", None, (12, 3), grow="a.safetensors")
    tables.write("shards", INIT, (8, 3), shards=2)
    tables.write("part.npy", INIT, PART, part=(1, 2))
    os.mkdir("one")
    os.replace("shards/" + sorted(os.listdir("shards"))[0], "one/shard.safetensors")
    names = ("a.npy", "a.safetensors", "kept.safetensors", "one/shard.safetensors")
    return {name: Path(name).read_bytes() for name in (*names, "part.npy.part-1-of-2.json")}


def refused(call):
    """Return the text of the error of a call, which must be one that is raised on purpose."""
    with pytest.raises(SeedbedError) as caught:
        call()
    return str(caught.value)


def split(data):
    """Return the JSON of a `.safetensors` header, and what follows it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    "header",
    [
        '{"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":["aaaaaaaaaa",200000000],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":{"0":2},"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0.0,8]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}',
        '{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}}',
        '{"w":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}}',
        '{"w":{"shape":[2],"data_offsets":[0,8]}}',
        '{"w":[]}',
        f'{{"__metadata__":{{"a":1}},"w":{TENSOR}}}',
        f'{{"__metadata__":{{"a":{{}}}},"w":{TENSOR}}}',
        f'{{"w":{TENSOR},"v":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}',
        f'{{"w":{TENSOR}}}x',
        f'{{"w":{TENSOR}',
        "{" + '"a":{' * 5000 + "}" * 5001,
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"w":' + "9" * 5000 + "}",
        '{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    ],
    ids=lambda header: header[:60],
)
def test_headers_that_the_official_reader_refuses(header):
    data = joined(header.encode(), bytes(8))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)
    refused_header(data)


@pytest.mark.parametrize(
    "header",
    [
        f'{{"w":{TENSOR},"w":{TENSOR}}}',
        f'{{"__metadata__":[],"w":{TENSOR}}}',
        f' {{"w":{TENSOR}}}',
        f'{{"w":{TENSOR},"__metadata__":{{"a":"1","a":"2"}}}}',
    ],
)
def test_headers_that_the_format_forbids(header):
    """By its text; the official reader takes them."""
    refused_header(joined(header.encode(), bytes(8)))


def refused_header(data):
    Path("a.safetensors").write_bytes(data)
    for call in (tables.describe, tables.verify, tables.tensors):
        text = refused(lambda call=call: call("a.safetensors"))
        assert "a.safetensors: not a .safetensors file: " in text
        assert len(text) < 600
    with pytest.raises(FormatError):
        tables.write("b.safetensors", INIT, (9,), grow="a.safetensors")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NUMPY\x01\x00", b"NUMPY\x04\x00"),
        (b"NUMPY\x01\x00", b"NUMPY\x00\x00"),
        (b"'shape': (8, 3)", b"'shape': (-8,-3)"),
        (b"'shape': (8, 3)", b"'shape': (8.0,3)"),
        (b"'shape': (8, 3)", b"'shape': [8, 3] "),
        (b"'shape': (8, 3)", b"'shape': (----3)"),
        (b"'<f4'", b"'|O' "),
        (b"'<f4'", b"()   "),
        (b"'<f4'", b"'<x4'"),
        (b"False", b"0    "),
        (b"'fortran_order'", b"'fortran_odder'"),
        (b"'descr': '<f4', ", b"'shape': (8,3), "),
    ],
)
def test_npy_headers_that_numpy_refuses(files, old, new):
    data = files["a.npy"]
    assert old in data
    text = data[10:128].replace(old, new).rstrip()
    magic = data[:10].replace(old, new)
    Path("a.npy").write_bytes(magic + text.ljust(117) + b"\n" + data[128:])
    with pytest.raises((ValueError, IndexError)):
        np.load("a.npy")
    for call in (tables.describe, lambda path: tables.verify(path, INIT)):
        assert "a.npy: " in refused(lambda call=call: call("a.npy"))


def test_npy_headers_that_would_be_deep_or_long():
    for text in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "-" * 9000 + "1,)}",
        "{'descr': " + "(" * 4000 + ")" * 4000 + ", 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 9000 + ",)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 4000 + ")}",
        "-" * 9000 + "1",
    ):
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(4)
        Path("a.npy").write_bytes(data)
        assert len(refused(lambda: tables.describe("a.npy"))) < 500
    Path("a.npy").write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100))
    assert "at most 10,000 are read" in refused(lambda: tables.describe("a.npy"))


CLAIMS = {
    "w.shape": ["[-2,-3]", "[8.0,3]", "[[8],3]", "null", "[1e3,3]", "8", '"8x3"', "[8,3,1]"],
    "w.rows": ["[0,9]", "[5,4]", "[-1,8]", "[0]", "[0,8,8]", "[0.0,8]", "{}", "[0,8]x"],
    "w.kept_rows": ["9", "-1", "1e400", "0.5", "NaN", "true", "[1]", '"1"'],
    "w.dtype": ["float99", "foo.bfloat16", "object", "", "bfloat16 "],
    "w.initializer": [
        "{",
        "[]",
        "3",
        '{"class_name": "Constant", "config": {"value": "x"}}',
        '{"class_name": "HeNormal", "config": []}',
        '{"class_name": "HeNormal", "config": {}}',
        '{"class_name": "HeNormal", "config": {"seed": -1}}',
        '{"class_name": ["HeNormal"]}',
        '{"class_name": "Nothing"}',
        '{"config":' * 5000 + "1" + "}" * 5000,
        '{"class_name": "HeNormal", "class_name": "HeUniform"}',
    ],
    "stream_version": ["2", "", "1.0"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in CLAIMS.items() for value in values]
)
def test_metadata_that_cannot_be(files, key, value):
    header, data = split(files["a.safetensors"])
    header["__metadata__"][key] = value
    Path("a.safetensors").write_bytes(joined(header, data))
    assert "a.safetensors: " in refused(lambda: tables.verify("a.safetensors"))
    with contextlib.suppress(SeedbedError):
        tables.describe("a.safetensors")
    with contextlib.suppress(SeedbedError):
        tables.write("b.safetensors", None, (9, 3), grow="a.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("w.seed", "22", "seed is 22 in the metadata, should be 21"),
        ("w.seed", '"21"', "seed is '21'"),
        ("DCP_SHARDING_INFO", '{"w":{"saved_offsets":[1,0]}}', "should be [0, 0]"),
        ("DCP_SHARDING_INFO", '{"w":{}}', "saved_offsets is None"),
    ],
)
def test_what_metadata_say_beside_the_values_is_compared(files, key, value, told):
    header, data = split(files["a.safetensors"])
    header["__metadata__"][key] = value
    Path("a.safetensors").write_bytes(joined(header, data))
    report = tables.verify("a.safetensors")
    assert not report.ok
    assert told in str(report)


STATES = [
    {"total": 10**30},
    {"total": -1},
    {"total": 96.0},
    {"total": 48},
    {"done": 10**6},
    {"done": True},
    {"complete": 1},
    {"complete": True, "done": 0},
    {"part": [1, 10**9]},
    {"part": [0, 2]},
    {"part": [3, 2]},
    {"part": [1]},
    {"part": "1/2"},
    {"output": None},
    {"output": []},
    {"output": {}},
]
OUTPUTS = [
    {"shards": 10**9},
    {"shards": -1},
    {"shards": 2.0},
    {"shards": "2"},
    {"format": None},
    {"format": [".npy"]},
    {"format": ".zip"},
    {"tables": None},
    {"tables": {}},
    {"tables": {"weight": None}},
    {"tables": {"weight": {}}},
    {"tables": {"weight": {"initializer": {"class_name": "Zeros"}, "shape": [8, 3]}}},
    {
        "tables": {
            "weight": {
                "initializer": {"class_name": "Zeros"},
                "shape": [2**62, 4],
                "dtype": "float32",
            }
        }
    },
]


@pytest.mark.parametrize("change", [*STATES, *OUTPUTS], ids=str)
def test_states_that_cannot_be(files, change):
    """With a checksum that fits: everything is refused at once, and nothing is touched."""
    name = "part.npy.part-1-of-2.json"
    body = json.loads(files[name])
    (body["output"] if change in OUTPUTS else body).update(change)
    Path(name).write_bytes(signed(body))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    start = time.monotonic()
    refused(lambda: tables.finish("part.npy"))
    refused(lambda: tables.write("part.npy", INIT, PART, part=(1, 2), resume=True))
    with contextlib.suppress(SeedbedError):
        tables.describe("part.npy")
    assert time.monotonic() - start < 20
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device", "deep", "large"])
def test_what_stands_in_the_place_of_a_state(files, kind):
    name = "part.npy.part-1-of-2.json"
    os.unlink(name)
    if kind == "pipe":
        os.mkfifo(name)
    elif kind == "link":
        Path("elsewhere").write_bytes(files[name])
        os.symlink("elsewhere", name)
    elif kind == "folder":
        os.mkdir(name)
    elif kind == "device":
        os.symlink("/dev/zero", name)
    elif kind == "deep":
        Path(name).write_bytes(b"[" * 10**6)
    else:
        with open(name, "wb") as file:
            file.truncate(10**12)
    for call in (
        lambda: tables.finish("part.npy"),
        lambda: tables.describe("part.npy"),
        lambda: tables.write("part.npy", INIT, PART, part=(2, 2)),
        lambda: tables.write("part.npy", INIT, PART, part=(1, 2), resume=True),
    ):
        assert name in refused(call)


@pytest.mark.parametrize("path", ["pipe.npy", "pipe.safetensors", "/dev/zero", "folder.npy"])
def test_what_is_no_file_is_not_read(path):
    if path.startswith("pipe"):
        os.mkfifo(path)
    if path.startswith("folder"):
        os.mkdir(path)
    for arguments in (
        ["info", path],
        ["verify", path],
        ["table", f"--plan={path}"],
        ["table", f"--grow={path}", "--shape=9x3", "--out=b.npy"],
    ):
        assert main(arguments) == 2
    assert not os.path.exists("b.npy")


def test_a_pipe_is_not_replaced():
    os.mkfifo("table.npy")
    with pytest.raises(tables.OutputError, match="not a regular file"):
        tables.write("table.npy", INIT, (8, 3), force=True)
    assert Path("table.npy").is_fifo()


@pytest.mark.parametrize("claim", ["nested", "names", "numbers", "strings"])
def test_memory_is_bounded_whatever_a_header_claims(claim):
    count = 400_000
    text = {
        "nested": "[" * 16 + "[],".rjust(3) * count + "[]" + "]" * 16,
        "names": "{" + ",".join(f'"{number}":1' for number in range(count // 4)) + "}",
        "numbers": '{"w":{"dtype":"F32","shape":[' + "1," * count + "1]}}",
        "strings": '{"w":{"dtype":"F32","shape":["' + "a" * 10 * count + '",200000000]}}',
    }[claim]
    Path("a.safetensors").write_bytes(joined(text.encode(), b""))
    size = os.path.getsize("a.safetensors")
    tracemalloc.start()
    try:
        refused(lambda: tables.describe("a.safetensors"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6 + 20 * size


@pytest.mark.parametrize("name", ["a.npy", "a.safetensors", "one/shard.safetensors"])
def test_random_damage_is_refused_where_the_official_reader_refuses(files, name):
    """And never anything else than an error that is raised on purpose, with the path."""
    chance, accepted = random.Random(5), 0
    for _ in range(700):
        data = mutated(files[name], chance)
        if name.endswith(".safetensors") and chance.random() < 0.6:  # so that it fits its length
            length = int.from_bytes(files[name][:8], "little") + len(data) - len(files[name])
            data = max(length, 0).to_bytes(8, "little") + data[8:]
        Path(name).write_bytes(data)
        try:
            tables.tensors(name)
            accepted += 1
        except FormatError as error:
            assert name in str(error)  # noqa: PT017
            continue
        if name == "a.npy":
            np.load(io.BytesIO(data))
        else:
            safetensors.deserialize(data)
        for call in (tables.describe, tables.verify, lambda path: tables.verify(path, INIT)):
            with contextlib.suppress(SeedbedError):
                call(name)
    assert accepted > 20  # so that the other reader had something to say


def test_random_damage_of_states(files):
    name, chance = "part.npy.part-1-of-2.json", random.Random(6)
    for _ in range(300):
        data = mutated(files[name], chance)
        if chance.random() < 0.7:
            with contextlib.suppress(ValueError, AttributeError, RecursionError):
                data = signed(json.loads(data))
        Path(name).write_bytes(data)
        for call in (
            lambda: tables.finish("part.npy"),
            lambda: tables.describe("part.npy"),
            lambda: tables.write("part.npy", INIT, PART, part=(1, 2), resume=True),
        ):
            with contextlib.suppress(SeedbedError):
                call()
        assert not Path("part.npy").exists()


def test_names_are_printed_without_escapes(capsys):
    name = "\x1b[2Jred\nseedbed: all is well"
    tables.write("a.safetensors", INIT, (8, 3), name=name)
    assert main(["info", "a.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 2
    assert "\\x1b[2Jred\\nseedbed: all is well" in out
    with open("a.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert main(["verify", "a.safetensors"]) == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_a_plan_that_is_endless_or_deep():
    start = time.monotonic()
    for text in ("a = " + "[" * 200_000, "a" + ".a" * 100_000 + " = 1", "a = " + "{a = " * 50_000):
        Path("plan.toml").write_text(text)
        assert "plan.toml: not a TOML file" in refused(lambda: tables.read_plan("plan.toml"))
    with open("plan.toml", "wb") as file:
        file.truncate(10**12)
    assert "more than 10,000,000 bytes" in refused(lambda: tables.read_plan("plan.toml"))
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("value", ["~" * 9999 + "1", "-" * 10**5 + "1", "(" * 9000, "[" * 10**5])
def test_settings_that_would_be_deep(value, capsys):
    arguments = ["--initializer=random_normal", f"--set=stddev={value}", "--out=b.npy"]
    command = [sys.executable, "-m", "seedbed", "table", "--shape=8x3", "--seed=1", *arguments]
    run = processes.run(command, check=False)
    assert run.returncode == 2, run.stderr
    assert run.stderr.count("\n") == 1
    assert len(run.stderr) < 1000
