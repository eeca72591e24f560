"""The pool: threads that are refused, interrupted, forked away or late leave no work undone."""

import _thread
import gc
import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from seedbed import initializers
from seedbed.values import pool, threads
from tests import processes

ROOT = Path(__file__).parents[2]


def program(name, *arguments, **environment):
    """Run one of the programs of tests/faults, which says how it went."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.faults.{name}", *arguments]
    return processes.run(command, environment, cwd=ROOT).stdout


@pytest.fixture
def new_pool():
    """A pool without threads."""
    pool._pool.close()
    pool._start_afresh()
    yield
    pool._pool.close()
    pool._start_afresh()


class Work:
    """Slow chunks that note what was done, and who is at work."""

    def __init__(self, n):
        self.hits = np.zeros(n, int)
        self.working = set()

    def __call__(self, begin, end):
        me = threading.get_ident()
        self.working.add(me)
        time.sleep(0.002)
        self.hits[begin:end] += 1
        self.working.discard(me)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
@pytest.mark.parametrize("first", range(6))
def test_helpers_that_started_are_waited_for_where_others_are_refused(
    new_pool, monkeypatch, first, error
):
    started, real = [], _thread.start_new_thread

    def start(*arguments):
        if len(started) == first:
            raise error
        started.append(real(*arguments))

    monkeypatch.setattr(_thread, "start_new_thread", start)
    work = Work(40)
    threads.run_chunks(work, 40, 1)
    assert (work.hits == 1).all()
    assert not work.working
    taken = []
    threads.hand_over(range(10), taken.append, 2)
    assert taken == list(range(10))


def test_arrays_and_tables_are_right_whichever_threads_are_refused():
    """As a user with a limit of processes, too."""
    said = program("refused_threads", 1, 1).splitlines()
    assert said[-1] == "0 cases wrong"
    assert len(said) == 2 * (2 + 4 + 6) + (7 if os.getuid() == 0 else 1) + 1
    for line in said[:-1]:
        assert line.endswith("{'arrays right': 1, 'tables right': 1}")


def test_an_interrupt_at_any_instruction_comes_out_when_no_helper_is_at_work():
    said = program("interrupts", 20, NUMBA_NUM_THREADS="5").splitlines()
    assert ["ended as they should" in line for line in said] == [True, True]


def test_an_interrupt_as_a_thread_starts_loses_no_helper(new_pool, monkeypatch):
    """The thread has started, and the caller does not know."""
    real = _thread.start_new_thread

    def start(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", start)
        interrupts = 0
        for _ in range(20):  # until all threads are there
            try:
                threads.run_chunks(Work(40), 40, 1)
            except KeyboardInterrupt:
                interrupts += 1
        assert interrupts
    together = threading.Barrier(threads.count(), timeout=20)
    threads.run_chunks(lambda begin, end: together.wait(), threads.count(), 1)
    assert pool._pool._threads <= threads.most()


WAITING = """
import os, signal, threading, time
from seedbed.values import threads
main, done = threading.get_ident(), []
def task(begin, end):
    if threading.get_ident() == main:
        while not helped.wait(0.01): pass
        return
    helped.set()
    time.sleep(0.1)  # the caller waits for this chunk by now
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.03)
    done.append(begin)
def chunks():
    threads.run_chunks(task, 2, 1)
def items():
    def made():
        yield 0
        helped.wait()  # else the caller might take it itself
        yield from range(1, 9)
    threads.hand_over(made(), lambda item: task(item, item + 1), 2)
for run in chunks, items:
    helped = threading.Event()
    if run is items:
        main = None
    try:
        run()
    except KeyboardInterrupt:
        print(run.__name__, len(done))
"""


def test_an_interrupt_of_a_caller_that_waits_comes_out_when_the_helper_has_ended():
    said = processes.output(WAITING, NUMBA_NUM_THREADS="2")
    assert said.splitlines() == ["chunks 1", "items 2"]


def test_ctrl_c_at_random_instants_ends_the_process():
    said = program("signals", 25, 0, NUMBA_NUM_THREADS="4")
    assert said.startswith("children: {'exit -2': 25}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forks_beside_threads_that_write_draw_and_verify():
    assert program("forks", 8) == "{'right': 8}\n"


def test_an_interrupt_counts_more_than_an_error():
    def task(begin, end):
        raise KeyboardInterrupt if begin == 1 else ValueError(begin)

    together = threading.Barrier(2, timeout=20)
    with pytest.raises(KeyboardInterrupt):
        threads.run_chunks(lambda begin, end: (together.wait(), task(begin, end)), 2, 1)


def test_sleeping_threads_keep_nothing_alive():
    class Data(np.ndarray):
        pass

    data = np.zeros(64, "int64").view(Data)
    gone = weakref.ref(data)

    def task(begin, end, data=data):
        data[begin:end] = begin

    def take(item, data=data):
        data[item] = item

    for _ in range(20):
        threads.run_chunks(task, 64, 1)
        threads.hand_over(range(3), take, 1)
    with pytest.raises(ZeroDivisionError):
        threads.run_chunks(lambda begin, end, data=data: 1 // 0, 64, 1)
    del data, task, take
    gc.collect()
    end = time.monotonic() + 10  # a helper that came too late still looks on
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert gone() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_do_not_accumulate():
    callers = [
        threading.Thread(target=lambda: [threads.run_chunks(Work(9), 9, 1) for _ in range(20)])
        for _ in range(12)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert pool._pool._threads <= threads.most()
    before = len(os.listdir("/proc/self/task"))
    for _ in range(200):
        threads.run_chunks(lambda begin, end: None, 20, 1)
        threads.hand_over(range(3), lambda item: None, 1)
    assert len(os.listdir("/proc/self/task")) <= before


def test_a_daemon_thread_may_fill_while_the_interpreter_ends():
    code = """
