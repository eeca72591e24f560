"""Forks beside a first use: no child inherits a lock of a thread that it does not inherit."""

import os

import pytest

from tests import processes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

# What a process does for the first time in a thread, while another one forks.
FIRST_USES = {
    "fill": "seedbed.initializers.RandomUniform(seed=1)((700, 700))",
    "matrix": "seedbed.initializers.Orthogonal(seed=1)((40, 30), 'float64')",
    "array": "seedbed.initializers.Constant([1.5] * 9)((100_000, 9), 'float16')",
    "basis": "seedbed.initializers.STFT('real')((16, 1, 9))",
}
FORK = """
import os, sys, threading, time
import seedbed

def use():
    return {use}.tobytes()

found = []
thread = threading.Thread(target=lambda: found.append(use()))
start = time.monotonic()
thread.start()
children = []
for delay in (0, 0.003, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1):
    time.sleep(max(0, start + delay - time.monotonic()))
    children.append(os.fork())
    if not children[-1]:
        try:
            own = use()
            thread.join(0)
            os._exit(0 if not found or own == found[0] else 3)
        finally:
            os._exit(4)
thread.join()
end = time.monotonic() + 60
codes = dict.fromkeys(children)
while None in codes.values() and time.monotonic() < end:
    for child in [child for child, code in codes.items() if code is None]:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            codes[child] = os.waitstatus_to_exitcode(status)
    time.sleep(0.01)
print(*codes.values())
"""


@pytest.mark.parametrize("use", FIRST_USES)
def test_children_forked_beside_a_first_use_can_use_it_too(use):
    assert processes.output(FORK.format(use=FIRST_USES[use])).split() == ["0"] * 8


# Each import that a first use makes must hold forks up: no chance is needed to see that it does.
IMPORTS = """
import sys, traceback
import numpy as np
import seedbed
from seedbed_kernels import forking

def held():
    compiler = sys.modules.get("numba.core.compiler_lock")
    compiler = getattr(compiler, "global_compiler_lock", None)
    return forking.loading._is_owned() or (compiler is not None and compiler.is_locked())

found = []

def hook(event, arguments):
    if event == "import" and arguments[0] not in sys.modules and not held():
        found.append((arguments[0], traceback.format_stack()[-8:]))

sys.addaudithook(hook)
i = seedbed.initializers
for shape in ((3, 3), (1000, 600)):
    for init in (
        i.RandomUniform(seed=1),
        i.Orthogonal(seed=1),
        i.Constant(1.5),
        i.Constant(np.ones(shape)),
        i.Identity(),
        i.GlorotNormal(),
        i.RandomNormal(seed=seedbed.SeedGenerator(3)),
    ):
        init(shape)
    i.RandomUniform(seed=1)(shape, window=(slice(1, 2), slice(None)))
    i.RandomUniform(seed=1)(shape, rows=[1, 0])
    i.RandomUniform(seed=1).keyed([1, 0], 5)
i.DeltaOrthogonal(seed=1)((3, 3, 4, 4))
i.STFT("real")((4, 1, 3))
i.serialize(i.get("glorot_uniform"))
repr(i.Constant([1.5]))
for name, stack in found:
    print("import of", name, *stack)
print(len(found))
"""


def test_every_import_on_the_way_to_a_value_holds_forks_up():
    assert processes.output(IMPORTS).strip() == "0"


# A lock that is taken before ours, and that loading needs, would be waited for in a circle.
HOOKS = """
import os, sys
hooks, register = [], os.register_at_fork

def noted(*, before=None, **others):
    if before is not None:
        hooks.append(before.__module__)
    register(**others) if before is None else register(before=before, **others)

os.register_at_fork = noted
import seedbed

seedbed.initializers.Orthogonal(seed=1)((40, 30), "float64")
seedbed.initializers.TruncatedNormal(seed=1)((700, 700))
assert "numba" in sys.modules
print(hooks)
"""


def test_nothing_that_loading_needs_is_taken_before_a_fork_waits_for_loading(tmp_path):
    printed = processes.output(HOOKS, XDG_CACHE_HOME=str(tmp_path), NUMBA_CACHE_DIR=None)
    assert printed.strip().endswith("'seedbed_kernels.forking']")
