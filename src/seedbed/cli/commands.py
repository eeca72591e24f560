"""What the commands do."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from .. import tables
from ..errors import ArgumentError, naming
from ..tables import huggingface
from ..tables.configurations import initializer
from ..tables.job import WriteOptions
from ..tables.plan import write_each
from .command import FAILED, say
from .command import show as out
from .options import (
    exclude,
    parse_integer,
    parse_part,
    parse_rows,
    parse_settings,
    parse_shape,
    require,
)


def table(options: argparse.Namespace) -> int:
    """Write tables."""
    _set_threads(options.threads)
    part = None if options.part is None else parse_part(options.part)
    check = "all" if options.check is None else options.check
    if options.finish:
        exclude(options, "--finish", {"out", "force", "check", "threads"})
        require(options, "out")
        finished = tables.finish(options.out, force=options.force, check=check)
        out(f"{finished}: finished" if finished else f"{options.out}: was finished already")
        return 0
    how = {
        "part": part,
        "resume": options.resume,
        "force": options.force,
        "check": check,
        "progress": True,
        "device": options.device,
    }
    if options.plan is not None:
        exclude(options, "--plan", {"part", "resume", "force", "check", "device", "threads", "hf"})
        with naming("tables.write_plan"):
            if options.hf:
                huggingface.check_files(tables.read_plan(options.plan))
            missing = []
            for summary in write_each(options.plan, WriteOptions(**how)):
                options.begun = True
                missing += summary.missing
                out(str(summary))
            if options.hf and not missing:
                huggingface.write_index(tables.read_plan(options.plan))
        return 0
    if options.hf:
        raise ArgumentError("--hf needs a --plan")
    require(options, "shape", "out", *([] if options.grow is not None else ["initializer"]))
    init = _initializer(options)
    if part and init and options.seed is None and hasattr(init, "seed"):
        raise ArgumentError("--part needs a --seed that is the same for all parts")
    summary = tables.write(
        options.out,
        init,
        parse_shape(options.shape),
        options.dtype,
        name=options.name,
        grow=options.grow,
        ids=options.ids,
        by=options.by or "row",
        rows=None if options.rows is None else parse_rows(options.rows),
        shards=_count("--shards", options.shards),
        chunk_rows=_count("--chunk-rows", options.chunk_rows),
        shard_rows=_count("--shard-rows", options.shard_rows),
        **how,
    )
    out(str(summary))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Compare a file with the stream."""
    _set_threads(options.threads)
    init = _initializer(options)
    if init and options.seed is None and hasattr(init, "seed"):
        raise ArgumentError("--seed must be given with --initializer (see --help)")
    report = tables.verify(
        options.file,
        init,
        None if options.shape is None else parse_shape(options.shape),
        name=options.name,
        rows=None if options.rows is None else parse_rows(options.rows),
        sample=_count("--sample", options.sample),
        progress=True,
        grow=options.grow,
        ids=options.ids,
        by=options.by or "row",
    )
    if report.ok:
        out(str(report))
        return 0
    return say(str(report), FAILED)


def show(options: argparse.Namespace) -> int:
    """Draw a picture."""
    require(options, "shape", "initializer")
    from . import show

    shape = parse_shape(options.shape)
    init = _initializer(options)
    out(show.draw(init, shape, options.dtype, options.out, force=options.force))
    return 0


def info(options: argparse.Namespace) -> int:
    """Print what a file holds, or what the package runs on."""
    if options.file is not None:
        for line in tables.describe(options.file):
            out(line)
        return 0
    from . import info

    for name, value in info.describe().items():
        out(f"{name:<14}{value}")
    return 0


def bench(options: argparse.Namespace) -> int:
    """Time fills."""
    from . import bench

    size = 10**8 if options.values is None else parse_integer("--values", options.values)
    dtype = "float32" if options.dtype is None else options.dtype
    if not 1 <= size <= 10**11:
        raise ArgumentError(f"--values must be from 1 to 10**11; given {size}")
    if dtype not in ("float32", "float64"):
        raise ArgumentError(f"--dtype must be float32 or float64; given {dtype}")
    rows = bench.compare(size, dtype)
    for line in (bench.heading(rows, size, dtype), "", *bench.table(rows).splitlines()):
        out(line)
    return 0


def warm(options: argparse.Namespace) -> int:
    """Compile kernels and keep them."""
    from . import warm

    out(warm.warm(options.dtype, options.cuda))
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print a script for a shell."""
    from .completion import script

    for line in script(options.shell).splitlines():
        out(line)
    return 0


BY_NAME: dict[str, Callable[[argparse.Namespace], int]] = {
    "table": table,
    "verify": verify,
    "show": show,
    "info": info,
    "bench": bench,
    "warm": warm,
    "completion": completion,
}


def _initializer(options: argparse.Namespace) -> Any:
    if options.initializer is None:
        for name in ("seed", "set"):
            if getattr(options, name) not in (None, []):
                raise ArgumentError(f"--{name} has no meaning without --initializer")
        return None
    seed = None if options.seed is None else parse_integer("--seed", options.seed)
    return initializer(options.initializer, parse_settings(options.set), seed)


def _count(option: str, text: str | None) -> int | None:
    return None if text is None else parse_integer(option, text)


def _set_threads(text: str | None) -> None:
    """Use so many threads."""
    if text is None:
        return
    count = parse_integer("--threads", text)
    if not 1 <= count <= 1024:
        raise ArgumentError(f"--threads must be from 1 to 1024; given {count}")
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
        return
    import numba
    from numba.core import config

    limit = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    if count > limit:
        raise ArgumentError(f"--threads must be from 1 to {limit} here; given {count}")
    numba.set_num_threads(count)
