"""How the cost of planning grows with parts, tables and chunks: ``python -m benchmarks.scale``.

Nothing large is written. Parts of a table of 10¹⁰ × 256 bfloat16 are planned as each of so many
processes would, and what they plan is compared: no byte is in two parts or in none, and windows
drawn at their ends are the rows of the table. A small table is written in as many parts, with their
locks, states and last check, and its bytes are those that one process writes. Prints Markdown
tables and writes them to benchmarks/results/scale.md. All is timed in
seconds of the CPU, and files are in memory where it can hold some.
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seedbed import initializers, tables
from seedbed.tables.output import Output, Part, output_at
from seedbed.tables.plan import read_plan
from seedbed.tables.table import table

from .machine import RESULTS, environment

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (10**10, 256)
SMALL = (65_536, 64)
PARTS = (1, 4, 16, 64, 256, 1024)
SAMPLED = 16  # parts, at whose ends windows are drawn
OUTPUTS = {
    "`.safetensors`": {"path": "t.safetensors"},
    "1024 shards": {"path": "folder", "shards": 1024},
    "`.zarr`, 2048 files": {"path": "t.zarr", "chunk_rows": 8192, "shard_rows": 8192 * 597},
}


def planned(what: dict, of: int) -> tuple[float, bool, bool]:
    """Plan each part anew, as its own process does.

    Returns
    -------
    tuple of float and two bool
        Seconds for each part; whether parts neither overlap nor leave a gap; whether windows at
        their ends are rows of the table.
    """
    seconds, spans, windows = 0.0, [], []
    chosen = set(random.Random(of).sample(range(1, of + 1), min(SAMPLED, of)))
    for number in range(1, of + 1):
        start = time.process_time()
        output = _output(**what)
        extents = output.extents(Part(number, of))
        seconds += time.process_time() - start
        for extent in extents:
            first = extent.table.first_row * SHAPE[1]
            spans.append((first + extent.begin, first + extent.end))
            if number in chosen and extent.size:
                size = min(200, extent.size)
                windows += [extent.cut(0, size), extent.cut(extent.size - size, extent.size)]
    spans.sort()
    ends = [0, *(end for _, end in spans)]
    whole = ends[-1] == SHAPE[0] * SHAPE[1] and all(
        begin == end for (begin, _), end in zip(spans, ends, strict=False)
    )
    return seconds / of, whole, all(map(_is_right, windows[: 4 * SAMPLED]))


def _output(path: str, shards: int | None = None, **chunks: int) -> Output:
    return output_at(path, [table(INIT, SHAPE, "bfloat16")], shards, **chunks)


def _is_right(window) -> bool:
    """Compare elements with rows that are drawn by their numbers."""
    values = np.empty(window.size, window.table.dtype)
    window.table.fill(values, window.begin)
    first = window.table.first_row * SHAPE[1] + window.begin
    rows = range(first // SHAPE[1], (first + window.size - 1) // SHAPE[1] + 1)
    drawn = INIT(SHAPE, "bfloat16", rows=list(rows)).reshape(-1)
    wanted = drawn[first - rows.start * SHAPE[1] :][: window.size]
    return np.array_equal(values.view(np.uint16), wanted.view(np.uint16))


def written(folder: Path, of: int) -> tuple[float, float, str]:
    """Write a small table in parts, one after the other; return seconds a part, and a hash.

    The last part reads and compares all others: its seconds are the second number.
    """
    path = folder / "small.safetensors"
    order = random.Random(of).sample(range(1, of + 1), of)
    last = seconds = 0.0
    for number in order:
        start = time.process_time()
        tables.write(path, INIT, SMALL, part=(number, of))
        last = time.process_time() - start
        seconds += last
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    return (seconds - last) / max(of - 1, 1), last, digest


def plans(folder: Path) -> Iterator[str]:
    """Time plans of many tables."""
    yield "| tables of a plan | read and checked, ms | for each table, µs |\n|--:|--:|--:|"
    for count in (1, 10, 100, 1000):
        entries = [f'[[table]]\nname = "t{i}"\nshape = [1000000, 64]\n' for i in range(count)]
        head = 'seed = 7\ninitializer = "he_normal"\nfile = "t.safetensors"\n'
        (folder / "plan.toml").write_text(head + "".join(entries))
        start = time.process_time()
        read_plan(folder / "plan.toml")
        seconds = time.process_time() - start
        yield f"| {count:,} | {1e3 * seconds:.1f} | {1e6 * seconds / count:.0f} |"


def chunked() -> Iterator[str]:
    """Time Zarr arrays of many files and chunks."""
    yield "| files of a Zarr array | chunks | planned, ms | for each file, µs |\n|--:|--:|--:|--:|"
    for files in (10, 100, 1000, 10_000, 99_000):
        shard = -(-SHAPE[0] // files // 8) * 8
        start = time.process_time()
        output = _output("t.zarr", chunk_rows=shard // 8, shard_rows=shard)
        count = len(output.extents(Part(1, 1024)))
        seconds = time.process_time() - start
        assert count <= len(output.files) // 1024 + 1
        chunks = 8 * len(output.files)
        each = 1e6 * seconds / len(output.files)
        yield f"| {len(output.files):,} | {chunks:,} | {1e3 * seconds:.1f} | {each:.1f} |"


def report(folder: Path, parts: tuple[int, ...] = PARTS) -> Iterator[str]:
    """Yield the lines of all tables; stop at anything that is not as it should be."""
    yield "| written as | parts | no overlap, no gap | windows | planned, µs for each part |"
    yield "|---|--:|---|---|--:|"
    for name, what in OUTPUTS.items():
        for of in parts:
            seconds, whole, equal = planned(what, of)
            if not whole or not equal:
                raise SystemExit(f"{name}, {of} parts: overlap, gap, or other values")
            yield f"| {name} | {of:,} | yes | equal | {1e6 * seconds:,.0f} |"
    yield ""
    yield "| parts of one file of 16 MB | each, ms | the last, which compares all, ms | SHA-256 |"
    yield "|--:|--:|--:|---|"
    digests = set()
    for of in parts:
        each, last, digest = written(folder, of)
        digests.add(digest)
        if len(digests) > 1:
            raise SystemExit(f"{of} parts: other bytes")
        yield f"| {of:,} | {1e3 * each:.2f} | {1e3 * last:.1f} | {digest[:16]} |"
    yield ""
    yield from plans(folder)
    yield ""
    yield from chunked()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", type=int, nargs="+", default=PARTS)
    options = parser.parse_args()
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")
    lines = [f"# Planning at scale\n\n{environment()}\n"]
    INIT((10, 10), "bfloat16")  # compiled before anything is timed
    INIT((10, 10))
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no disk is waited for
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        for line in report(Path(folder), tuple(options.parts)):
            print(line, flush=True)
            lines.append(line)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scale.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
