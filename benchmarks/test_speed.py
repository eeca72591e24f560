"""pytest-benchmark cases: ``python -m pytest benchmarks --benchmark-only``."""

import pytest

from .contenders import DISTRIBUTIONS, DTYPES, LIBRARIES, contender

SIZES = (64 * 64, 10**6, 10**7)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_speed(benchmark, library, distribution, dtype, size):
    call = contender(library, distribution, dtype, size)
    if call is None:
        pytest.skip(f"{library} is not installed or cannot draw {distribution} {dtype}")
    benchmark.group = f"{distribution} {dtype} {size}"
    benchmark.extra_info["values"] = size
    call()  # compile and warm up
    benchmark(call)
