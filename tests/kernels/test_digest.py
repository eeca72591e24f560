"""The digest of code: of what Python loads, wherever it comes from, and of all that has a say."""

import compileall
import importlib
import json
import shutil
import sys
import zipfile

import pytest

from seedbed.values.digest import DECIDING, stream_hash
from seedbed_kernels import digest
from tests import oracle, processes

SOURCE = "LEAST = {'a', 'b', 'c'}\n\ndef f(x=1.5):\n    return x in {'a', 'b', 'c'}, lambda: -0.0\n"
REACHED = """
import json, sys
from seedbed import initializers
SHAPES = {"STFT": (4, 1, 3), "Identity": (4, 4)}
kinds = {kind for kind in vars(initializers).values() if isinstance(kind, type)}
for kind in kinds:
    if issubclass(kind, initializers.Initializer) and kind is not initializers.Initializer:
        kind()(SHAPES.get(kind.__name__, (3, 3, 4, 4)))
initializers.RandomUniform(seed=initializers.SeedGenerator(1))((2_000_000,), "float16")
print(json.dumps([name for name in sys.modules if name.startswith("seedbed")]))
"""


def package(folder, name, source=SOURCE):
    """Make a package with a module in a folder, and return the folder."""
    (folder / name / "inner").mkdir(parents=True)
    (folder / name / "__init__.py").write_text('"""A package."""\n')
    (folder / name / "inner" / "__init__.py").write_text("")
    (folder / name / "inner" / "module.py").write_text(source)
    return folder


def compiled_only(source, folder):
    shutil.copytree(source, folder)
    assert compileall.compile_dir(folder, quiet=1, legacy=True)
    for path in folder.rglob("*.py"):
        path.unlink()
    return folder


def zipped(source, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in source.rglob("*.py*"):
            archive.write(file, file.relative_to(source))
    return path


@pytest.fixture
def digest_in(monkeypatch):
    """Return a function that gives the digest of a package where a path entry comes first."""

    def found(entry, name):
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(entry))
            importlib.invalidate_caches()
            try:
                return digest.of(name)
            finally:
                assert name not in sys.modules

    return found


def test_the_digest_is_that_of_what_is_loaded(tmp_path, digest_in):
    plain = package(tmp_path / "plain", "thing")
    changed = package(tmp_path / "changed", "thing", SOURCE.replace("-0.0", "0.0"))
    sources = [digest_in(entry, "thing") for entry in (plain, zipped(plain, tmp_path / "a.zip"))]
    assert sources[0] == sources[1]
    bare = compiled_only(plain, tmp_path / "bare")
    codes = [digest_in(entry, "thing") for entry in (bare, zipped(bare, tmp_path / "b.zip"))]
    assert codes[0] == codes[1]
    others = [
        digest_in(entry, "thing")
        for entry in (changed, compiled_only(changed, tmp_path / "bare_changed"))
    ]
    assert len({sources[0], codes[0], *others}) == 4
    assert None not in (*sources, *codes, *others)


def test_compiled_code_has_one_digest_in_every_process(tmp_path):
    """Sets have another order in each, and paths and times of compilation do not count."""
    found = set()
    for seed in ("1", "2", "3"):
        plain = package(tmp_path / f"plain {seed}", "thing")
        bare = compiled_only(plain, tmp_path / f"bare {seed}")
        code = "from seedbed_kernels import digest; print(digest.of('thing'))"
        found.add(processes.output(code, PYTHONHASHSEED=seed, PYTHONPATH=str(bare)))
    assert len(found) == 1


def test_what_cannot_be_read_has_no_digest(tmp_path, digest_in, monkeypatch):
    assert digest.of("itertools") is None  # of C
    assert digest.of("there_is_no_such_module") is None
    entry = package(tmp_path, "thing")
    assert digest_in(entry, "thing") is not None
    monkeypatch.setattr(digest.pkgutil, "iter_modules", lambda path: [])
    assert digest.of("seedbed_kernels") is None  # though modules of it are loaded


def test_all_code_that_a_draw_reaches_is_in_the_digest():
    reached = set(json.loads(processes.output(REACHED).splitlines()[-1]))
    assert {"seedbed_kernels.haar_cpu", "seedbed.initializers.stft"} < reached
    # The front door decides no value, nor does what is looked up and not run.
    assert reached - {"seedbed"} <= set(digest.modules(*DECIDING))


def test_a_change_anywhere_in_it_is_another_stream_hash(tmp_path):
    """Such as `PRECISION`, which decides how a truncated normal is drawn."""
    code = "from seedbed.values.digest import stream_hash; print(stream_hash())"
    for name in ("seedbed", "seedbed_kernels"):
        source = importlib.import_module(name).__path__[0]
        shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert processes.output(code, PYTHONPATH=str(tmp_path)).strip() == stream_hash()
    recipes = tmp_path / "seedbed" / "values" / "recipes.py"
    text = recipes.read_text()
    assert "PRECISION = 320" in text
    recipes.write_text(text.replace("PRECISION = 320", "PRECISION = 321"))
    assert processes.output(code, PYTHONPATH=str(tmp_path)).strip() != stream_hash()


DRAW = """
import sys
import seedbed_kernels
from seedbed import initializers
assert seedbed_kernels.__file__.startswith(sys.argv[1]), seedbed_kernels.__file__
values = initializers.RandomUniform(0.0, 1.0, seed=7)((300,))
print(values.tobytes().hex(), "numba" in sys.modules)
"""
INSTALLED = {
    "compiled only": lambda source, folder: compiled_only(source, folder),
    "zip": lambda source, folder: zipped(source, folder.with_suffix(".zip")),
    "zip of compiled only": lambda source, folder: zipped(
        compiled_only(source, folder), folder.with_suffix(".zip")
    ),
}


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Return the sources of two releases, of which the second draws numbers half as large."""
    found = []
    for name in ("first", "second"):
        folder = tmp_path_factory.mktemp(name)
        for package in ("seedbed", "seedbed_kernels"):
            source = importlib.import_module(package).__path__[0]
            shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        found.append(folder)
    floats = found[1] / "seedbed_kernels" / "floats.py"
    text = floats.read_text()
    assert "TWO_M24 = F32(2.0**-24)" in text
    floats.write_text(text.replace("TWO_M24 = F32(2.0**-24)", "TWO_M24 = F32(2.0**-25)"))
    return found


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("compiled only", marks=pytest.mark.exhaustive),
        pytest.param("zip", marks=pytest.mark.exhaustive),
        "zip of compiled only",
    ],
)
def test_each_installation_draws_its_own_values(releases, tmp_path, kind):
    """On one cache folder, in one place, one after the other; what the first has kept it finds."""
    whole = oracle.values("uniform", (0.0, 1.0), "float32", range(300), 7)
    for release, values in zip(releases, (whole, whole / 2), strict=True):
        place = INSTALLED[kind](release, tmp_path / "place")
        cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(place)}
        expected = values.tobytes().hex()
        assert processes.output(DRAW, place, **cache).split() == [expected, "True"]
        if release == releases[0] and kind == "compiled only":
            assert processes.output(DRAW, place, **cache).split() == [expected, "False"]
        shutil.rmtree(tmp_path / "place", ignore_errors=True)
    assert len(list((tmp_path / "cache").iterdir())) == 2
