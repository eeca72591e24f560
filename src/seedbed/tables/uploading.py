"""A job whose files are objects in a store such as S3.

An object appears when its upload is complete, and never in part; so a job goes on after the last
whole one. What tells that all are there is written last: ``zarr.json``, or an index of shards.
Beside them, while they are not complete, an object tells of which job they are.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from seedbed_kernels import STREAM_VERSION

from .. import __version__
from ..errors import ArgumentError, OutputError, StorageError, warn
from ..storage import direct
from ..storage.foreign import mapping, parse_json, understanding
from ..storage.objects import Store, asking, attempts, sending
from ..values import threads
from . import comparing
from .advice import ScaleWarning, advice
from .job import WriteOptions
from .layout import Extent, File, chunks
from .output import Output, Part, check_part
from .pipeline import BUFFERS
from .progress import bar
from .state import MAX_BYTES, differences

INDEX = "seedbed.index.json"
STATE = ".part.json"  # after the name of the output


class Upload:
    """The work of one process on a part of an output in a store.

    Parameters
    ----------
    output : Output
        With a URL.
    options : WriteOptions

    Attributes
    ----------
    part : Part
    values, nbytes : int
        That were written.
    missing : list of str
        Parts that others have still to write.
    """

    def __init__(self, output: Output, options: WriteOptions) -> None:
        assert output.url is not None
        if options.device not in (None, "cpu"):
            raise ArgumentError(f"device must be cpu for {output.url}")
        if options.force and options.part is not None:
            raise ArgumentError("force and part have no meaning together in a store")
        self.output, self.options, self.url = output, options, output.url
        self.part = check_part(options.part, output)
        self.store = Store(output.url)
        self.values = self.nbytes = 0
        self.missing: list[str] = []
        self._last = dict(output.last_files) or {INDEX: _index(output)}
        self._described = output.describe()
        self._own: set[str] = set()  # objects that this job has written or compared

    def run(self) -> None:
        """Do all of it."""
        there = self.begin()
        if there is None:
            return
        for table in self.output.tables:
            for line in advice(table):
                warn(line, ScaleWarning)
        begin, end = self.part.share(len(self.output.files))
        files = self.output.files[begin:end]
        values = sum(table.size for file in files for table in file.tables)
        nbytes = sum(file.size for file in files)
        with sending(self.url), bar(values, nbytes, 0, self.options.progress) as shown:
            for file in files:
                if there.get(file.name) == file.size and not self._problem(file):
                    shown.update(file.size)
                else:
                    self._upload(file, shown.update)
                self._own.add(file.name)
            self._finish()

    def begin(self) -> dict[str, int] | None:
        """Refuse what cannot be written; note in the store which job this is.

        Returns
        -------
        dict or None
            The sizes of the objects there, by name; None if all is there and right.
        """
        with asking(self.url):
            return self._begin()

    def _begin(self) -> dict[str, int] | None:
        there, ours = dict(self.store.sizes()), {file.name for file in self.output.files}
        resume, force = self.options.resume, self.options.force
        complete = there.keys() >= self._last.keys()
        if complete:
            if not resume and not force:
                raise OutputError(f"{self.url}: exists; --force replaces it")
            found = self._wrong(there) if resume else ""
            if resume and not found:
                return None
            if not force:
                raise OutputError(f"{self.url}: exists, but {found}; --force replaces it")
        told = self.store.read_small(STATE, MAX_BYTES)
        if not force:
            self._check_earlier(told, there)
        anew = force and (complete or not resume or self._difference(told) != "")
        if anew:  # what tells that the rest is complete goes first
            for name in (*self._last, *ours & there.keys()):
                self.store.remove(name)
            there = {}
        if told is None or anew:
            self.store.put(STATE, json.dumps(self._described).encode())
        return there

    def _check_earlier(self, told: bytes | None, there: dict[str, int]) -> None:
        """Refuse to write over the objects of somebody else, or of a job that is not resumed."""
        difference = self._difference(told)
        if difference:
            raise OutputError(f"{self.url}{STATE}: of another job: {difference}")
        if told is None and there:
            raise OutputError(f"{self.url}: is not empty, and is no unfinished table; remove it")
        begin, end = self.part.share(len(self.output.files))
        mine = {file.name for file in self.output.files[begin:end]} & there.keys()
        if mine and not self.options.resume:
            raise OutputError(
                f"{self.url}: {len(mine)} objects are there from an earlier job; "
                "--resume continues it, --force starts again"
            )

    def _difference(self, told: bytes | None) -> str:
        """Return in what the job that an object tells of is another one, or nothing."""
        if told is None:
            return ""
        with understanding(self.url + STATE, "damaged"):
            saved = mapping(parse_json(told), "state")
        for key, here, there in differences(self._described, saved):
            return f"{key} is {there!r} there, {here!r} here"
        return ""

    def _upload(self, file: File, shown: Any) -> None:
        for left in attempts():
            try:
                with self.store.writing(file.name, file.size) as opened:
                    opened.write(file.header)
                    threads.hand_over(self._made(file), opened.write, ahead=BUFFERS - 1)
                    opened.write(bytes(file.tail))
                break
            except Exception:
                if not left:
                    raise
        self.values += sum(table.size for table in file.tables)
        self.nbytes += sum(table.nbytes for table in file.tables)
        shown(file.size)

    def _made(self, file: File) -> Iterator[memoryview]:
        nbytes = min(self.options.chunk_bytes, file.size)
        buffers = [direct.buffer(nbytes) for _ in range(BUFFERS + 1)]
        for number, chunk in enumerate(chunks(list(file.extents()), nbytes)):
            values = chunk.generate(buffers[number % len(buffers)])
            yield values.view(np.uint8).data

    def _wrong(self, there: dict[str, int]) -> str:
        """Return what is wrong with an output that is complete, or nothing."""
        for name, data in self._last.items():
            if self.store.read_small(name, MAX_BYTES) != data:
                return f"has another {name}"
        for file in self.output.files:
            if there.get(file.name) != file.size:
                return f"{file.name} has not {file.size:,} bytes"
            found = self._problem(file)
            if found:
                return f"{file.name}: {found}"
        return ""

    def _problem(self, file: File) -> str:
        """Return what is wrong with an object of the right size, or nothing."""
        if self.store.read(file.name, 0, len(file.header)) != file.header:
            return "has another header"
        extents = list(file.extents())
        looked_at = comparing.everything if self.options.check == "all" else comparing.samples
        buffer = direct.buffer(comparing.CHUNK_BYTES)
        for extent in looked_at(extents):
            right = extent.generate(buffer)
            there = np.frombuffer(self._read(extent), right.dtype)
            if not np.array_equal(there.view(np.uint8), right.view(np.uint8)):
                return comparing.first(extent, there, right)
        return ""

    def _read(self, extent: Extent) -> bytes:
        return self.store.read(extent.file.name, extent.offset, extent.offset + extent.nbytes)

    def _finish(self) -> None:
        """Write what tells that all is complete, if it is; else note which parts are missing."""
        there = self.store.sizes()
        of = self.part.of
        for number in range(1, of + 1):
            begin, end = Part(number, of).share(len(self.output.files))
            files = self.output.files[begin:end]
            if any(there.get(file.name) != file.size for file in files):
                self.missing.append(f"{number}/{of} (missing)")
        if self.missing:
            return
        for file in self.output.files:
            found = "" if file.name in self._own else self._problem(file)
            if found:
                what = f"{file.name}: {found}; --resume of its part writes it again"
                raise StorageError(None, what, self.url)
        if self.output.describe() != self._described:
            raise StorageError(
                None, "an older file changed meanwhile; --force starts again", self.url
            )
        for name, data in self._last.items():
            self.store.put(name, data)
        self.store.remove(STATE)


def _index(output: Output) -> bytes:
    """Return what tells of shards that they are complete."""
    index = {
        "seedbed_version": __version__,
        "stream_version": STREAM_VERSION,
        "tables": {table.name: table.describe() for table in output.tables},
        "files": {file.name: file.size for file in output.files},
    }
    return (json.dumps(index, indent=1) + "\n").encode()
