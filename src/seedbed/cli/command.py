"""The `seedbed` command."""

import argparse
import ast
import contextlib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..errors import brief

REFUSED, FAILED, INTERRUPTED, TERMINATED = 2, 1, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: done. 1: begun and failed, or `verify` found a difference. 2: refused before any work.
    130 and 143: stopped by Ctrl-C and by SIGTERM. All but 0 say why in one line on standard error.
    """
    options = None
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # such as × in ASCII
    try:
        options = _parser().parse_args(arguments)
        with _one_line_warnings(), _terminable():
            return options.command(options)
    except (ValueError, TypeError) as error:
        return _say(str(error), REFUSED)
    except BrokenPipeError:  # `seedbed info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _say(f"{place}{error.strerror or error}{_saved(options)}", FAILED)
    except MemoryError:
        return _say(f"not enough memory{_saved(options)}", FAILED)
    except KeyboardInterrupt:
        return _say(f"interrupted{_saved(options)}", INTERRUPTED)
    except _Terminated:
        return _say(f"terminated{_saved(options)}", TERMINATED)


def _open_standard_streams() -> None:
    """Open what was closed at the start, or a table would get its number and what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115


def _say(message: str, code: int) -> int:
    print("seedbed: " + " ".join(message.split()), file=sys.stderr)
    return code


def _saved(options: argparse.Namespace | None) -> str:
    """Tell how much of the output of a run is on the disk."""
    out, plan = getattr(options, "out", None), getattr(options, "plan", None)
    from ..tables import read_plan, states

    with contextlib.suppress(OSError, ValueError, TypeError):
        outs = [Path(out)] if out else []
        for path in [output.path for output in read_plan(plan)] if plan else outs:
            found = [states.State.load(place) for place in states.places_at(path)]
            if any(state.done for state in found):
                done = 100 * sum(s.done for s in found) / sum(s.total for s in found)
                return f"; {done:.0f} % of {path} is saved, --resume continues it"
    return ""


