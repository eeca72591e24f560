"""What the machine code of the GPU's kernels costs, counted without a GPU.

    .venv/bin/python -m pip install nvidia-cuda-nvdisasm
    .venv/bin/python -m benchmarks.gpu_static --before 5b85f49

Compiles and links every kernel for four generations of GPUs, disassembles it, and counts the
instructions of the loop that makes whole tiles (of rows of keys: whole groups of columns). The loop
is the cheapest way round through the code on which all values of a lane are stored, or of two; so
redraws of rejected values are not in it. ``--before`` does the same with another commit's kernels
and tests. Writes benchmarks/results/gpu-static.md.
"""

import argparse
import heapq
import importlib
import importlib.metadata
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "gpu-static.md"
SAMPLERS = ("Uniform", "Normal", "TruncatedNormal", "NarrowNormal", "TailNormal")
DTYPES = {"float32": 4, "uint16": 2, "int16": 2, "float64": 8}  # bytes of a value
NAMES = {"uint16": "bfloat16", "int16": "float16"}
CAPABILITIES = {(7, 5): 32, (8, 0): 64, (9, 0): 64, (12, 0): 48}  # warps that fit at a time
REGISTERS, WARPS = 65_536, 8  # of a multiprocessor; of a block
H100 = (9, 0)
PROCESSORS, CLOCK, MEMORY = 132, 1.98, 3350  # of an H100 SXM: GHz at most, and GB/s
# Units of a quarter of its multiprocessor, and the cycles that an instruction of a warp takes of
# each. What is not named here takes only its turn to be issued, a cycle, as all do.
UNITS = {
    "ALU": (2, r"IADD|VIADD|LOP3|SHF|LEA|[IF]SETP|[FIV]I?MNMX|[IF]?SEL\b|PRMT|I2FP|PLOP3|MOV|F2FP"),
    "IMAD": (2, r"IMAD"),
    "FP64": (2, r"D(FMA|MUL|ADD|SETP)"),
    "special": (8, r"MUFU|I2F\b|F2I|F2F\b|POPC|FLO|BREV"),
}
PACKAGES = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")
HEAD = """# Instructions of the GPU's kernels

**Not run on a GPU.** These are counts of machine code, made with {packages}, by

    python -m benchmarks.gpu_static --before {before}

"before → after", or one number where nothing changed. Instructions are those that a warp issues for
a lane in the loop over whole tiles: for four values, in float64 for two. Redraws of rejected values
come on top. A quarter of a multiprocessor issues one instruction a cycle, and each takes a unit for
more than one, where it needs one of these: {units}. The largest of these sums decides.
"GB/s at most" is what an H100 SXM ({processors} multiprocessors at {clock} GHz) could then store,
and "× memory" divides it by the {memory:,} GB/s that its memory takes; above 1, memory decides. How
often a unit takes an instruction is what NVIDIA's tables of throughput say for 9.0; that
`IMAD.WIDE` is as fast as `IMAD` is assumed. Waiting for results or memory is left out, so real
times are longer.
"""


class Instruction(NamedTuple):
    """An instruction: its guard (or ""), its name with all modifiers, and its operands."""

    guard: str
    name: str
    operands: str


def basic_blocks(text: str) -> list[tuple[list[Instruction], list[int]]]:
    """Return the blocks of a disassembly, each with the numbers of those that may follow it."""
    labels: dict[str, int] = {}
    code: list[list[Instruction]] = [[]]
    for line in text.splitlines():
        label = re.match(r"(\.L_x_\d+):", line)
        found = re.match(r"\s*/\*\w{4,}\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;", line)
        if label:
            code.append([])
            labels[label[1]] = len(code) - 1
        elif found:
            code[-1].append(Instruction(found[1] or "", found[2], found[3]))
            if found[2].startswith(("BRA", "EXIT", "CALL", "RET")):
                code.append([])
    blocks = []
    for number, block in enumerate(code[:-1]):
        after, last = [number + 1], block[-1] if block else None
        if last and last.name.startswith("BRA"):
            target = labels[last.operands.partition("`(")[2].rstrip(")")]
            always = not last.guard and "," not in last.operands
            always &= not last.name.endswith(("CONV", "DIV"))  # as threads are together or apart
            after = [target] if always else [target, *after]
        elif last and last.name.startswith(("EXIT", "CALL", "RET")) and not last.guard:
            after = []  # CALL: of a root or quotient that needs more than the usual steps
        blocks.append((block, after))
    return [*blocks, (code[-1], [])]


