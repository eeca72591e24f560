"""The environment of all tests, which of them need a framework, and what was not run and why."""

import collections
import gc
import importlib.util
import os
import re
import tempfile

import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share what is set here
    # A cache of its own for each run: Numba's does not see changes in helper files. CI names one
    # for all its runs, of the same files.
    _cache = tempfile.TemporaryDirectory(prefix="seedbed-numba-")
    os.environ["NUMBA_CACHE_DIR"] = os.environ.get("SEEDBED_TEST_CACHE") or _cache.name
# The hashes must not depend on the number of threads; tests ask for up to seven.
os.environ.setdefault("NUMBA_NUM_THREADS", "7")
# Keras reads it once, at its first import in the test process, whichever module that is in.
os.environ["KERAS_BACKEND"] = "jax"

# A test needs the frameworks that are words of its path or name, its marks, or its parameters.
NAMES = (
    "keras",
    "tensorflow",
    "jax",
    "flax",
    "equinox",
    "torch",
    "dask",
    "zarr",
    "tensorstore",
    "moto",
    "s3fs",
    "gcsfs",
)
FRAMEWORKS = {name: name for name in NAMES}
FRAMEWORKS["tf"] = "tensorflow"
PICTURES = ("::seedbed.show", ".Initializer.plot")


def pytest_ignore_collect(collection_path):
    """Look for doctests in the package only: modules beside the tests import frameworks."""
    if collection_path.suffix == ".py" and not collection_path.name.startswith("test_"):
        return True
    return None


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive", action="store_true", help="run what differs little from other tests, too"
    )


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config, items):
    if not config.getoption("--exhaustive"):
        for item in items:
            if item.get_closest_marker("exhaustive"):
                item.add_marker(pytest.mark.skip(reason="runs with --exhaustive"))
    mark(items)


def mark(items):
    """Mark each test with the frameworks it needs; skip it where a package is not installed."""
    for item in items:
        if item.nodeid.endswith(PICTURES):  # examples, which have no marks
            item.add_marker("matplotlib")
        marks = {mark.name for mark in item.iter_markers()}
        words = set(re.split(r"[^a-z]+", item.nodeid.split("[")[0]))
        words |= marks
        if hasattr(item, "callspec"):
            words |= {value for value in item.callspec.params.values() if isinstance(value, str)}
        for package in {FRAMEWORKS[word] for word in words & FRAMEWORKS.keys()}:
            item.add_marker(package)
            item.add_marker("frameworks")
            marks.add(package)
        for package in sorted(marks & {*FRAMEWORKS.values(), "matplotlib"}):
            if importlib.util.find_spec(package) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {package}"))


def pytest_collection_finish():
    """Collect garbage seldom: frameworks and compilers hold millions of objects, which all stay."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def not_run(reports):
    """Return a line for each reason why tests were skipped."""
    counts = collections.defaultdict(collections.Counter)
    for report in reports:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        reason = re.sub(r"could not import '(\w+)'.*", r"needs \1", reason, flags=re.S)
        collected = isinstance(report, pytest.CollectReport)
        counts[reason]["file" if collected else "test"] += 1
    for reason, kinds in sorted(counts.items()):
        parts = (f"{count} {kind}{'s' * (count > 1)}" for kind, count in sorted(kinds.items()))
        yield f"{' and '.join(parts)}: {reason}"


def pytest_terminal_summary(terminalreporter):
    for line in not_run(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(f"Not run: {line}")

    from .cuda.conftest import EXECUTED, gpu

    ran = {
        report.nodeid.split("::")[0].rsplit("/")[-1]
        for report in terminalreporter.getreports("passed")
    }
    if EXECUTED:
        where = ["on the tests' driver"]
    elif gpu():
        where = ["on the GPU"]
    else:
        where = ["no GPU"]
    if "test_executed.py" in ran:
        where.append("fills ran on the tests' driver")
    if "test_ptx.py" in ran:
        where.append("kernels compiled to PTX and machine code")
    terminalreporter.write_line("CUDA: " + "; ".join(where))
