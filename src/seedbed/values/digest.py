"""Which code makes the values."""

import functools
import secrets

from seedbed_kernels import digest

DECIDING = (
    "seedbed_kernels",
    "seedbed.errors",
    "seedbed.locks",
    "seedbed.seeds",
    "seedbed.values",
    "seedbed.gpu",
    "seedbed.initializers",
)
"""Modules and packages that have a say in a value; tables, frameworks and commands have none."""


@functools.cache
def stream_hash() -> str:
    """Return a SHA-256 of all code that values depend on.

    A run that was interrupted goes on only with the very code that began it, changes that the
    stream version should have told of included. Where the code cannot be read, no other process
    has this one's hash.
    """
    return digest.of(*DECIDING) or f"unknown {secrets.token_hex(16)}"