def stored(block: list[Instruction], nbytes: int) -> int:
    """Return how many values of a size a block stores where all are wanted.

    A store of one value that has a guard is of one that may not be wanted.
    """
    values = 0
    for line in block:
        if line.name.startswith("STG"):
            width = re.search(r"\.(U?)(8|16|64|128)\b", line.name)
            count = (int(width[2]) // 8 if width else 4) // nbytes
            values += count if count > 1 or not line.guard else 0
    return values


def loop(text: str, nbytes: int) -> tuple[list[Instruction], int]:
    """Return the instructions of a kernel's loop, and for how many lanes a thread they are.

    Parameters
    ----------
    text : str
        Disassembly.
    nbytes : int
        Of a value.
    """
    code = basic_blocks(text)
    blocks = [(len(block), stored(block, nbytes), after) for block, after in code]
    best: tuple[float, int, list[int]] = math.inf, 0, []
    for start, (_, values, _) in enumerate(blocks):
        for lanes in (1, 2) if values else ():
            cost, way = _round(blocks, start, lanes * (2 if nbytes == 8 else 4))
            best = min(best, (cost / lanes, lanes, way))
    return [line for number in best[2] for line in code[number][0]], best[1]


def _round(blocks: Any, start: int, values: int) -> tuple[float, list[int]]:
    """Return the cheapest way from a block to itself that stores so many values, and its cost.

    Of each block its cost, the values it stores, and those that may follow are given.
    """
    waiting: list[tuple[int, int, int, list[int]]] = [(0, start, 0, [])]
    done = set()
    while waiting:
        cost, number, have, way = heapq.heappop(waiting)
        if way and (number, have) == (start, values):
            return cost, way
        own, more, after = blocks[number]
        have += more
        if (number, have) not in done and have <= values:
            done.add((number, have))
            for other in after:
                heapq.heappush(waiting, (cost + own, other, have, [*way, number]))
    return math.inf, []


def disassembled(code: bytes) -> str:
    """Return the text of a cubin."""
    folders = [Path(folder, "nvidia", "cu13", "bin") for folder in sys.path]
    program = shutil.which(
        "nvdisasm", path=os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    )
    if program is None:
        sys.exit("nvdisasm is missing: pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return subprocess.check_output([program, "-c", file.name], text=True)


def count(sampler: type, dtype: str, capability: tuple[int, int], keyed: bool) -> dict[str, Any]:
    """Return what is counted of a kernel of the tests and kernels that are imported."""
    from tests.cuda.test_ptx import kernel_ptx

    from seedbed_kernels import kernels_cuda

    core: Any = importlib.import_module("cuda.core")  # neither has types for these
    driver: Any = importlib.import_module("numba.cuda.cudadrv.driver")
    ptx = kernel_ptx(sampler, dtype, capability, keyed=keyed)
    options = core.LinkerOptions(
        arch="sm_{}{}".format(*capability),
        max_register_count=kernels_cuda.registers(sampler, dtype, capability, keyed),
        ptxas_options=["-v"],
    )
    linker = driver.Linker(core.ObjectCode.from_ptx(ptx.encode()), options=options)
    code, log = bytes(linker.link("cubin").code), linker.get_info_log()
    linker.close()
    lines, lanes = loop(disassembled(code), DTYPES[dtype])
    found: dict[str, Any] = {"instructions": len(lines) / lanes, "lanes": lanes}
    for unit, (_, names) in UNITS.items():
        found[unit] = sum(bool(re.match(names, line.name)) for line in lines) / lanes
    found["registers"] = int(re.findall(r"Used (\d+) registers", log)[0])
    found["spills"] = sum(map(int, re.findall(r"(\d+) bytes (?:stack|spill)", log)))
    return found


def counts() -> dict[str, dict[str, Any]]:
    """Return what is counted of every kernel."""
    from seedbed_kernels import samplers

    return {
        _key(sampler, dtype, keyed, capability): count(
            getattr(samplers, sampler), dtype, capability, keyed
        )
        for sampler, dtype, keyed in kernels()
        for capability in CAPABILITIES
    }


def kernels() -> Iterator[tuple[str, str, bool]]:
    """Yield sampler, dtype and whether it is for rows of keys, of every kernel."""
    for keyed in (False, True):
        for sampler in SAMPLERS:
            for dtype in DTYPES:
                yield sampler, dtype, keyed


def _key(*names: Any) -> str:
    return " ".join(map(str, names))


def counting(tree: Path, folder: str) -> Any:
    """Start a process that prints the counts of a tree as JSON."""
    imported = os.pathsep.join(map(str, (tree, tree / "src", tree / "kernels")))
    settings = {"PYTHONPATH": imported, "NUMBA_CACHE_DIR": tempfile.mkdtemp(dir=folder)}
    command = [sys.executable, __file__, "--count"]
    environment = os.environ | settings
    return subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)


def cycles(found: dict[str, Any]) -> tuple[float, str]:
    """Return the least cycles of a lane on compute capability 9.0, and which unit says so."""
    busy = [(turns * found[unit], unit) for unit, (turns, _) in UNITS.items()]
    return max((found["instructions"], "issue"), *busy)


def rate(found: dict[str, Any], nbytes: int) -> float:
    """Return the GB/s that an H100 could store if memory were faster."""
    warps = 4 / cycles(found)[0] * PROCESSORS * CLOCK  # 10⁹ lanes of warps a second
    return warps * 32 * (2 if nbytes == 8 else 4) * nbytes


def blocks(found: dict[str, Any], capability: tuple[int, int]) -> int:
    """Return how many blocks are on a multiprocessor at a time."""
    registers = -(-found["registers"] // 8) * 8 * 32 * WARPS
    return min(REGISTERS // registers, CAPABILITIES[capability] // WARPS)


def tables(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of all tables."""

    def change(key: str, shown: Callable[[dict[str, Any]], str]) -> str:
        old, new = (shown(found[key]) for found in (before, after))
        return new if old == new else f"{old} → {new}"

    def row(kernel: tuple[str, str, bool], cells: list[str]) -> str:
        sampler, dtype, keyed = kernel
        return f"| {sampler}, {NAMES.get(dtype, dtype)}{', keys' * keyed} | {' | '.join(cells)} |"

    yield "\n## On compute capability 9.0\n"
    yield f"| kernel | instructions | {' | '.join(UNITS)} | decided by | GB/s at most | × memory |"
    yield f"|---|--:|{'--:|' * len(UNITS)}---|--:|--:|"
    for kernel in kernels():
        key, nbytes = _key(*kernel, H100), DTYPES[kernel[1]]
        cells = [change(key, lambda found, name=name: f"{found[name]:g}")
                 for name in ("instructions", *UNITS)]  # fmt: skip
        cells.append(change(key, lambda found: cycles(found)[1]))
        cells.append(change(key, lambda found, n=nbytes: f"{rate(found, n):,.0f}"))
        cells.append(change(key, lambda found, n=nbytes: f"{rate(found, n) / MEMORY:.2f}"))
        yield row(kernel, cells)
    shown: dict[str, Callable[[dict[str, Any], tuple[int, int]], str]] = {
        "Instructions": lambda found, _: f"{found['instructions']:g}",
        "Registers, and blocks of 8 warps that fit on a multiprocessor": lambda found, capability: (
            f"{found['registers']}, {blocks(found, capability)}"
        ),
    }
    for title, text in shown.items():
        yield f"\n## {title}\n"
        yield f"| kernel | {' | '.join('{}.{}'.format(*each) for each in CAPABILITIES)} |"
        yield f"|---|{'--:|' * len(CAPABILITIES)}"
        for kernel in kernels():
            yield row(kernel, [
                change(_key(*kernel, capability), lambda found, c=capability, t=text: t(found, c))
                for capability in CAPABILITIES
            ])  # fmt: skip
    yield f"\nSpilled in all {len(after)}: {sum(each['spills'] for each in after.values())} bytes."


def main() -> None:
    """Count before and after, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", metavar="COMMIT", default="HEAD")
    parser.add_argument("--count", action="store_true", help="print this tree's counts as JSON")
    options = parser.parse_args()
    if options.count:
        json.dump(counts(), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "before")
        tree.mkdir()
        git = subprocess.run(["git", "archive", options.before], cwd=ROOT, check=True, stdout=-1)
        subprocess.run(["tar", "-x"], cwd=tree, input=git.stdout, check=True)
        started = [counting(each, folder) for each in (tree, ROOT)]
        before, after = (json.loads(process.communicate()[0]) for process in started)
    head = HEAD.format(
        before=options.before,
        packages=", ".join(f"{each} {importlib.metadata.version(each)}" for each in PACKAGES),
        units=", ".join(f"{unit} {turns}" for unit, (turns, _) in UNITS.items()),
        processors=PROCESSORS,
        clock=CLOCK,
        memory=MEMORY,
    )
    text = head + "\n".join(tables(before, after)) + "\n"
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
