"""What the tests need under emulation: children of a test run in the emulator, too."""

import os
import sys


def pytest_configure():
    sys.executable = os.environ["SEEDBED_EMULATED_PYTHON"]
