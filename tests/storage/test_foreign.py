"""Bytes of others: bounds of depth and size, and values as they must be."""

import json
import os
import random
from pathlib import Path

import pytest

from seedbed.errors import FormatError
from seedbed.storage import foreign


def made(chance, depth):
    """Return a random JSON value and how deep it is."""
    kind = chance.randrange(5) if depth else 4
    if kind == 0:
        parts = [made(chance, depth - 1) for _ in range(chance.randrange(4))]
        return [value for value, _ in parts], 1 + max((d for _, d in parts), default=0)
    if kind == 1:
        parts = [made(chance, depth - 1) for _ in range(chance.randrange(4))]
        words = ['[{"', "]}", "\\", '\\"[', "a", "ü", "\n"]
        names = [chance.choice(words) * (n + 1) + str(n) for n in range(len(parts))]
        value = dict(zip(names, (v for v, _ in parts), strict=True))
        return value, 1 + max((d for _, d in parts), default=0)
    return chance.choice(["[[[[", '{"', "\\", "\\\\", "", 'a"b', 1, 2.5, None, True, "é"]), 0


def test_json_is_what_python_reads_and_its_depth_is_counted(monkeypatch):
    """Also where strings hold brackets, quotes and backslashes."""
    chance, refused = random.Random(3), 0
    for _ in range(3000):
        value, depth = made(chance, chance.randrange(8))
        limit = chance.randrange(4)
        monkeypatch.setattr(foreign, "MAX_DEPTH", limit)
        text = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
        if depth > limit:
            refused += 1
            with pytest.raises(FormatError, match=f"more than {limit} levels"):
                foreign.parse_json(text)
        else:
            assert foreign.parse_json(text) == value
    assert 300 < refused < 2700


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
        (b"[" * 100_000 + b"]" * 100_000, "more than 32 levels"),
        (b"[" + b"1," * 4_000_001 + b"1]", "more than 4,000,000 values"),
        (b"\xff\xfe[\x001\x00]\x00", "utf-8"),
        (b'{"a": 1} x', "Extra data"),
        (b"", "Expecting value"),
        (b'"' + b"\\" * 1001, "Unterminated"),
    ],
)
def test_json_that_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        foreign.parse_json(text)


@pytest.mark.parametrize(
    "number", ["-1", "-0", "1.0", "1e3", "NaN", "Infinity", str(2**64), "9" * 5000]
)
def test_numbers_of_headers(number):
    with pytest.raises(FormatError, match="must be an integer from 0"):
        foreign.parse_json(f"[{number}]".encode(), plain=True)
    assert foreign.parse_json(f"[0, {2**64 - 1}]".encode(), plain=True) == [0, 2**64 - 1]


@pytest.mark.parametrize("value", [True, None, 1.0, -1, "1", [1], 2**64])
def test_what_is_no_natural_number(value):
    with pytest.raises(FormatError, match="size must be an integer from 0"):
        foreign.natural(value, "size")
    with pytest.raises(FormatError, match="shape must be"):
        foreign.naturals([3, value], "shape")


def test_lists_of_naturals_have_a_length():
    assert foreign.naturals([], "shape") == ()
    assert foreign.naturals([1] * 64, "shape") == (1,) * 64
    for value, count in (([1] * 65, None), ([1], 2), ([1, 2, 3], 2), ((1, 2), 2), ("12", 2)):
        with pytest.raises(FormatError):
            foreign.naturals(value, "rows", count)


def test_any_surprise_is_one_line_with_the_path():
    for error in (
        KeyError("x"),
        IndexError(1),
        RecursionError("deep"),
        ZeroDivisionError(),
        MemoryError(),
    ):
        with (
            pytest.raises(FormatError, match=r"^a\.npy: damaged: "),
            foreign.understanding("a.npy", "damaged"),
        ):
            raise error
    with pytest.raises(FormatError, match=r"^a\.npy: gone$"), foreign.understanding("a.npy", "x"):
        raise OSError(5, "gone")
    with pytest.raises(KeyboardInterrupt), foreign.understanding("a.npy", "damaged"):
        raise KeyboardInterrupt


def test_only_regular_files_are_opened(tmp_path):
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"123")
    for path, kind in ((pipe, "a pipe"), (folder, "a folder"), (Path("/dev/null"), "a device")):
        with pytest.raises(FormatError, match=f"is {kind}, not a regular file"):
            foreign.open_regular(path)
    with pytest.raises(FileNotFoundError) as caught:
        foreign.open_regular(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")
    assert foreign.read_small(link, 3) == b"123"
    with pytest.raises(FormatError, match="more than 2 bytes"):
        foreign.read_small(link, 2)
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FormatError, match="is a symbolic link"):
        foreign.read_small(link, 3, dir_fd=fd)
    assert foreign.read_small(tmp_path / "file", 3, dir_fd=fd) == b"123"
    os.close(fd)


@pytest.mark.parametrize(
    "text", ["~" * 10**5 + "1", "(" * 10**5, "1" * 2 * 10**6, "x" + ".a" * 10**5]
)
def test_literals_that_are_none_or_too_much(text):
    with pytest.raises(ValueError):  # noqa: PT011
        foreign.literal(text)


def test_literals():
    assert foreign.literal("[1, -2.5, (1-2j), 'a', None, True]") == [
        1,
        -2.5,
        1 - 2j,
        "a",
        None,
        True,
    ]
