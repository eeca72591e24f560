"""The thread pool: coverage of the range, faults, fork, nested and concurrent use, Ctrl-C."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from seedbed import initializers
from seedbed.values import threads
from tests import processes


@pytest.mark.parametrize(("n", "grain"), [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 1), (999, 64)])
def test_every_index_once(n, grain):
    hits = np.zeros(n, int)

    def task(begin, end):
        assert 0 <= begin <= end <= n
        assert end - begin <= grain
        hits[begin:end] += 1

    threads.run_chunks(task, n, grain)
    assert (hits == 1).all()


def test_several_threads_take_part():
    assert threads.count() > 1
    barrier = threading.Barrier(threads.count(), timeout=20)
    threads.run_chunks(lambda begin, end: barrier.wait(), threads.count(), 1)


def test_the_first_error_comes_out_and_ends_the_run():
    begun = []

    def task(begin, end):
        begun.append(begin)
        if begin == 30:
            raise ValueError("chunk 30")
        time.sleep(0.001)

    with pytest.raises(ValueError, match="chunk 30"):
        threads.run_chunks(task, 10_000, 1)
    assert len(begun) < 1000


def test_nested_runs():
    hits = np.zeros((40, 40), int)

    def outer(begin, end):
        def inner(left, right):
            hits[begin:end, left:right] += 1

        threads.run_chunks(inner, 40, 1)

    threads.run_chunks(outer, 40, 1)
    assert (hits == 1).all()


def test_concurrent_calls_from_many_threads():
    expected = initializers.RandomNormal(seed=1)((2_000_000,))
    results = [None] * 6

    def call(i):
        results[i] = initializers.RandomNormal(seed=1)((2_000_000,))

    callers = [threading.Thread(target=call, args=(i,)) for i in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


FORK = """
import os
from seedbed import initializers
init = initializers.RandomUniform(seed=1)
expected = init((2_000_000,)).sum()  # the pool has threads by now
child = os.fork()
if not child:
    os._exit(0 if init((2_000_000,)).sum() == expected else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert init((2_000_000,)).sum() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_draws_too():
    processes.output(FORK)


FORK_WHILE_COMPILING = """
import os, threading
from numba.core.compiler_lock import global_compiler_lock
from seedbed_kernels import fills_cpu, forking
from seedbed import initializers
begun, forked = threading.Event(), threading.Event()
def compile():  # as long as the fork allows
    with forking.loading, global_compiler_lock:
        begun.set()
        forked.wait(1)
threading.Thread(target=compile).start()
begun.wait()
child = os.fork()
if not child:
    initializers.RandomUniform(seed=1)((10,), "float64")
    initializers.Orthogonal(seed=1)((4, 4))
    os._exit(0)
forked.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_a_thread_compiles(tmp_path):
    processes.output(FORK_WHILE_COMPILING, NUMBA_CACHE_DIR=str(tmp_path))  # the child compiles, too


LONG_FILL = """
import numpy as np
from seedbed import initializers
init = initializers.TruncatedNormal(seed=1)
out = np.empty(20_000_000, "float64")
init((10,), "float64")
print("ready", flush=True)
while True:
    init((out.size,), out=out)
"""


def test_ctrl_c_ends_a_fill_soon():
    with processes.started(processes.python(LONG_FILL)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


def test_threads_follow_numba():
    import numba

    numba.set_num_threads(2)
    try:
        assert threads.count() == 2
    finally:
        numba.set_num_threads(threads.most())


def test_fills_after_the_main_thread_has_ended():
    code = (
        "import atexit, numpy as np\nfrom seedbed import initializers\n"
        "draw = lambda: initializers.RandomNormal(seed=7)((1500, 700))\nwhole = draw()\n"
        "atexit.register(lambda: print((draw() == whole).all()))"
    )
    assert processes.output(code).strip() == "True"
