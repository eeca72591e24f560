"""Programs that need a Python process of their own."""

import os
import subprocess
import sys


def output(code: str, **environment: str) -> str:
    """Run a program that must succeed, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,  # errors are pytest's to show
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout
