"""Tells what of ``src/seedbed`` the tests have run: ``python -m tests.coverage FOLDER``.

FOLDER is what SEEDBED_COVERAGE named while they ran, with tests/coverage/start on PYTHONPATH. A
statement counts if it was begun; of each ``if``, ``for`` and ``while`` both the way into its body
and the way past it count. The kernels are not looked at: their code is compiled.
"""

import argparse
import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .start.sitecustomize import FILES, INTO, PAST, RUN, SOURCE, place

FLOOR = 95.0  # percent, of all
ROOM = 93.0  # of each folder
EXCLUDED = re.compile(r"#\s*pragma: no cover|if TYPE_CHECKING:|raise NotImplementedError")


def wanted(path: Path) -> Iterator[tuple[int, int]]:
    """Yield lines and kinds of the marks that a file should have."""
    lines = path.read_text().splitlines()

    def inside(statements: list[ast.stmt]) -> Iterator[tuple[int, int]]:
        for one in statements:
            text = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
            future = isinstance(one, ast.ImportFrom) and one.module == "__future__"
            if text or future:
                continue
            body = getattr(one, "body", None)
            head = lines[one.lineno - 1 : body[0].lineno - 1 if body else one.end_lineno]
            if EXCLUDED.search("\n".join(head)):
                continue
            yield one.lineno, RUN
            if isinstance(one, ast.If | ast.For | ast.While):
                yield one.lineno, INTO
                if not (isinstance(one, ast.While) and isinstance(one.test, ast.Constant)):
                    yield one.lineno, PAST
            for field in ("body", "orelse", "finalbody"):
                yield from inside(getattr(one, field, []))
            for part in (*getattr(one, "handlers", ()), *getattr(one, "cases", ())):
                if not EXCLUDED.search(lines[part.body[0].lineno - 2]):
                    yield from inside(part.body)

    yield from inside(ast.parse("\n".join(lines)).body)


def ranges(missing: list[tuple[int, int]]) -> str:
    """Return lines that no test runs, and branches of which a way is not taken, in few words."""
    lines = sorted(line for line, kind in missing if kind == RUN)
    words = []
    for _, some in itertools.groupby(enumerate(lines), lambda pair: pair[1] - pair[0]):
        run = [line for _, line in some]
        words.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}")
    ways = {INTO: "never true", PAST: "never false"}
    words += [f"{line} {ways[kind]}" for line, kind in missing if kind != RUN and line not in lines]
    return ", ".join(words)


def main() -> int:
    """Print what no test runs and a table of the rooms; return 1 if one is below its floor."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("folder", type=Path)
    marks = (parser.parse_args().folder / "marks").read_bytes()
    rooms: dict[str, list[int]] = {}
    for path in FILES:
        found = sorted(set(wanted(path)))
        missing = [one for one in found if not marks[place(path, *one)]]
        file = path.relative_to(SOURCE)
        for room in ("all", file.parts[0] if len(file.parts) > 1 else "beside them"):
            counts = rooms.setdefault(room, [0, 0])
            counts[0] += len(found)
            counts[1] += len(missing)
        if missing:
            print(f"{file} {1 - len(missing) / len(found):.1%}: {ranges(missing)}")
    print()
    low = False
    for room, (count, missing) in rooms.items():
        percent = 100 * (count - missing) / count
        below = percent < (FLOOR if room == "all" else ROOM)
        low |= below
        mark = " is too low" if below else ""
        print(f"{room:12} {count:5} statements and branches, {percent:6.2f} % run{mark}")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
