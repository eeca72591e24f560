"""Large tables on disk, in figures: ``python -m benchmarks.tables FOLDER``.

Needs room for a table of 20 GB in the folder, and some minutes; prints a Markdown table and writes
it to benchmarks/results/tables.md. Sizes can be given in GB: ``--gb 20 12``.
"""

import argparse
import hashlib
import mmap
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from seedbed import initializers, tables

from .machine import RESULTS, environment

CHUNK = 1 << 25
COLUMNS = 100


class Writer(subprocess.Popen):
    """A `seedbed table` whose anonymous memory is watched."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "seedbed", "table", "--seed=7", *arguments]
        super().__init__(command, stdout=subprocess.DEVNULL)
        self.peak = 0
        start = time.perf_counter()
        while self.poll() is None:
            self.peak = max(self.peak, _anonymous(self.pid))
            time.sleep(0.02)
        self.seconds = time.perf_counter() - start
        if self.returncode:
            raise SystemExit(f"{arguments}: exit code {self.returncode}")


def _anonymous(pid: int) -> int:
    """Return the resident anonymous memory of a process, in bytes."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def zeros(path: Path, nbytes: int, flags: int = 0) -> float:
    """Return the seconds that a plain sequential write of zeros takes, with a flush."""
    data = mmap.mmap(-1, CHUNK)  # begins at a page, as O_DIRECT wants it
    start = time.perf_counter()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags)
    for _ in range(nbytes // CHUNK):
        os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def generation(nbytes: int) -> float:
    """Return the seconds that the values alone take, into one resident buffer."""
    init = initializers.RandomUniform(seed=7)
    out = np.zeros(CHUNK // 2, np.uint16).view(init((1,), "bfloat16").dtype)
    shape = (nbytes // 2,)
    start = time.perf_counter()
    for begin in range(0, shape[0] - out.size, out.size):
        init(shape, "bfloat16", window=(slice(begin, begin + out.size),), out=out)
    return time.perf_counter() - start


def large_bfloat16(folder: Path, gb: float, repeats: int) -> dict[str, str]:
    """Write bfloat16 rows of 100, in turn with zeros; read them with the official readers."""
    rows = int(gb * 1e9) // (2 * COLUMNS)
    path, nbytes = folder / "large.safetensors", rows * COLUMNS * 2
    ours, plain, direct, peak = [], [], [], 0
    for _ in range(repeats):
        plain.append(zeros(folder / "zeros", nbytes))
        direct.append(zeros(folder / "zeros", nbytes, getattr(os, "O_DIRECT", 0)))
        path.unlink(missing_ok=True)
        written = Writer(
            f"--shape={rows}x{COLUMNS}",
            "--initializer=random_uniform",
            "--dtype=bfloat16",
            f"--out={path}",
        )
        ours.append(written.seconds)
        peak = max(peak, written.peak)
    equal = _read_by_others(path, rows)
    start = time.perf_counter()
    report = tables.verify(path)
    verified = time.perf_counter() - start
    path.unlink()

    def rates(times: list[float]) -> str:
        each = ", ".join(f"{nbytes / seconds / 1e9:.2f}" for seconds in times)
        return f"{nbytes / statistics.median(times) / 1e9:.2f} GB/s ({each})"

    return {
        f"{rows:,} × {COLUMNS} bfloat16, {nbytes / 1e9:.0f} GB: peak anonymous memory": _mb(peak),
        "its bytes/s, with start and flush": rates(ours),
        "as many zeros, plain sequential write and fsync": rates(plain),
        "as many zeros past the page cache (O_DIRECT), and fsync": rates(direct),
        "generation alone, into memory": rates([generation(nbytes)]),
        "verified, all values": f"{'right' if report.ok else 'WRONG'}, {rates([verified])}",
        "1000 sampled rows in safetensors and torch": "equal" if equal else "DIFFERENT",
    }


def _read_by_others(path: Path, rows: int) -> bool:
    import safetensors
    import torch

    init = initializers.RandomUniform(seed=7)
    picked = np.random.default_rng(1).integers(0, rows, 1000)
    equal = True
    with safetensors.safe_open(path, "pt") as file:
        table = file.get_slice("weight")
        for row in map(int, picked):
            window = (slice(row, row + 1), slice(None))
            values = init((rows, COLUMNS), "bfloat16", window=window).view(np.int16)
            found = table[row : row + 1].view(torch.int16).numpy()
            equal = equal and np.array_equal(values, found)
    return equal


def large_npy(folder: Path, gb: float) -> dict[str, str]:
    """Write a `.npy` of float32 and compare some of it through a memory map."""
    rows = int(gb * 1e9) // 256
    path = folder / "large.npy"
    shape = (rows, 64)
    written = Writer(f"--shape={rows}x64", "--initializer=glorot_uniform", f"--out={path}")
    report = tables.verify(path, initializers.GlorotUniform(seed=7), sample=1000)
    size = path.stat().st_size
    path.unlink()
    name = f"{shape[0]:,} × {shape[1]} float32 .npy, {size / 1e9:.0f} GB"
    return {
        f"{name}: peak anonymous memory": _mb(written.peak),
        "its 1000 sampled windows": "equal" if report.ok else "DIFFERENT",
        "it, bytes/s with start of the process": f"{size / written.seconds / 1e9:.2f} GB/s",
    }


def virtual() -> dict[str, str]:
    """Time windows anywhere in a table of 10¹² × 128."""
    init = initializers.TruncatedNormal(seed=7)
    random = np.random.default_rng(1)
    times = []
    for row in map(int, random.integers(0, 10**12 - 1000, 200)):
        start = time.perf_counter()
        init((10**12, 128), "bfloat16", window=(slice(row, row + 1000), slice(None)))
        times.append(time.perf_counter() - start)
    times = sorted(times[1:])
    text = f"{1e3 * times[len(times) // 2]:.2f} ms (slowest {1e3 * times[-1]:.2f} ms)"
    return {"1000 rows of a virtual 10¹² × 128 table": text}


def parts(folder: Path) -> dict[str, str]:
    """Hash a 1 GB table written by 1, 2 and 5 processes, in three chunk sizes."""
    digests = set()
    path = folder / "parts.safetensors"
    arguments = ["--shape=5000000x100", "--initializer=truncated_normal", "--dtype=bfloat16"]
    for of in (1, 2, 5):
        command = [sys.executable, "-m", "seedbed", "table", "--seed=7", *arguments]
        processes = [
            subprocess.Popen([*command, f"--out={path}", f"--part={number}/{of}"])
            for number in range(1, of + 1)
        ]
        assert [process.wait() for process in processes] == [0] * of
        digests.add(_digest(path))
    init = initializers.TruncatedNormal(seed=7)
    for nbytes in (100_000, 1 << 20, 1 << 28):
        tables.write(path, init, (5_000_000, 100), "bfloat16", chunk_bytes=nbytes)
        digests.add(_digest(path))
    return {"SHA-256 of 1 GB by 1, 2, 5 processes, 3 chunk sizes": ", ".join(digests)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.unlink()
    return digest[:16]


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.0f} MB"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gb", nargs=2, type=float, default=(20, 12))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = {
        **virtual(),
        **parts(options.folder),
        **large_npy(options.folder, options.gb[1]),
        **large_bfloat16(options.folder, options.gb[0], options.repeats),
    }
    lines = [f"# Tables on disk\n\n{environment()}\n\n| | |\n|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in results.items()]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tables.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
