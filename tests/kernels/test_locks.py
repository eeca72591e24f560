"""Locks are given back whenever an interrupt comes."""

import threading

import pytest

from seedbed_kernels.locks import Lock


class Interrupted(Lock):
    """A lock at whose taking an interrupt comes: before, or after it."""

    taken = False

    def acquire(self):
        if self.taken:
            super().acquire()
        raise KeyboardInterrupt


def is_free(lock):
    """Return whether another thread can take a lock."""
    found = []
    thread = threading.Thread(target=lambda: found.append(Lock.acquire(lock, blocking=False)))
    thread.start()
    thread.join()
    return found == [True]


@pytest.mark.parametrize("taken", [False, True])
def test_an_interrupt_as_a_lock_is_taken(taken):
    lock = Interrupted()
    lock.taken = taken
    with pytest.raises(KeyboardInterrupt), lock:
        raise AssertionError
    assert is_free(lock)


def test_an_interrupt_in_the_block():
    lock = Lock()
    with pytest.raises(KeyboardInterrupt), lock:
        raise KeyboardInterrupt
    assert is_free(lock)


def test_a_thread_may_take_it_twice():
    lock = Lock()
    with lock, lock:
        assert not is_free(lock)
    assert is_free(lock)
