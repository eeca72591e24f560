"""The last step: what is complete and right, and only that, gets its final name."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import (
    ArgumentError,
    FormatError,
    OutputError,
    StorageError,
    brief,
    is_one_of,
    naming,
    warn,
)
from ..locks import renewed_lock
from ..storage.atomic import Folder, failing, refusing, resolved
from ..storage.direct import read_all
from ..storage.foreign import local_path, mapping, open_regular, read_small, understanding
from ..storage.locks import TakenError, locked
from . import comparing, state
from .configurations import absent_array
from .layout import Extent, File
from .output import MAX_OPEN, Output, Part
from .placing import Placed
from .state import State

Opened = Callable[[File], contextlib.AbstractContextManager[int]]

WAIT = 0.05  # seconds, after which a part looks again whether another one is at the last step
_turn = renewed_lock()  # who reads the shards of another thread takes its locks on them


def finish(
    path: str | os.PathLike[str], *, force: bool = False, check: str = "all"
) -> Output | None:
    """Give an output that was written in parts its final name.

    Parameters
    ----------
    path : path
        The final name.
    force : bool
        Whether to replace a file of that name.
    check : {"all", "sample"}
        What is compared with the stream first: all values, or 64 windows of every part.

    Returns
    -------
    Output or None
        What has its final name now; None if it had it before.

    Raises
    ------
    OutputError
        If a part is missing, or if there is nothing to finish.
    FormatError
        If the states beside it are damaged.
    StorageError
        If the values are not what they should be, or the disk fails.
    """
    with naming("tables.finish"):
        if not is_one_of(("all", "sample"), check):
            raise ArgumentError(f"check must be 'all' or 'sample'; given {brief(check)}")
        path = local_path(path)
        target = resolved(path)
        if not os.path.isdir(target.parent):
            raise OutputError(f"{path}: there is no folder {target.parent}")
        with contextlib.ExitStack() as stack:
            with refusing(path):
                folder = stack.enter_context(Folder(target.parent))
                found = {name: State.load(folder, name) for name in state.names(folder, target)}
            if not found and os.path.exists(path):
                return None
            if not found:
                raise OutputError(f"{path}: there is nothing to finish")
            return _finish(path, folder, found, force, check)


def _finish(
    path: Path, folder: Folder, found: Mapping[str, State], force: bool, check: str
) -> Output | None:
    first = next(iter(found.values()))
    for name, saved in found.items():
        state.check_same(first.output, saved, folder.path / name)
    with understanding(folder.path / next(iter(found)), "damaged"):
        absent = [
            absent_array(table.get("initializer"))
            for table in mapping(first.output.get("tables"), "tables").values()
        ]
    if any(absent):
        raise OutputError(f"{path}: {max(absent)}: write a part again with --resume")
    with understanding(folder.path / next(iter(found)), "damaged"):
        output = Output.from_description(path, first.output)
        for saved in found.values():
            if saved.part.of != first.part.of or saved.total != _total(output, saved.part):
                raise FormatError(f"{saved.total:,} bytes are not part {saved.part}")
    with refusing(path):
        if problem(output, None, check) == "":
            clean(output)
            return None
    missing = _missing(output, first.part.of, folder, first.output)
    if not missing:
        with contextlib.ExitStack() as stack:
            fds = {}
            with refusing(path):
                inside = _inside(output, folder, stack)
                for file in output.files[:MAX_OPEN]:  # one of them keeps out who writes all
                    with contextlib.suppress(FileNotFoundError):
                        name = file.name or output.partial.name
                        lock = locked(inside, name, 1, 1, create=False)
                        fds[file.name] = stack.enter_context(lock)
            with failing(output.partial):
                missing = try_finish(output, first, None, folder, fds, force=force, check=check)
    if missing:
        raise OutputError(f"{path}: not complete: part {few(missing)}")
    return output


def _total(output: Output, part: Part) -> int:
    return sum(extent.nbytes for extent in output.extents(part))


def _inside(output: Output, folder: Folder, stack: contextlib.ExitStack) -> Folder:
    """Return the folder that the unfinished files are in."""
    if output.shards is None:
        return folder
    return stack.enter_context(folder.folder(output.partial.name))


def try_finish(
    output: Output,
    saved: State,
    own: Part | None,
    folder: Folder,
    fds: Mapping[str, int],
    *,
    force: bool,
    check: str,
) -> list[str]:
    """Give an output its final name if all its parts are complete; else say which are not.

    Parameters
    ----------
    output : Output
    saved : State
        Of any of its parts.
    own : Part, optional
        Which part this process has just written, so that a sample of it will do.
    folder : Folder
        That the output is in.
    fds : mapping
        The files, by name, that this process has open and locked: they stay so until the end.
    force : bool
        Whether to replace a file of that name.
    check : {"all", "sample"}
        What is compared of all other parts.
    """
    parts = saved.part.of
    missing = _missing(output, parts, folder, saved.output)
    if missing:
        return [] if _is_published(output, folder) else missing
    with _turn, _alone(output, parts, folder):
        if parts > 1 and _is_published(output, folder):  # by another part, while this one waited
            return []
        try:
            _check_kept(output, saved)
            _check_parts(output, parts, own, folder, fds, check)
            replace = force and output.shards is None
            _write_last(output, folder)
            folder.publish(output.partial.name, output.target.name, replace=replace)
        except FileExistsError:
            if not _is_published(output, folder):  # by another part, at the same moment
                raise StorageError(
                    errno.EEXIST,
                    "exists, which it did not when the job began; --force --resume replaces it",
                    output.path,
                ) from None
        except FileNotFoundError:
            if not _is_published(output, folder):
                raise
    _clear(output, parts, folder)
    return []


@contextlib.contextmanager
def _alone(output: Output, parts: int, folder: Folder) -> Iterator[None]:
    """Wait until no other part is at the last step, and keep others from it."""
    if parts == 1:  # which has the lock of all
        yield
        return
    name = _lock_of(output)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder, name, 1, 1))
                break
            except TakenError:
                time.sleep(WAIT)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # an empty file, which the next one removes
                folder.remove(name)


def _lock_of(output: Output) -> str:
    return f"{output.partial.name}.lock"


def _write_last(output: Output, folder: Folder) -> None:
    """Write what tells that all other files are complete."""
    if output.last_files:
        with folder.folder(output.partial.name) as inside:
            for name, data in output.last_files.items():
                inside.write_text(name, data.decode())


def _clear(output: Output, parts: int, folder: Folder) -> None:
    """Flush the new name, and remove the states; whatever fails, the output is complete."""
    try:
        folder.sync()
    except OSError as error:
        raise StorageError(
            error.errno,
            f"is complete and has its name, but the folder is not flushed: {error.strerror}",
            output.path,
        ) from error
    try:
        for number in range(1, parts + 1):
            folder.remove(state.name_of(output, Part(number, parts)))
    except OSError as error:
        warn(f"{output.path}: is complete; {error.filename} may be removed: {error.strerror}")


def few(parts: Sequence[str]) -> str:
    """Return the first of many parts, and how many more there are."""
    more = f" and {len(parts) - 5:,} more" if len(parts) > 5 else ""
    return ", ".join(parts[:5]) + more


def _missing(output: Output, parts: int, folder: Folder, description: dict[str, Any]) -> list[str]:
    """Return which parts are not complete."""
    missing = []
    there = set(state.names(folder, output.target))
    for number in range(1, parts + 1):
        name = state.name_of(output, Part(number, parts))
        saved = state.load_if_there(folder, name) if name in there else None
        if saved is None or not saved.complete or saved.output != description:
            of = "missing" if saved is None else f"{saved.percent} done"
            missing.append(f"{number}/{parts} ({of})")
    return missing


def _check_kept(output: Output, saved: State) -> None:
    """Refuse an output with rows of an older file that has changed since."""
    for table in output.tables:
        if table.kept is not None:
            before: Any = saved.output["tables"][table.name]["kept"]
            if table.kept.describe() != before:
                again = state.again(output, saved.part.of)
                raise StorageError(
                    None, f"changed while its rows were copied; {again}", table.kept.path
                )
        if isinstance(table.placed, Placed):
            before = saved.output["tables"][table.name]["placed_files"]
            if table.placed.files() != before:
                again = state.again(output, saved.part.of)
                raise StorageError(
                    None,
                    f"or its ids, changed while its rows were copied; {again}",
                    table.placed.path,
                )


def _check_parts(
    output: Output,
    parts: int,
    own: Part | None,
    folder: Folder,
    fds: Mapping[str, int],
    check: str,
) -> None:
    """Refuse an unfinished output that is not as it should be: sizes, headers, values."""
    with contextlib.ExitStack() as stack:
        inside = _inside(output, folder, stack)

        def opened(file: File) -> contextlib.AbstractContextManager[int]:
            if file.name in fds:
                return contextlib.nullcontext(fds[file.name])
            return _reading(inside.path / file.name, inside.fd)

        for number in range(1, parts + 1):
            part = Part(number, parts)
            found = _problem(output.extents(part), opened, "sample" if part == own else check)
            if found:
                option = f"--part {part} --resume" if parts > 1 else "--resume"
                raise StorageError(None, f"{found}; {option} writes it again", output.partial)


@contextlib.contextmanager
def _reading(path: Path, dir_fd: int | None) -> Iterator[int]:
    fd = open_regular(path, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_published(output: Output, folder: Folder) -> bool:
    return folder.stat(output.partial.name) is None and problem(output, None, "sample") == ""


def problem(output: Output, part: Part | None, check: str) -> str | None:
    """Return what is wrong with an output of that name: nothing if it is right, None if not there.

    Parameters
    ----------
    output : Output
    part : Part, optional
        Which part is looked at; all by default.
    check : {"all", "sample"}
    """
    if not os.path.exists(output.target):
        return None
    if output.shards is not None:
        there = os.path.isdir(output.target) and os.listdir(output.target)
        if there == []:
            return None
        if not there or set(there) != output.names:
            return f"does not hold its {output.unit}"
        for name, data in output.last_files.items():
            if read_small(output.target / name, len(data) + 1) != data:
                return f"has another {name}"

    def opened(file: File) -> contextlib.AbstractContextManager[int]:
        return _reading(output.target / file.name if file.name else output.target, None)

    return _problem(output.extents(part or Part()), opened, check)


def _problem(extents: Sequence[Extent], opened: Opened, check: str) -> str:
    """Return what is wrong with the files of extents, or nothing."""
    by_file: dict[str, list[Extent]] = {}
    for extent in extents:
        by_file.setdefault(extent.file.name, []).append(extent)
    for found in by_file.values():
        file = found[0].file
        with opened(file) as fd:
            size = os.fstat(fd).st_size
            if size != file.size:
                return f"has {size:,} bytes, not {file.size:,}"
            header = bytearray(len(file.header))
            read_all(fd, header, 0)
            if header != file.header:
                return "has another header"
            looked_at = comparing.everything(found) if check == "all" else comparing.samples(found)
            first = comparing.first_difference(looked_at, comparing.on_disk(lambda _: fd))
            if first:
                return f"{file.name}: {first}" if file.name else first
    return ""


def clean(output: Output) -> None:
    """Remove what a job left that was killed once the output had its final name."""
    with output.open_folder() as folder:
        name = output.partial.name
        found = folder.stat(name)
        if found is None or folder.same(name, output.target.name):
            folder.remove(name)
            folder.remove(_lock_of(output))
            for name in state.names(folder, output.target):
                saved = state.load_if_there(folder, name)
                if saved is not None and saved.complete:
                    folder.remove(name)
