"""Marks what of Seedbed this process runs, where SEEDBED_COVERAGE names a folder.

Python imports this file at its start wherever PYTHONPATH names the folder that it lies in. Modules
of Seedbed are then compiled with a mark before each statement and at each way out of a branch. The
marks are bytes of a file that all processes share, so those of killed processes count, too, and
those of forked children and of all threads. No tracer is needed, which would more than double the
time of the tests.
"""

import importlib.machinery
import marshal
import mmap
import os
import sys
import zlib
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src" / "seedbed"
FILES = sorted(SOURCE.rglob("*.py"))
LINES = 512  # of a file, at most
RUN, INTO, PAST = range(3)  # a statement; a branch, into its body or past it
SIZE = len(FILES) * LINES * 4


def place(path: Path, line: int, kind: int) -> int:
    """Return where the byte of a mark is."""
    return (FILES.index(path) * LINES + line) * 4 + kind


def marked(source: bytes, path: Path):
    """Return the code of a module, with marks."""
    import ast

    first = FILES.index(path) * LINES * 4

    def mark(line: int, kind: int) -> ast.stmt:
        target = f"__coverage__[{first + line * 4 + kind}] = 1"
        return ast.increment_lineno(ast.parse(target).body[0], line - 1)

    tree = ast.parse(source)
    for node in [*ast.walk(tree)]:
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if not isinstance(statements, list):
                continue
            made = []
            for one in statements:
                text = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
                future = isinstance(one, ast.ImportFrom) and one.module == "__future__"
                made += [one] if text or future else [mark(one.lineno, RUN), one]
            if field == "body" and isinstance(node, ast.If | ast.For | ast.While):
                made.insert(0, mark(node.lineno, INTO))
            if field == "orelse" and isinstance(node, ast.If | ast.For | ast.While):
                made.insert(0, mark(node.lineno, PAST))
            setattr(node, field, made)
    # A global, and no builtin: PyTorch's compiler, which traces some of this, goes round globals.
    given = "__coverage__ = __import__('sys').__coverage__"
    for first_mark, one in enumerate(tree.body):
        if isinstance(one, ast.Assign):
            tree.body.insert(first_mark, ast.parse(given).body[0])
            break
    return compile(tree, str(path), "exec", dont_inherit=True)


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles modules with marks, once for all processes."""

    def get_code(self, fullname):
        """Return the code of a module."""
        source = self.get_data(self.path)
        kept = Path(FOLDER, f"{Path(self.path).relative_to(SOURCE)}.{zlib.crc32(source)}")
        try:
            return marshal.loads(kept.read_bytes())
        except (OSError, ValueError, EOFError):
            code = marked(source, Path(self.path))
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            new = kept.with_suffix(f".{os.getpid()}")
            new.write_bytes(marshal.dumps(code))
            os.replace(new, kept)
        except OSError:  # a process that may write nothing
            pass
        return code


class Finder:
    """Finds modules of Seedbed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        """Return the specification of a module, with our loader."""
        if fullname.partition(".")[0] != "seedbed":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin and SOURCE in Path(spec.origin).parents:
            spec.loader = Loader(fullname, spec.origin)
        return spec


if FOLDER := os.environ.get("SEEDBED_COVERAGE"):
    os.makedirs(FOLDER, exist_ok=True)
    _file = os.open(os.path.join(FOLDER, "marks"), os.O_RDWR | os.O_CREAT, 0o666)
    os.truncate(_file, SIZE)
    sys.__coverage__ = mmap.mmap(_file, SIZE)
    os.close(_file)
    sys.meta_path.insert(0, Finder)
