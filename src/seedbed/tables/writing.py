"""Writing a table, or several, to disk."""

import os
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal, NamedTuple

from ..errors import ArgumentError, ArgumentTypeError, as_integer, brief, naming
from .finishing import few
from .growing import grown, matrix, older
from .job import CHECKPOINT_SECONDS, CHUNK_BYTES, Job, WriteOptions
from .output import Output, Part, output_at
from .placing import check_ids, read_ids
from .progress import readable
from .table import table
from .uploading import Upload


class Summary(NamedTuple):
    """What a call wrote; as a string, one line.

    Attributes
    ----------
    output : Output
        Of which it wrote all or a part.
    values, nbytes : int
        Without what was there already.
    seconds : float
        Of the whole call.
    part : Part
        Which part, if not all.
    missing : list of str
        Parts that others have still to write; if empty, the output has its final name.
    """

    output: Output
    values: int
    nbytes: int
    seconds: float
    part: Part
    missing: list[str]

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        what = f"{self.output}, part {self.part}" if self.part != Part() else f"{self.output}"
        if self.output.nbytes and not self.nbytes:
            text = f"{what}: was complete"
        else:
            seconds = max(self.seconds, 1e-9)
            text = (
                f"{what}: {readable(self.nbytes)} in {seconds:.2f} s "
                f"({self.values / seconds / 1e6:,.0f} M values/s, "
                f"{self.nbytes / seconds / 1e9:.2f} GB/s)"
            )
        return text + (f"; to do: part {few(self.missing)}" if self.missing else "")


