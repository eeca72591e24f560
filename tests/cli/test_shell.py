"""`seedbed completion` and `seedbed warm`: what a shell and a container image need."""

import os
import shutil
import sys

import pytest

from seedbed.cli import completion, main, warm
from seedbed.values import recipes
from seedbed.values.dtypes import as_dtype
from seedbed_kernels import disk_cache, samplers
from tests import processes

ASKED = {
    "bash": """source {script}
COMP_WORDS=(seedbed {words}) COMP_CWORD={count} COMP_LINE="seedbed {words}"
_shtab_seedbed
echo ${{COMPREPLY[@]}}""",
    "fish": 'source {script}; complete -C "seedbed {words}"',
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_the_shell_reads(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text.rstrip("\n") == completion.script(shell).rstrip("\n")  # nothing is escaped
    assert "glorot_uniform" in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        processes.run([shell, "-n", str(tmp_path / "script")])


@pytest.mark.parametrize("shell", [shell for shell in ASKED if shutil.which(shell)])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ver", {"verify"}),
        ("show --initializer he", {"he_normal", "he_uniform"}),
        ("table --dtype bf", {"bfloat16"}),
    ],
)
def test_a_shell_completes_names(shell, words, expected, tmp_path):
    script = tmp_path / "script"
    script.write_text(completion.script(shell))
    code = ASKED[shell].format(script=script, words=words, count=len(words.split()))
    found = processes.run([shell, "-c", code], {"HOME": str(tmp_path)}).stdout
    words = found.split() if shell == "bash" else [line.split()[0] for line in found.splitlines()]
    assert expected == set(words)


def test_completion_says_how_to_install_what_it_needs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'seedbed[completion]'" in capsys.readouterr().err


def test_warm_has_an_initializer_for_each_sampler():
    kinds = {
        type(recipes.kernel_sampler(init.recipe((3, 5)), as_dtype("float32")))
        for init in warm.SAMPLERS
    }
    assert kinds == {kind for kind in vars(samplers).values() if hasattr(kind, "_fields")}


def test_what_is_warm_is_not_compiled_again(monkeypatch, capsys):
    """Here of one sampler: the command takes a minute for all."""
    monkeypatch.setattr(warm, "SAMPLERS", warm.SAMPLERS[:1])
    monkeypatch.setattr(warm, "MATRICES", ())
    assert main(["warm", "--dtype=float32"]) == 0
    folder, _, rest = capsys.readouterr().out.partition(": ")
    assert folder == str(disk_cache.writable_folder())
    assert "kernels compiled and kept" in rest
    code = (
        "import sys\nfrom seedbed import initializers\n"
        "init = initializers.GlorotUniform(seed=1)\n"
        "init((9, 3)), init((9, 3), rows=[1]), initializers.RandomUniform(seed=1).keyed([1], 3)\n"
        "print('numba' in sys.modules)"
    )
    assert processes.output(code, NUMBA_CACHE_DIR=folder).split() == ["False"]
    assert main(["warm", "--dtype=float32"]) == 0
    assert ": 0 kernels" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["int8", "complex64", "nonsense"])
def test_warm_refuses_other_dtypes(dtype, capsys):
    assert main(["warm", f"--dtype={dtype}"]) == 2
    assert dtype in capsys.readouterr().err


def test_warm_needs_a_folder(monkeypatch, capsys):
    monkeypatch.setattr(disk_cache, "writable_folder", lambda: None)
    assert main(["warm"]) == 2
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--values=0", "--values=x", "--dtype=bfloat16"])
def test_bench_refuses(option, capsys):
    assert main(["bench", option]) == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_bench_says_its_units(capsys):
    assert main(["bench", "--values=1000", "--dtype=float64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("10⁹ float64 values a second, into an array of 1,000 ")
    assert len(lines) == 2 + 2 + 3


def test_a_system_without_positioned_writes_is_told_in_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.delattr(os, "pwrite")
    out = tmp_path / "table.npy"
    assert main(["table", "--shape=8x8", "--initializer=zeros", f"--out={out}"]) == 2
    err = capsys.readouterr().err
    assert "Windows" in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_urls_are_refused_with_a_hint(capsys):
    for url in ("s3://bucket/t.npy", "gs://bucket/t.safetensors", "https://example.org/t.npy"):
        assert main(["table", "--shape=8x8", "--initializer=zeros", f"--out={url}"]) == 2
        err = capsys.readouterr().err
        assert url in err
        assert "copy it" in err
