"""Seeds: which stream of random numbers an initializer draws from."""

import hashlib
import secrets
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, as_index, brief
from ..locks import renewed_lock

SEEDS = 2**64
DRAWS = 2**31 - 1  # of a generator: from 2**31 on the counter's word is that of rows of keys

_turn = renewed_lock()  # to draw: of all generators, for it is held for an instant


class Stream(NamedTuple):
    """A stream of random numbers: the Philox key, and the fourth word of its counter."""

    seed: int
    draw: int = 0


class SeedGenerator:
    """Seeds that advance: each draw takes the next stream of one seed.

    Parameters
    ----------
    seed : int, optional
        In [0, 2**64). Drawn from the operating system by default; the attribute `seed` tells it.

    Examples
    --------
    >>> generator = SeedGenerator(7)
    >>> generator.next(), generator.next()
    (Stream(seed=7, draw=1), Stream(seed=7, draw=2))
    """

    def __init__(self, seed: int | None = None) -> None:
        self._initial = None if seed is None else check_master(seed, owner="SeedGenerator")
        self.seed = random_seed() if self._initial is None else self._initial
        self._draws = 0

    def next(self) -> Stream:
        """Return the next stream; draws are numbered from 1."""
        with _turn:
            if self._draws == DRAWS:
                raise ArgumentError(f"has no more than {DRAWS} draws; take another seed").named(
                    "SeedGenerator"
                )
            self._draws += 1
            return Stream(self.seed, self._draws)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs for a generator that starts anew."""
        return {"seed": self._initial}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SeedGenerator":
        """Return a generator from the result of `get_config`, or of Keras' own generator."""
        return cls(config.get("seed"))


# What initializers take; True and False are refused.
Seed = SupportsIndex | SeedGenerator | Stream | None


def check_seed(seed: Any, owner: str | None = None) -> int | SeedGenerator | Stream | None:
    """Return a seed as None, an int in [0, 2**64), a SeedGenerator or a Stream."""
    if seed is None or isinstance(seed, SeedGenerator):
        return seed
    if isinstance(seed, Stream):
        return Stream(
            _integer(seed.seed, "seed of a Stream", SEEDS, owner),
            _integer(seed.draw, "draw of a Stream", DRAWS + 1, owner),
        )
    return _integer(seed, "seed", SEEDS, owner, ", None or a SeedGenerator")


def check_master(seed: Any, name: str = "seed", owner: str | None = None) -> int:
    """Return a seed from which others are derived: an int in [0, 2**64)."""
    return _integer(seed, name, SEEDS, owner)


def _integer(value: Any, name: str, end: int, owner: str | None, others: str = "") -> int:
    need = f"{name} must be an integer in [0, 2**{end.bit_length() - 1}){others}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = as_index(value)
    except TypeError:
        raise ArgumentTypeError(f"{need}; given {brief(value)}").named(owner) from None
    if not 0 <= number < end:
        raise ArgumentError(f"{need}; given {brief(value)}").named(owner)
    return number


def random_seed() -> int:
    """Return a seed from the operating system, in [0, 2**64)."""
    return secrets.randbits(64)


def key(text: str | bytes) -> int:
    r"""Return the 64-bit key of a text or of bytes, for rows of keys.

    The first 8 bytes, as a little-endian integer, of the SHA-256 of: the 13 bytes
    ``seedbed.keys\0``, then the bytes, or the text in UTF-8.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    int
        In [0, 2**64). Of 10**9 texts two have the same key with a probability of 3 %.

    Examples
    --------
    >>> key("user/4711") == key(b"user/4711")
    True
    """
    if not isinstance(text, (str, bytes)):
        raise ArgumentTypeError(f"text must be str or bytes; given {brief(text)}").named("key")
    content = text.encode() if isinstance(text, str) else text
    return _first_word(b"seedbed.keys\0" + content)


def _first_word(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def derive(master: int, name: str) -> int:
    r"""Return the seed of a table or parameter of that name under a master seed.

    The first 8 bytes, as a little-endian integer, of the SHA-256 of: the 15 bytes
    ``seedbed.tables\0``, the master seed as 8 little-endian bytes, the name in UTF-8. So values
    depend on the own name and on nothing else.

    Parameters
    ----------
    master : int
        In [0, 2**64).
    name : str
        Any text.

    Returns
    -------
    int
        In [0, 2**64).

    Examples
    --------
    >>> derive(7, "user")
    12067601391634940634
    """
    checked = check_master(master, "master", "derive")
    if not isinstance(name, str):
        raise ArgumentTypeError(f"name must be a text; given {brief(name)}").named("derive")
    return _first_word(b"seedbed.tables\0" + checked.to_bytes(8, "little") + name.encode())
