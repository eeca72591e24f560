"""Tables in stores that are opened, verified and told about, as local ones are.

An S3 of Moto, where what is asked for can be seen; fsspec's memory where a store is enough. NumPy
arrays of the initializer are the oracle.
"""

import hashlib
import json
import os
import pickle

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import FormatError, SeedbedError, StorageError
from seedbed.storage import objects
from tests import processes

pytest.importorskip("fsspec")

INIT = initializers.TruncatedNormal(stddev=0.02, seed=7)
SHAPE = (5000, 64)
ROW = 64 * 4
CHUNKS = {"chunk_rows": 500, "shard_rows": 1000}
SHARDS = {"shards": 5}
KINDS = {"t.zarr": CHUNKS, "user": SHARDS}


def file_system(protocol):
    import fsspec

    return fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture(params=["memory", pytest.param("s3", marks=[pytest.mark.moto, pytest.mark.s3fs])])
def bucket(request):
    """Return the URL of a bucket, of each kind of store in turn."""
    if request.param == "s3":
        return request.getfixturevalue("store")[1]
    return in_memory(request)


@pytest.fixture
def memory(request):
    return in_memory(request)


def in_memory(request):
    return "memory://" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]


def written(bucket, name, **options):
    url = f"{bucket}/{name}"
    tables.write(url, INIT, SHAPE, **(KINDS[name] | options))
    return url


@pytest.mark.parametrize("name", KINDS)
def test_a_table_in_a_store_is_opened_verified_and_told_about(bucket, name, capsys):
    url, whole = written(bucket, name), INIT(SHAPE)
    table = tables.open(url)["weight"]
    assert (table.shape, table.dtype) == (SHAPE, np.dtype("float32"))
    for index in (
        slice(990, 2010), -1, [4999, 0, 999, 1000, 999], slice(None, None, 700),
        (slice(0, 10), 3), whole[:, 0] > 0.03, ...,
    ):  # fmt: skip
        np.testing.assert_array_equal(table[index], whole[index], strict=True)
    report = tables.verify(url)
    assert (report.ok, report.checked, report.path) == (True, 320_000, url)
    assert tables.verify(url, sample=7).checked == 7 * 4096
    assert tables.verify(url, INIT, name="weight").ok
    assert main(["verify", url]) == 0
    assert main(["info", url]) == 0
    out = capsys.readouterr().out
    assert f"{url}: all 320,000 values compared are right" in out
    assert "TruncatedNormal(seed=7" in out
    assert ("in 5 files" in out) == (name == "t.zarr")


@pytest.mark.parametrize("name", KINDS)
def test_the_first_difference_is_told(bucket, name, capsys):
    url, fs = written(bucket, name), file_system(bucket.partition(":")[0])
    (path,) = [one for one in fs.find(url) if "c.1." in one or "shard-00002-" in one]
    data = bytearray(fs.cat_file(path))
    data[-1] ^= 0x80
    fs.pipe_file(path, bytes(data))
    right = INIT(SHAPE)[1999, 63]
    told = f"weight[1999, 63] is {-right}, should be {right}"
    report = tables.verify(url)
    assert (report.ok, report.checked, report.wrong) == (False, 320_000, 1)
    assert report.first.endswith(told)
    assert path.rpartition("/")[2] in report.first
    assert main(["verify", url]) == 1
    assert told in capsys.readouterr().err
