"""A disk that fails, a process that dies and a power cut, at any call of the system that is made.

The calls that `seedbed` makes are counted, and recorded as far as they change a disk. From the
record comes what is there after a power cut: all that was flushed, and of the rest any part.
"""

import contextlib
import os
import sys
import threading

CALLS = ["open", "pwrite", "preadv", "pread", "ftruncate", "fsync", "fdatasync", "replace", "link"]
CALLS += ["unlink", "rename", "mkdir", "rmdir", "stat", "fstat", "listdir", "chmod"]


class Killed(BaseException):
    """The process is dead: whatever it calls after that has no effect."""


class Calls:
    """Counts the calls of the system that a block makes, and lets one of them fail.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    fails : int
        Number of the call, from 0, that raises `error`; none by default.
    error : BaseException
        With `Killed`, all calls after it raise it, too.
    disk : Disk, optional
        Records what they change.
    """

    def __init__(self, monkeypatch, fails=-1, error=None, disk=None):
        self.count, self.fails, self.error, self.disk = 0, fails, error, disk
        self.turn = threading.RLock()
        self.monkeypatch = monkeypatch

    @contextlib.contextmanager
    def counted(self):
        with self.monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            # What the system supports is asked by function.
            patch.setattr(os, "supports_dir_fd", {getattr(os, name) for name in CALLS})
            yield self

    def _wrapped(self, name, call):
        def wrapped(*arguments, **options):
            if not sys._getframe(1).f_globals.get("__name__", "").startswith("seedbed"):
                return call(*arguments, **options)
            with self.turn:
                number, self.count = self.count, self.count + 1
                if number == self.fails or (number > self.fails >= 0 and self._dead):
                    raise self.error or AssertionError("no error was given")
                before = self.disk and self.disk.before(name, arguments, options)
                result = call(*arguments, **options)
                if self.disk:
                    self.disk.after(name, arguments, options, before, result)
                return result

        return wrapped

    @property
    def _dead(self):
        return isinstance(self.error, Killed)


class Disk:
    """What one folder holds on the disk, as far as POSIX promises it.

    Parameters
    ----------
    folder : Path
        Whatever is there at the beginning counts as flushed.
    """

    def __init__(self, folder):
        self.folder = folder
        self.names = {}  # flushed: by path, the number of a file; None for a folder
        self.steps = []  # not flushed, in order: (path, number or None or "gone")
        self.flushed = {}  # by number, the bytes of a file
        self.writes = {}  # not flushed, by number: (offset, bytes), or a size
        for path in folder.rglob("*"):
            number = None if path.is_dir() else self._file(path.stat(), path.read_bytes())
            self.names[str(path.relative_to(folder))] = number

    def _file(self, stat, data=b""):
        number = stat.st_ino
        self.flushed.setdefault(number, bytearray(data))
        self.writes.setdefault(number, [])
        return number

    def _path(self, name, dir_fd):
        base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else ""
        return os.path.relpath(os.path.join(base, name), self.folder)

    def before(self, name, arguments, options):
        if name == "open" and arguments[1] & os.O_CREAT:
            path = os.path.join(self.folder, self._path(arguments[0], options.get("dir_fd")))
            return not os.path.lexists(path)
        return None

    def after(self, name, arguments, options, before, result):
        dir_fd = options.get("dir_fd", options.get("src_dir_fd"))
        if name == "open" and before:
            self.steps.append((self._path(arguments[0], dir_fd), self._file(os.fstat(result))))
        elif name == "pwrite":
            self._write(arguments[0], (arguments[2], bytes(arguments[1])[:result]))
        elif name == "ftruncate":
            self._write(arguments[0], arguments[1])
        elif name in ("fsync", "fdatasync"):
            self._flush(arguments[0])
        elif name == "mkdir":
            self.steps.append((self._path(arguments[0], dir_fd), None))
        elif name in ("unlink", "rmdir"):
            self.steps.append((self._path(arguments[0], dir_fd), "gone"))
        elif name in ("link", "replace", "rename"):
            old, new = (self._path(one, dir_fd) for one in arguments[:2])
            found = os.stat(self.folder / new)
            number = found.st_ino if found.st_ino in self.flushed else None
            moved = [(new, number)] + ([(old, "gone")] if name != "link" else [])
            self.steps.append(tuple(moved) if number is not None else ((old, new, "moved"),))

    def _write(self, fd, change):
        self.writes[os.fstat(fd).st_ino].append(change)

    def _flush(self, fd):
        number = os.fstat(fd).st_ino
        if number in self.flushed:
            for change in self.writes[number]:
                _apply(self.flushed[number], change)
            self.writes[number] = []
        else:  # a folder: the names in it
            names = self.names
            for step in self.steps:
                names = _stepped(names, step)
            self.names, self.steps = names, []

    def after_a_power_cut(self, chance, into):
        """Write what may be there then into an empty folder: `chance` decides."""
        names = self.names
        for step in self.steps[: chance.randint(0, len(self.steps))]:
            names = _stepped(names, step)
        files = {}
        for number, data in self.flushed.items():
            files[number] = bytearray(data)
            for change in self.writes[number]:
                for piece in _pieces(change):
                    if chance.random() < 0.5:
                        _apply(files[number], piece)
        for path, number in sorted(names.items()):
            if number is None:
                (into / path).mkdir()
        written = {}
        for path, number in names.items():
            if number in written:
                os.link(written[number], into / path)
            elif number is not None:
                (into / path).write_bytes(files[number])
                written[number] = into / path


def _pieces(change):
    """Return a write as the pages that a disk writes one by one."""
    if isinstance(change, int):
        return [change]
    offset, data = change
    return [(offset + at, data[at : at + 4096]) for at in range(0, len(data), 4096)]


def _apply(data, change):
    if isinstance(change, int):
        del data[change:]
        data.extend(bytes(change - len(data)))
        return
    offset, new = change
    data.extend(bytes(max(offset + len(new) - len(data), 0)))
    data[offset : offset + len(new)] = new


def _stepped(names, step):
    """Return the names after a step, or after several that the system makes at once."""
    names = dict(names)
    for one in step if isinstance(step[0], tuple) else (step,):
        if one[-1] == "moved":
            old, new, _ = one
            for path in [path for path in names if path == old or path.startswith(old + "/")]:
                names[new + path[len(old) :]] = names.pop(path)
        elif one[1] == "gone":
            names.pop(one[0], None)
        else:
            names[one[0]] = one[1]
    return names
