"""A job whose files are objects in a store such as S3.

An object appears when its upload is complete, and never in part; so a job goes on after the last
whole one. What tells that all are there is written last: ``zarr.json``, or an index of shards.
Beside them, while they are not complete, an object tells of which job they are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, OutputError, StorageError, warn
from ..storage import direct
from ..storage.foreign import mapping, parse_json, understanding
from ..storage.objects import Store, asking, attempts, sending, tag
from ..storage.places import STATE, Remote, is_unfinished, read_small
from ..values import threads
from . import comparing
from .advice import ScaleWarning, advice
from .formats import shards, zarr
from .job import WriteOptions
from .layout import Extent, File, chunks
from .output import Output, Part, check_part
from .pipeline import BUFFERS
from .progress import bar, readable
from .state import MAX_BYTES, differences


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
        self._last = dict(output.last_files)
        if not self._last:
            self._last[shards.INDEX] = shards.index(output.tables, output.files)
        self._described = output.describe()
        self._own: dict[str, Any] = {}  # tags of objects that this job has written or compared

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
                self._check_ours()
                found = there.get(file.name)
                if found is not None and found[0] == file.size and not self._problem(file):
                    shown.update(file.size)
                else:
                    self._upload(file, shown.update)
                    found = tag(self.store.info(file.name))
                self._own[file.name] = found
            self._finish()

    def begin(self) -> dict[str, tuple[Any, ...]] | None:
        """Refuse what cannot be written; note in the store which job this is.

        Returns
        -------
        dict or None
            The tags of the objects there, by name; None if all is there and right.
        """
        with asking(self.url):
            return self._begin()

    def _begin(self) -> dict[str, tuple[Any, ...]] | None:
        there, ours = self.store.tags(), {file.name for file in self.output.files}
        resume, force = self.options.resume, self.options.force
        complete = there.keys() >= self._last.keys()
        if complete:
            if not resume and not force:
                raise OutputError(f"{self.url}: exists; --force replaces it")
            found = self._wrong(there) if resume else ""
            if resume and not found:
                self.store.remove(STATE)
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
        if anew:
            self.store.put(STATE, json.dumps(self._described).encode())
        elif told is None:  # as for another job that begins at the same moment
            self.store.put_new(STATE, json.dumps(self._described).encode())
            self._check_earlier(self.store.read_small(STATE, MAX_BYTES), there)
        return there

    def _check_earlier(self, told: bytes | None, there: Mapping[str, Any]) -> None:
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

    def _check_ours(self) -> None:
        """Stop where a job that was forced has taken the place of this one."""
        told = self.store.read_small(STATE, MAX_BYTES)
        gone = told is None and any(
            self.store.read_small(name, MAX_BYTES) != data for name, data in self._last.items()
        )
        if gone or self._difference(told):
            raise StorageError(None, "another job has taken the place of this one", self.url)

    def _wrong(self, there: Mapping[str, tuple[Any, ...]]) -> str:
        """Return what is wrong with an output that is complete, or nothing."""
        for name, data in self._last.items():
            if self.store.read_small(name, MAX_BYTES) != data:
                return f"has another {name}"
        for file in self.output.files:
            if there.get(file.name, (None,))[0] != file.size:
                return f"{file.name} has not {file.size:,} bytes"
            found = self._problem(file)
            if found:
                return f"{file.name}: {found}"
        return ""

    def _problem(self, file: File) -> str:
        """Return what is wrong with an object of the right size, or nothing."""
        header = np.empty(len(file.header), np.uint8)
        self.store.fill([(file.name, 0, header)])
        if header.tobytes() != file.header:
            return "has another header"
        looked_at = comparing.everything if self.options.check == "all" else comparing.samples
        return comparing.first_difference(looked_at(list(file.extents())), self._read)

    def _read(self, wanted: Sequence[tuple[Extent, np.ndarray]]) -> None:
        self.store.fill([(extent.file.name, extent.offset, data) for extent, data in wanted])

    def _finish(self) -> None:
        """Write what tells that all is complete, if it is; else note which parts are missing."""
        there = self.store.tags()
        of = self.part.of
        for number in range(1, of + 1):
            begin, end = Part(number, of).share(len(self.output.files))
            files = self.output.files[begin:end]
            if any(there.get(file.name, (None,))[0] != file.size for file in files):
                self.missing.append(f"{number}/{of} (missing)")
        if self.missing:
            return
        for file in self.output.files:
            found = "" if self._own.get(file.name) == there[file.name] else self._problem(file)
            if found:
                what = f"{file.name}: {found}; --resume of its part writes it again"
                raise StorageError(None, what, self.url)
        if self.output.describe() != self._described:
            raise StorageError(
                None, "an older file changed meanwhile; --force starts again", self.url
            )
        self._check_ours()
        for name, data in self._last.items():
            self.store.put(name, data)
        self.store.remove(STATE)


def unfinished(place: Remote) -> list[str]:
    """Return a line that says how far the objects of an unfinished table are; none of another."""
    if place.inside.keys() & {shards.INDEX, zarr.METADATA} or not is_unfinished(place):
        return []
    state = place.beside(STATE)
    told = read_small(state, MAX_BYTES)
    with understanding(state, "damaged"):
        output = Output.from_description(Path(place.name), parse_json(told))
        sizes = {name: one.size for name, one in place.inside.items()}
        there = [file.size for file in output.files if sizes.get(file.name) == file.size]
        total = sum(file.size for file in output.files)
        percent = f"{100 * sum(there) / max(total, 1):.0f} %"
    return [
        f"{place}: unfinished, {percent} of {readable(total)} is there: "
        f"{len(there):,} of {len(output.files):,} {output.unit}"
    ]
