"""Imports point one way, and importing the package is cheap."""

import ast
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"keras", "tensorflow", "tf_keras", "jax", "torch", "flax", "dask", "zarr"}
CUDA = {"cupy", "nvmath"}
SOURCES = [
    *(ROOT / "src" / "seedbed").rglob("*.py"),
    *(ROOT / "kernels" / "seedbed_kernels").rglob("*.py"),
]
# What a layer may import of the package itself; deeper ones only.
SCALARS = {"philox", "floats", "gaussian", "draws", "samplers"}


def name(path):
    return str(path.relative_to(ROOT)).removeprefix("src/").removeprefix("kernels/")


def imports(path):
    """Return the absolute names of all modules that a file imports, anywhere in it."""
    package = name(path).removesuffix(".py").removesuffix("/__init__").split("/")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # "from . import x" may name modules: take both.
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def roots(path):
    return {module.split(".")[0] for module in imports(path)}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_its_own_file_imports_a_framework(path):
    own = {path.stem, *path.relative_to(ROOT).parts}
    own |= {"tensorflow", "jax", "torch"} if "keras" in own else set()  # Keras' backends
    own |= {"tf_keras"} if "tensorflow" in own else set()
    assert roots(path) & FRAMEWORKS <= own


def test_no_file_is_long():
    assert {name(path) for path in SOURCES if path.read_text().count("\n") > 400} == set()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_shim_imports_numba_cuda(path):
    found = {m for m in imports(path) if m.startswith(("numba.cuda", "numba_cuda"))}
    assert found == ({"numba.cuda"} if path.stem == "cuda_shim" else set())
    assert "cuda" in path.stem or not roots(path) & CUDA


@pytest.mark.parametrize("path", [p for p in SOURCES if "seedbed_kernels" in p.parts], ids=name)
def test_kernels_never_import_seedbed(path):
    assert "seedbed" not in roots(path)
    if path.stem in SCALARS:
        own = {m.split(".")[1] for m in imports(path) if m.startswith("seedbed_kernels.")}
        assert own <= SCALARS | {"compiling", "layout"}


# Every room, from the lowest floor up: a module imports its own room and those below, no other.
ROOMS = [
    {"errors", "locks", "__init__"},
    {"values", "seeds", "gpu"},
    {"storage"},
    {"initializers"},
    {"tables"},
    {"cli", "torch", "jax", "dask", "zarr"},
    {"keras", "__main__"},  # Keras draws on its backends
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def room(module):
    """Return the room of a module of the package: its first name."""
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize("path", [p for p in SOURCES if "seedbed_kernels" not in p.parts], ids=name)
def test_imports_point_one_way(path):
    own = name(path).split("/")[1].removesuffix(".py")
    if own == "__init__":  # the front door shows every room
        return
    for module in imports(path):
        if module.split(".")[0] != "seedbed" or module == "seedbed":
            continue
        other = room(module)
        if other in FLOOR:
            assert (
                FLOOR[other] < FLOOR[own]
                or other == own
                or {own, other} <= {"values", "gpu", "seeds"}
            ), (name(path), module)


def test_import_is_cheap():
    heavy = {"numba", "scipy", "tqdm", "matplotlib", "llvmlite", *FRAMEWORKS, *CUDA}
    code = "import sys, seedbed; print(*{m.split('.')[0] for m in sys.modules})"
    assert not heavy & set(processes.output(code).split())


@pytest.mark.parametrize("package", ["seedbed", "seedbed_kernels", "seedbed.cli"])
def test_a_big_endian_processor_is_refused_at_import(package):
    code = f"import sys; sys.byteorder = 'big'; import {package}"
    done = processes.run(processes.python(code), check=False)
    assert done.returncode == 1
    assert "\nImportError: Seedbed needs a little-endian processor" in done.stderr


def test_drawing_on_the_cpu_never_touches_cuda():
    code = (
        "import sys\nfrom seedbed import initializers\n"
        "initializers.GlorotUniform(seed=1)((3, 3))\n"
        "print(*[m for m in sys.modules if m.startswith(('numba.cuda', 'numba_cuda.numba.cuda'))])"
    )
    assert not [m for m in processes.output(code).split() if m not in ("numba.cuda",)]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_module_reads_the_time_of_day(path):
    """Whatever waits or saves now and then goes by a clock that never jumps."""
    text = path.read_text()
    for clock in ("time.time(", "time_ns(", "datetime", "time.localtime", "time.gmtime"):
        assert clock not in text, clock