def write(
    path: str | os.PathLike[str],
    init: Any,
    shape: Sequence[int],
    dtype: Any = None,
    *,
    name: str | None = None,
    grow: str | os.PathLike[str] | None = None,
    ids: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    by: Literal["row", "key"] = "row",
    rows: tuple[int, int] | slice | None = None,
    shards: int | None = None,
    chunk_rows: int | None = None,
    shard_rows: int | None = None,
    part: tuple[int, int] | None = None,
    resume: bool = False,
    force: bool = False,
    check: Literal["all", "sample"] = "all",
    progress: bool = False,
    device: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Summary:
    """Write a table to disk, in memory bounded by the chunks, not by the table.

    While it is not complete it is at ``path + ".part"``, with its progress in a small JSON file
    beside that; it gets its name once complete and flushed to the disk.

    Parameters
    ----------
    path : path
        Ends in ``.npy``, ``.safetensors`` or ``.zarr``; with `shards`, the name of a folder. A
        symbolic link to a file is written through. A ``.zarr`` or shards may be a URL such as
        ``s3://bucket/t.zarr`` (extras ``s3`` and ``gcs``): of objects, each of which appears whole,
        ``zarr.json`` or ``seedbed.index.json`` last.
    init : Initializer, str or dict
        As `seedbed.initializers.get` takes; with an integer seed, or None, but no generator. A
        class of your own that makes no windows is computed as a whole, once.
        With `grow`, None is the initializer that made the older file.
    shape : sequence of int
        The full table, of any rank.
    dtype : dtype or name, optional
        float32 by default; with `grow`, that of the older file. ``.npy`` has no bfloat16 and no
        float8.
    name : str, optional
        Of the tensor in a ``.safetensors`` file: ``"weight"`` by default.
    grow : path, optional
        An older, shorter file, whose rows come first as they are there, trained or not.
    ids : tuple of two paths, optional
        With `grow`, of two axes: ``.npy`` files of the ids of the older rows, and of the new ones,
        a row each. A known id keeps its older row wherever it stands now; see `grow`.
    by : {"row", "key"}
        Whether rows of new ids are those of the table, or those of `Initializer.keyed`.
    rows : tuple of two int, or slice, optional
        Write these rows only, (start, stop).
    shards : int, optional
        Write a folder of so many files, equal but for a row, that PyTorch's
        ``torch.distributed.checkpoint`` loads as one tensor.
    chunk_rows, shard_rows : int, optional
        Of a ``.zarr``: rows of a chunk, which is what its readers read at least, and of a file of
        several chunks, a multiple of that. By default chunks of about 4 MiB, and 64 of them in a
        file, or more if there would be more than 512 files. If equal, a chunk is a file.
    part : tuple of two int, optional
        (k, n): write part k, from 1, of n. Any process or host that sees the folder may write
        any part; the last one to be complete gives the output its name. Shards and the files of
        a ``.zarr`` are not cut, so there may be as many parts as these.
    resume : bool
        Continue an earlier job that was interrupted. What it wrote is compared with the stream
        first, and mended where it differs. A table that is complete is compared, too, and left as
        it is.
    force : bool
        Replace an existing file, once the new one is complete; drop an unfinished one. The new one
        gets the permissions of the old one.
    check : {"all", "sample"}
        What is compared of all that this call has not written itself, before it gets its final
        name: every value, or some windows. With ``"sample"`` a damaged value may be published.
    progress : bool
        Show a progress bar if standard error is a terminal.
    device : str, optional
        Where values are made: ``"cpu"`` (default), ``"cuda"`` or ``"cuda:1"``. They are the same.
    chunk_bytes : int
        What is made and written at a time; three times that is held in memory.
    checkpoint_seconds : float
        How much work a killed process may lose.

    Returns
    -------
    Summary
        What was written.

    Raises
    ------
    ArgumentError, ArgumentTypeError, DeviceError
        If an argument is not as said above; before any work.
    OutputError
        If the file exists, the disk has no room, or another process is writing it; before any
        work.
    FormatError
        If the older file, or the state of an interrupted job, is damaged; before any work.
    StorageError
        If the disk fails or fills up, or what was written by others is damaged; an OSError.
        `resume` goes on from there.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from seedbed import initializers
    >>> init = initializers.GlorotUniform(seed=7)
    >>> path = tempfile.mkdtemp() + "/table.npy"
    >>> write(path, init, (1000, 64)).nbytes
    256000
    >>> bool((np.load(path) == init((1000, 64))).all())
    True
    """
    with naming("tables.write"):
        if grow is None:
            if ids is not None:
                raise ArgumentError("ids have no meaning without grow")
            one = table(init, shape, dtype, name="weight" if name is None else name, rows=rows)
        elif rows is None:
            one = grown(grow, shape, init, dtype, name=name, ids=ids, by=by)
        else:
            raise ArgumentError(f"grow writes all rows; given rows {brief(rows)}")
        options = WriteOptions(
            part=part,
            resume=resume,
            force=force,
            check=check,
            progress=progress,
            device=device,
            chunk_bytes=chunk_bytes,
            checkpoint_seconds=checkpoint_seconds,
        )
        return write_output(output_at(path, [one], shards, chunk_rows, shard_rows), options)


def grow(
    old: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    ids_old: str | os.PathLike[str],
    ids_new: str | os.PathLike[str],
    width: int | None = None,
    init: Any = None,
    by: Literal["row", "key"] = "row",
    name: str | None = None,
    shards: int | None = None,
    **options: Any,
) -> Summary:
    """Write a table whose rows have ids, and keep the rows of those that an older file has.

    Memory holds 8 bytes for each older id and, before the work, 8 for each new one; the ids and the
    older rows stay on the disk.

    Parameters
    ----------
    old : path
        The older file, ``.npy`` or ``.safetensors``, of two axes.
    path : path
        Of the new one.
    ids_old, ids_new : path
        ``.npy`` files of one axis of integers: the ids of the older rows, and of the new, in any
        order. No id may be repeated. Older ids that are not among the new ones are dropped.
    width : int, optional
        Columns, at least as many as the older file has, which is the default. The older columns are
        kept, and those beyond are drawn.
    init : Initializer, optional
        That made the older file by default, where its metadata say so.
    by : {"row", "key"}
        Whether new ids draw the row of the new table where they stand, or the row of
        `Initializer.keyed`, which does not depend on where that is. Ids are then 64 bits: -1 and
        2**64 - 1 are the same key.
    name : str, optional
        Which tensor of the older file, if there are several.
    shards, **options
        As `write` takes them: part, resume, force, check, progress, device, chunk_bytes and
        checkpoint_seconds.

    Returns
    -------
    Summary
        What was written.

    Raises
    ------
    ArgumentError, FormatError, OutputError, StorageError
        As `write` does; damaged and repeated ids are refused before any work.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> np.save(f"{folder}/old.npy", np.float32([[1, 2], [3, 4], [5, 6]]))
    >>> np.save(f"{folder}/ids_old.npy", [70, 80, 90])
    >>> np.save(f"{folder}/ids_new.npy", [90, 10, 70])
    >>> ids = {"ids_old": f"{folder}/ids_old.npy", "ids_new": f"{folder}/ids_new.npy"}
    >>> _ = grow(f"{folder}/old.npy", f"{folder}/new.npy", init="zeros", **ids)
    >>> np.load(f"{folder}/new.npy").tolist()
    [[5.0, 6.0], [0.0, 0.0], [1.0, 2.0]]
    """
    with naming("tables.grow"):
        known = [field.name for field in fields(WriteOptions)]
        if unknown := sorted(options.keys() - set(known)):
            raise ArgumentTypeError(f"options are {', '.join(known)}; given {unknown[0]}")
        _, new = check_ids((ids_old, ids_new))
        columns = matrix(older(old, name)).shape[1]
        width = columns if width is None else as_integer(width, "width")
        if width < columns:
            raise ArgumentError(
                f"width must be at least {columns}, the columns of {old}; given {brief(width)}"
            )
        shape = len(read_ids(new)), width
        one = grown(old, shape, init, name=name, ids=(ids_old, ids_new), by=by)
        return write_output(output_at(path, [one], shards), WriteOptions(**options))


def write_output(output: Output, options: WriteOptions) -> Summary:
    """Write an output of any number of tables."""
    start = time.perf_counter()
    job = Job(output, options) if output.url is None else Upload(output, options)
    job.run()
    seconds = time.perf_counter() - start
    return Summary(output, job.values, job.nbytes, seconds, job.part, job.missing)
