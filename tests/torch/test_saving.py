"""Checkpoints of initial weights, straight to disk: formats, memory, resuming, what is refused."""

import json
import os
import signal
import textwrap

import pytest

from tests import processes

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

import seedbed.torch as seeded  # noqa: E402
from tests.torch.models import AVAILABLE, MODELS, NEEDS, build  # noqa: E402

NAMES = [
    name
    if name in AVAILABLE
    else pytest.param(name, marks=pytest.mark.skip(reason=f"needs {NEEDS[name]}"))
    for name in MODELS
]


def on_meta(name):
    build(name)  # transformers 4 imports the modules that it needs, which fails under a device
    with torch.device("meta"):
        return build(name)


def loaded(folder, saved):
    return {
        name: tensor
        for file in saved.files
        for name, tensor in load_file(folder / file).items()
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_holds_what_the_plain_model_has(name, tmp_path):
    folder = tmp_path / "model"
    saved = seeded.save_initialized(on_meta(name), folder, seed=7, max_shard_size=20_000)
    plain = seeded.init_module_(build(name), seed=7)
    expected, found = plain.state_dict(), loaded(folder, saved)
    first = {name for name, _ in [*plain.named_parameters(), *plain.named_buffers()]}
    assert set(found) == expected.keys() & first  # of tied ones
    for key, tensor in found.items():
        assert torch.equal(tensor, expected[key]), key
    if len(saved.files) > 1:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == found.keys()
        nbytes = sum(tensor.nbytes for tensor in found.values())
        assert index["metadata"]["total_size"] == nbytes == saved.nbytes
    assert seeded.verify_initialized(on_meta(name), folder, seed=7, max_shard_size=20_000).ok
    if hasattr(plain, "config"):
        again = type(plain).from_pretrained(folder).state_dict()
        assert again.keys() == expected.keys()
        for key, tensor in again.items():
            assert torch.equal(tensor, expected[key]), key


def test_rules_dtypes_and_one_file(tmp_path):
    rules = {"*norm*.weight": "ones", "*bias": "zeros", "*": "glorot_uniform"}
    saved = seeded.save_initialized(
        on_meta("transformer"), tmp_path / "model", 7, rules, dtype="bfloat16"
    )
    assert saved.files == ["model.safetensors"]
    found = loaded(tmp_path / "model", saved)
    plain = build("transformer")
    for parameter in plain.parameters():
        parameter.data = parameter.data.bfloat16()
    expected = seeded.init_module_(plain, rules, seed=7).state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert torch.equal(tensor, expected[key]), key
    assert found["0.weight"].dtype == torch.bfloat16


BIG = """
    import sys, threading, time
    import torch
    import seedbed.torch as seeded

    class Layer(torch.nn.Module):  # of a Llama
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.ModuleList(
                torch.nn.Linear(2048, width, bias=False) for width in (2048, 512, 512, 2048)
            )
            self.up, self.gate = (torch.nn.Linear(2048, 5632, bias=False) for _ in "ab")
            self.down = torch.nn.Linear(5632, 2048, bias=False)
            self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(2048) for _ in "ab")

    def model(layers, rows):
        with torch.device("meta"):
            return torch.nn.Sequential(
                torch.nn.Embedding(rows, 2048, padding_idx=0),
                *(Layer() for _ in range(layers)),
                torch.nn.Linear(2048, rows, bias=False),
            )
"""


def test_a_model_of_three_gigabytes_takes_600_megabytes(tmp_path):
    code = textwrap.dedent(BIG) + textwrap.dedent(
        """
        def anonymous():
            with open("/proc/self/status") as file:
                return next(int(x.split()[1]) for x in file if x.startswith("RssAnon")) / 1e3

        peak, done = 0, threading.Event()
        def watch():
            global peak
            while not done.wait(0.02):
                peak = max(peak, anonymous())
        watching = threading.Thread(target=watch)
        watching.start()
        big = model(11, 64_000)
        saved = seeded.save_initialized(big, sys.argv[1], seed=7, max_shard_size="2GB")
        done.set()
        watching.join()
        assert saved.nbytes > 3e9, saved.nbytes
        assert peak < 600, peak
        print("files", *saved.files)
        """
    )
    try:
        line = processes.output(code, tmp_path / "model")
        assert "files model-00001-of-00002.safetensors model-00002-of-00002.safetensors" in line
    finally:
        for file in (tmp_path / "model").glob("*"):
            file.unlink()


def test_killed_in_the_middle_and_resumed_is_equal(tmp_path):
    code = textwrap.dedent(BIG) + textwrap.dedent(
        """
        from seedbed.torch import writing

        writing.CHECKPOINT_SECONDS = 0.0
        writes = 0
        def write(fd, data, offset, real=writing.write_all):
            global writes
            real(fd, data, offset)
            writes += 1
            if writes == 12:
                print("here", flush=True)
                time.sleep(600)
        writing.write_all = write
        seeded.save_initialized(model(1, 4000), sys.argv[1], seed=7, max_shard_size="100MB")
        """
    )
    with processes.started(processes.python(code, tmp_path / "killed")) as process:
        assert any("here" in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert not (tmp_path / "killed").exists()
    space = {}
    exec(textwrap.dedent(BIG), space)
    options = {"seed": 7, "max_shard_size": "100MB"}
    with pytest.raises(OSError, match="is there from an earlier run; resume=True continues it"):
        seeded.save_initialized(space["model"](1, 4000), tmp_path / "killed", **options)
    with pytest.raises(OSError, match="of another run"):
        seeded.save_initialized(
            space["model"](1, 4000),
            tmp_path / "killed",
            seed=8,
            max_shard_size="100MB",
            resume=True,
        )
    resumed = seeded.save_initialized(
        space["model"](1, 4000), tmp_path / "killed", resume=True, **options
    )  # fmt: skip
    whole = seeded.save_initialized(space["model"](1, 4000), tmp_path / "whole", **options)
    assert 0 < resumed.nbytes < whole.nbytes
    for file in whole.files:
        one, other = ((tmp_path / name / file).read_bytes() for name in ("killed", "whole"))
        assert one == other
    again = seeded.save_initialized(
        space["model"](1, 4000), tmp_path / "whole", resume=True, **options
    )
    assert again.nbytes == 0
    with (tmp_path / "whole" / whole.files[0]).open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\\x01")
    report = seeded.verify_initialized(space["model"](1, 4000), tmp_path / "whole", **options)
    assert "differs" in report.wrong
    for folder in ("whole", "killed"):
        for file in (tmp_path / folder).glob("*"):
            file.unlink()


def test_a_folder_is_replaced_only_if_asked(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    with pytest.raises(OSError, match=r"save_initialized: .*model: exists; force=True replaces it"):
        seeded.save_initialized(on_meta("lstm"), folder, seed=7)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    seeded.save_initialized(on_meta("lstm"), folder, seed=7, force=True)
    assert not (folder / "notes").exists()
    assert seeded.verify_initialized(on_meta("lstm"), folder, seed=7).ok
    empty = tmp_path / "empty"
    empty.mkdir()
    assert seeded.save_initialized(on_meta("lstm"), empty, seed=7).files


class Statistics(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.register_buffer("seen", torch.zeros(3))


def test_a_buffer_without_values_is_refused(tmp_path):
    with torch.device("meta"):
        model = Statistics()
    with pytest.raises(ValueError, match="save_initialized: seen: has no values, and the model's"):
        seeded.save_initialized(model, tmp_path / "model", seed=7)

    def using(model):
        model.layer.reset_parameters()
        model.seen.zero_()

    saved = seeded.save_initialized(model, tmp_path / "model", seed=7, using=using)
    assert loaded(tmp_path / "model", saved)["seen"].tolist() == [0, 0, 0]
    assert model.seen.is_meta
    saved = seeded.save_initialized(Statistics(), tmp_path / "plain", seed=7)
    assert "seen" in loaded(tmp_path / "plain", saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_shard_size": "5 gigs"}, "max_shard_size must be"),
        ({"max_shard_size": 0}, "max_shard_size must be"),
        ({"dtype": "int8"}, "dtype must be a floating-point dtype"),
        ({"rules": {"bias": "zeros"}}, "unmatched: weight"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    model = torch.nn.Linear(2, 2, device="meta")
    with pytest.raises(ValueError, match=f"save_initialized: .*{message}"):
        seeded.save_initialized(model, tmp_path / "model", **{"seed": 7, **arguments})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_any_work(tmp_path, monkeypatch):
    from seedbed.torch import writing

    usage = type(writing.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(OSError, match="the disk has 10 bytes free"):
        seeded.save_initialized(on_meta("lstm"), tmp_path / "model", seed=7)
    assert not list(tmp_path.iterdir())