import os, sys, threading, time
import numpy as np
from seedbed import initializers
init = initializers.TruncatedNormal(seed=1)
init((2_000_000,))
def forever():
    out = np.empty(2_000_000, "float32")
    while True:
        init(out.shape, out=out)
for number in range(15):
    child = os.fork()
    if not child:
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(number / 1000)
        sys.exit()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("ended")
"""
    assert processes.output(code) == "ended\n"


def test_threads_help_on_when_the_main_thread_has_ended():
    """But Python 3.12 and later start no new ones then."""
    code = """
import threading
from seedbed.values import threads
def train():
    threading.main_thread().join()
    together = threading.Barrier(4, timeout=20)
    threads.run_chunks(lambda begin, end: together.wait(), 4, 1)
    print("together")
begun = threading.Barrier(4, timeout=20)
threads.run_chunks(lambda begin, end: begun.wait(), 4, 1)
threading.Thread(target=train).start()
"""
    assert processes.output(code, NUMBA_NUM_THREADS="4") == "together\n"


def test_subinterpreters_end_their_threads():
    pytest.importorskip("_testcapi", reason="a Python without its own test modules")
    code = """
import sys, _testcapi
inner = '''
import sys, threading
sys.path[:] = %r
from seedbed.values import pool, threads
hits = []
together = threading.Barrier(4, timeout=20)
threads.run_chunks(lambda begin, end: hits.append(together.wait()), 4, 1)
print(sorted(hits), pool._pool._threads, flush=True)
''' % (sys.path,)
sys.exit(_testcapi.run_in_subinterp(inner))
"""
    assert processes.output(code, NUMBA_NUM_THREADS="4") == "[0, 1, 2, 3] 3\n"


class TestHandingOver:
    def test_the_next_items_are_made_meanwhile(self):
        begun = threading.Semaphore(0)

        def items():
            yield 0
            assert begun.acquire(timeout=20)  # is being taken
            yield 1

        taken = []

        def take(item):
            begun.release()
            taken.append(item)

        threads.hand_over(items(), take, 1)
        assert taken == [0, 1]

    @pytest.mark.parametrize("ahead", [0, 1, 3])
    def test_no_more_than_so_many_are_made_ahead(self, ahead):
        taken = []

        def items():
            for item in range(30):
                assert item - len(taken) <= ahead
                yield item

        def take(item):
            time.sleep(0.001)
            taken.append(item)

        threads.hand_over(items(), take, ahead)
        assert taken == list(range(30))

    def test_one_at_a_time_in_order(self):
        work, taken = Work(50), []

        def take(item):
            assert not work.working
            work(item, item + 1)
            taken.append(item)

        threads.hand_over(range(50), take, 5)
        assert taken == list(range(50))

    def test_an_error_of_the_taker_ends_the_making(self):
        made, taken = [], []

        def items():
            for item in range(1000):
                made.append(item)
                yield item

        def take(item):
            if item == 3:
                raise ValueError("item 3")
            taken.append(item)

        with pytest.raises(ValueError, match="item 3"):
            threads.hand_over(items(), take, 2)
        assert taken == [0, 1, 2]
        assert len(made) <= 7

    def test_an_error_of_the_maker_comes_out_when_nothing_is_taken_any_more(self):
        work = Work(10)

        def items():
            yield from range(5)
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            threads.hand_over(items(), lambda item: work(item, item + 1), 2)
        assert not work.working

    def test_where_every_thread_is_busy(self):
        """Each of them hands over itself, and nobody is left to take."""
        together = threading.Barrier(threads.count(), timeout=20)
        sums = np.zeros(threads.count(), int)

        def task(begin, end):
            together.wait()
            taken = []
            threads.hand_over(range(20), taken.append, 2)
            assert taken == list(range(20))
            sums[begin] = sum(taken)

        threads.run_chunks(task, threads.count(), 1)
        assert (sums == 190).all()


def test_signals_reach_python_while_chunks_run():
    """A handler that returns interrupts nothing."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        expected = initializers.RandomNormal(seed=1)((1_000_000,))

        def bother():
            for _ in range(50):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.0005)

        thread = threading.Thread(target=bother)
        thread.start()
        while thread.is_alive():
            assert (initializers.RandomNormal(seed=1)((1_000_000,)) == expected).all()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen
