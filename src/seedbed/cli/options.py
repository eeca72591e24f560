"""The options of the `seedbed` command, and what their values mean."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..errors import ArgumentError, brief
from ..storage.foreign import literal

SHELLS = ("bash", "zsh", "fish")


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        if self.prog.endswith(" table"):
            from ..initializers.registry import CLASSES

            names = ", ".join(name for name in CLASSES if name != "initializer")
            self.epilog = (
                f"Initializers: {names}. Example: seedbed table --shape 100000x64 --initializer "
                "he_normal --seed 7 --out user.safetensors"
            )
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """Return the parser; the attribute `command` of what it returns is a name of `commands`."""
    top = _Parser("seedbed", description="Reproducible initial weights.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"seedbed {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        sub.set_defaults(command=name)
        return sub

    table = add("table", "Write tables to disk.")
    _add_values(table)
    table.add_argument(
        "--out",
        metavar="FILE",
        help=".npy, .safetensors, .zarr, or a folder for --shards; the last two also at s3:// or gs://",
    )
    table.add_argument("--name", help="of the tensor in a .safetensors file (default: weight)")
    table.add_argument("--rows", metavar="A:B", help="write only these rows")
    table.add_argument("--shards", metavar="N", help="write a folder of N .safetensors files")
    table.add_argument("--chunk-rows", metavar="N", help="of a .zarr: rows of a chunk")
    table.add_argument("--shard-rows", metavar="N", help="of a .zarr: rows of a file of chunks")
    table.add_argument("--grow", metavar="FILE", help="keep the rows of this file and add to them")
    _add_ids(table)
    table.add_argument("--plan", metavar="TOML", help="write the tables that this file lists")
    table.add_argument(
        "--hf", action="store_true", help="with --plan: index the files as Hugging Face loads them"
    )
    table.add_argument("--part", metavar="K/N", help="write part K of N; the last one finishes")
    table.add_argument(
        "--finish", action="store_true", help="name what parts wrote, if all are complete"
    )
    table.add_argument("--resume", action="store_true", help="continue an interrupted job")
    table.add_argument("--force", action="store_true", help="replace an existing file")
    table.add_argument(
        "--check",
        metavar="all|sample",
        help="what to compare of that which other jobs wrote, before it is named (default: all)",
    )
    table.add_argument("--device", help="cpu (default), cuda or cuda:1: where values are made")
    table.add_argument("--threads", metavar="N", help="threads to use (default: all)")

    verify = add("verify", "Compare a file with what its metadata or the options say.")
    verify.add_argument("file", metavar="FILE", help=".npy, .safetensors, .zarr, or shards")
    verify.add_argument("--name", help="compare this tensor only")
    verify.add_argument("--sample", metavar="N", help="compare N random windows, not everything")
    _add_values(verify, dtype=False)
    verify.add_argument("--rows", metavar="A:B", help="the file holds these rows of --shape")
    verify.add_argument("--grow", metavar="FILE", help="the older file, if rows were placed by ids")
    _add_ids(verify)
    verify.add_argument("--threads", metavar="N", help="threads to use (default: all)")

    show = add("show", "Draw an initializer's values beside their theoretical density.")
    _add_values(show)
    show.add_argument("--out", metavar="FILE", default="show.png", help="PNG (default: show.png)")
    show.add_argument("--force", action="store_true", help="replace an existing file")

    info = add("info", "Print what Seedbed runs on, or what a file holds.")
    info.add_argument("file", metavar="FILE", nargs="?", help="a table, finished or not")
    bench = add("bench", "Time Seedbed against NumPy on this machine, in 10⁹ values a second.")
    bench.add_argument("--values", metavar="N", help="in the array (default: 100000000)")
    bench.add_argument("--dtype", help="float32 (default) or float64: what NumPy can draw")
    warm = add("warm", "Compile all kernels and keep them, for a container image.")
    warm.add_argument(
        "--dtype", action="append", metavar="NAME", help="only of this dtype (may be repeated)"
    )
    warm.add_argument(
        "--cuda",
        action="append",
        default=[],
        metavar="90",
        help="also for GPUs of this compute capability; none is needed (may be repeated)",
    )
    completion = add("completion", "Print a script that completes commands in a shell.")
    completion.add_argument("shell", choices=SHELLS)
    return top


def _add_values(sub: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """Add what says which values."""
    sub.add_argument("--shape", metavar="1000000x64", help="of the full table")
    sub.add_argument("--initializer", metavar="NAME", help="such as glorot_uniform")
    sub.add_argument("--seed", metavar="N", help="0 to 2**64 - 1 (default: a random one)")
    if dtype:
        sub.add_argument("--dtype", help="such as bfloat16 (default: float32)")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the initializer, such as stddev=0.02",
    )


def _add_ids(sub: argparse.ArgumentParser) -> None:
    """Add what says where the rows of an older file go."""
    sub.add_argument(
        "--ids",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="with --grow: .npy files of the ids of older and of new rows; known ids keep theirs",
    )
    sub.add_argument("--by", choices=("row", "key"), help="how new ids are drawn (default: row)")


def exclude(options: argparse.Namespace, mode: str, allowed: set[str]) -> None:
    """Refuse options that have no meaning beside another."""
    given = {name for name, value in vars(options).items() if value not in (None, False, [])}
    for name in sorted(given - allowed - {"command", mode.strip("-")}):
        raise ArgumentError(f"--{name.replace('_', '-')} has no meaning with {mode}")


def require(options: argparse.Namespace, *names: str) -> None:
    """Refuse a command without some of its options."""
    missing = [f"--{name}" for name in names if getattr(options, name) is None]
    if missing:
        raise ArgumentError(f"{', '.join(missing)} must be given (see --help)")


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that a text such as ``1000000x64`` means."""
    sizes = re.split(r"[x×,]", text)
    try:
        if all(re.fullmatch(r"\d[\d_]*", size.strip()) for size in sizes):
            return tuple(int(size) for size in sizes)
    except ValueError:  # thousands of digits
        pass
    raise ArgumentError(
        f"--shape must be sizes joined by x, such as 1000000x64; given {brief(text)}"
    )


def parse_rows(text: str) -> tuple[int, int]:
    """Return the rows that a text such as ``10:20`` means."""
    return _two("--rows", text, ":", "START:STOP, such as 0:1000")


def parse_part(text: str) -> tuple[int, int]:
    """Return the part that a text such as ``2/5`` means."""
    return _two("--part", text, "/", "K/N, such as 2/5")


def _two(option: str, text: str, mark: str, allowed: str) -> tuple[int, int]:
    match = re.fullmatch(rf"([0-9]{{1,30}}){mark}([0-9]{{1,30}})", text)
    if not match:
        raise ArgumentError(f"{option} must be {allowed}; given {brief(text)}")
    return int(match[1]), int(match[2])


def parse_integer(option: str, text: str) -> int:
    """Return the integer that the value of an option means."""
    for base in (0, 10):  # with a prefix such as 0x, or with leading zeros
        try:
            return int(text, base)
        except ValueError:
            continue
    raise ArgumentError(f"{option} must be an integer; given {brief(text)}")


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that texts such as ``stddev=0.02`` mean.

    Values are Python literals; what is none is taken as a string, such as ``fan_in``.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name == "seed":
            raise ArgumentError(
                f"--set must be NAME=VALUE, and --seed is apart; given {brief(text)}"
            )
        try:
            settings[name] = literal(value)
        except ValueError:
            settings[name] = value
    return settings