class _Terminated(BaseException):
    """SIGTERM came."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, where signals may be handled."""

    def stop(*_: object) -> NoReturn:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: (_say(f"warning: {message}", 0), None)[1]
        yield


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
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("seedbed", description="Reproducible initial weights.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"seedbed {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(command: Callable[[Any], int], name: str, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        sub.set_defaults(command=command)
        return sub

    table = add(_table, "table", "Write tables to disk.")
    _add_values(table)
    table.add_argument("--out", metavar="FILE", help=".npy, .safetensors, or a folder for --shards")
    table.add_argument("--name", help="of the tensor in a .safetensors file (default: weight)")
    table.add_argument("--rows", metavar="A:B", help="write only these rows")
    table.add_argument("--shards", metavar="N", help="write a folder of N .safetensors files")
    table.add_argument("--grow", metavar="FILE", help="keep the rows of this file and add to them")
    table.add_argument("--plan", metavar="TOML", help="write the tables that this file lists")
    table.add_argument("--part", metavar="K/N", help="write part K of N; the last one finishes")
    table.add_argument(
        "--finish", action="store_true", help="name what parts wrote, if all are complete"
    )
    table.add_argument("--resume", action="store_true", help="continue an interrupted run")
    table.add_argument("--force", action="store_true", help="replace an existing file")
    table.add_argument("--device", help="cpu (default), cuda or cuda:1: where values are made")
    table.add_argument("--threads", metavar="N", help="threads to use (default: all)")

    verify = add(_verify, "verify", "Compare a file with what its metadata or the options say.")
    verify.add_argument("file", metavar="FILE", help=".npy, .safetensors, or a folder of shards")
    verify.add_argument("--sample", metavar="N", help="compare N random windows, not everything")
    _add_values(verify, dtype=False)
    verify.add_argument("--rows", metavar="A:B", help="the file holds these rows of --shape")
    verify.add_argument("--threads", metavar="N", help="threads to use (default: all)")

    show = add(_show, "show", "Draw an initializer's values beside their theoretical density.")
    _add_values(show)
    show.add_argument("--out", metavar="FILE", default="show.png", help="PNG (default: show.png)")
    show.add_argument("--force", action="store_true", help="replace an existing file")

    info = add(_info, "info", "Print what Seedbed runs on, or what a file holds.")
    info.add_argument("file", metavar="FILE", nargs="?", help="a table, finished or not")
    add(_bench, "bench", "Time Seedbed against NumPy on this machine.")
    return parser


def _add_values(parser: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """Add what says which values."""
    parser.add_argument("--shape", metavar="1000000x64", help="of the full table")
    parser.add_argument("--initializer", metavar="NAME", help="such as glorot_uniform")
    parser.add_argument("--seed", metavar="N", help="0 to 2**64 - 1 (default: a random one)")
    if dtype:
        parser.add_argument("--dtype", help="such as bfloat16 (default: float32)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of the initializer, such as stddev=0.02",
    )


def _table(options: argparse.Namespace) -> int:
    _set_threads(options.threads)
    from .. import tables
    from ..tables.plan import write_each

    part = None if options.part is None else parse_part(options.part)
    how = {
        "part": part,
        "resume": options.resume,
        "force": options.force,
        "progress": True,
        "device": options.device,
    }
    if options.finish:
        _exclude(options, "--finish", {"out", "force", "threads"})
        _require(options, "out")
        finished = tables.finish(options.out, force=options.force)
        print(f"{finished}: finished" if finished else f"{options.out}: was finished already")
    elif options.plan is not None:
        _exclude(options, "--plan", {"part", "resume", "force", "device", "threads"})
        for summary in write_each(options.plan, **how):
            print(summary, flush=True)
    else:
        _require(options, "shape", "out", *([] if options.grow is not None else ["initializer"]))
        init = _initializer(options)
        if part and init and options.seed is None and "seed" in init.get_config():
            raise ValueError("--part needs a --seed that is the same for all parts")
        summary = tables.write(
            options.out,
            init,
            parse_shape(options.shape),
            options.dtype,
            name=options.name,
            grow=options.grow,
            rows=None if options.rows is None else parse_rows(options.rows),
            shards=None if options.shards is None else parse_integer("--shards", options.shards),
            **how,
        )
        print(summary)
    return 0


def _verify(options: argparse.Namespace) -> int:
    _set_threads(options.threads)
    from .. import tables

    init = _initializer(options)
    if init and options.seed is None and "seed" in init.get_config():
        raise ValueError("--seed must be given with --initializer (see --help)")
    report = tables.verify(
        options.file,
        init,
        None if options.shape is None else parse_shape(options.shape),
        rows=None if options.rows is None else parse_rows(options.rows),
        sample=None if options.sample is None else parse_integer("--sample", options.sample),
        progress=True,
    )
    if report.ok:
        print(report)
        return 0
    return _say(str(report), FAILED)


def _show(options: argparse.Namespace) -> int:
    _require(options, "shape", "initializer")
    from . import show

    shape = parse_shape(options.shape)
    print(show.draw(_initializer(options), shape, options.dtype, options.out, force=options.force))
    return 0


def _info(options: argparse.Namespace) -> int:
    if options.file is not None:
        from ..tables import describe

        print("\n".join(describe(options.file)))
        return 0
    from . import info

    for name, value in info.describe().items():
        print(f"{name:<14}{value}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from . import bench

    print(bench.table(bench.compare()))
    return 0


def _exclude(options: argparse.Namespace, mode: str, allowed: set[str]) -> None:
    """Refuse options that have no meaning beside another."""
    given = {name for name, value in vars(options).items() if value not in (None, False, [])}
    for name in sorted(given - allowed - {"command", mode.strip("-")}):
        raise ValueError(f"--{name} has no meaning with {mode}")


def _require(options: argparse.Namespace, *names: str) -> None:
    missing = [f"--{name}" for name in names if getattr(options, name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be given (see --help)")


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that a text such as ``1000000x64`` means."""
    sizes = re.split(r"[x×,]", text)
    try:
        if all(re.fullmatch(r"\d[\d_]*", size.strip()) for size in sizes):
            return tuple(int(size) for size in sizes)
    except ValueError:  # thousands of digits
        pass
    raise ValueError(f"--shape must be sizes joined by x, such as 1000000x64; given {brief(text)}")


def parse_rows(text: str) -> tuple[int, int]:
    """Return the rows that a text such as ``10:20`` means."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match:
        raise ValueError(f"--rows must be START:STOP, such as 0:1000; given {text!r}")
    return int(match[1]), int(match[2])


def parse_integer(option: str, text: str) -> int:
    """Return the integer that the value of an option means."""
    for base in (0, 10):  # with a prefix such as 0x, or with leading zeros
        with contextlib.suppress(ValueError):
            return int(text, base)
    raise ValueError(f"{option} must be an integer; given {brief(text)}")


def parse_part(text: str) -> tuple[int, int]:
    """Return the part that a text such as ``2/5`` means."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match:
        raise ValueError(f"--part must be K/N, such as 2/5; given {text!r}")
    return int(match[1]), int(match[2])


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that texts such as ``stddev=0.02`` mean.

    Values are Python literals; what is none is taken as a string, such as ``fan_in``.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name == "seed":
            raise ValueError(f"--set must be NAME=VALUE, and --seed is apart; given {text!r}")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def _initializer(options: argparse.Namespace) -> Any:
    if options.initializer is None:
        for name in ("seed", "set"):
            if getattr(options, name) not in (None, []):
                raise ValueError(f"--{name} has no meaning without --initializer")
        return None
    from ..tables.table import initializer

    seed = None if options.seed is None else parse_integer("--seed", options.seed)
    return initializer(options.initializer, parse_settings(options.set), seed, "seedbed")


def _set_threads(text: str | None) -> None:
    """Use so many threads."""
    if text is None:
        return
    count = parse_integer("--threads", text)
    if not 1 <= count <= 1024:
        raise ValueError(f"--threads must be from 1 to 1024; given {count}")
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
        return
    import numba
    from numba.core import config

    limit = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    if count > limit:
        raise ValueError(f"--threads must be from 1 to {limit} here; given {count}")
    numba.set_num_threads(count)
