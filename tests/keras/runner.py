"""Programs on a backend of Keras, each in a process of its own."""

import sys
from pathlib import Path

from tests import processes

ROOT = Path(__file__).parents[2]


def run(backend, *arguments, **environment):
    """Run Python, which must succeed, and return what it prints."""
    done = processes.run(
        [sys.executable, "-W", "ignore", *arguments],
        {
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            **environment,
        },
        cwd=ROOT,
        timeout=600,
    )
    return done.stdout
