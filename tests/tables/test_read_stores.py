"""Tables in stores that are opened, verified and told about, as local ones are.

An S3 of Moto, where what is asked for can be seen; fsspec's memory where a store is enough. NumPy
arrays of the initializer are the oracle.
"""

import hashlib
import pickle

import numpy as np
import pytest

from seedbed import initializers, tables
from seedbed.cli import main
from seedbed.errors import FormatError
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


@pytest.fixture(
    params=[
        "memory",
        pytest.param("store", marks=[pytest.mark.moto, pytest.mark.s3fs]),
        pytest.param("google", marks=[pytest.mark.gcsfs, pytest.mark.exhaustive]),
    ]
)
def bucket(request):
    """Return the URL of a bucket, of each kind of store in turn."""
    if request.param == "memory":
        return in_memory(request)
    return request.getfixturevalue(request.param)[1]


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


def missing(fs, path):
    fs.rm_file(path)


def too_much(fs, path):
    fs.pipe_file(path.replace("c.2.", "c.9.").replace("-00003-", "-00009-"), fs.cat_file(path))


def replaced(old, new):
    def change(fs, path):
        data = fs.cat_file(path)
        assert old in data
        fs.pipe_file(path, data.replace(old, new))

    return change


def cut(fs, path):
    fs.pipe_file(path, fs.cat_file(path)[:-3])


def longer(fs, path):
    fs.pipe_file(path, fs.cat_file(path) + b"x")


def empty(fs, path):
    fs.pipe_file(path, b"")


def begun_otherwise(fs, path):
    data = bytearray(fs.cat_file(path))
    data[9] ^= 1
    fs.pipe_file(path, bytes(data))


DAMAGES = [
    *((name, damage) for name in ("c.2.0", "shard-00003-model-00001-of-00001.safetensors")
      for damage in (missing, too_much, cut, longer, empty, begun_otherwise)),
    ("c.4.0", missing),
    ("shard-00005-model-00001-of-00001.safetensors", missing),
    ("zarr.json", missing),
    ("zarr.json", cut),
    ("zarr.json", empty),
    ("zarr.json", replaced(b'"seed": 7', b'"seed": 8')),
    ("zarr.json", replaced(b'"stddev": 0.02', b'"stddev": 0.03')),
    ("shard-00003-model-00001-of-00001.safetensors", replaced(b'seed":"7"', b'seed":"8"')),
    ("shard-00003-model-00001-of-00001.safetensors", replaced(b"0.02", b"0.03")),
    ("shard-00003-model-00001-of-00001.safetensors", replaced(b'"stream_version":"1"',
                                                              b'"stream_version":"2"')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "damage"), DAMAGES, ids=lambda value: getattr(value, "__name__", str(value)[:11])
)
def test_what_is_damaged_is_found_as_in_local_files(memory, tmp_path, capsys, file, damage):
    """The exit code is that of a local folder; what `open` refuses of that, it refuses here."""
    name = "user" if file.startswith("shard") else "t.zarr"
    codes, refused = [], []
    for protocol, bucket in (("file", str(tmp_path)), ("memory", memory)):
        url = written(bucket, name)
        assert main(["verify", url]) == 0
        damage(file_system(protocol), f"{url}/{file}")
        capsys.readouterr()
        codes.append(main(["verify", url]))
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert err.startswith("seedbed: "), err
        try:
            _ = tables.open(url)["weight"][...]
        except FormatError as error:
            refused.append(str(error))
    assert codes[0] in (1, 2)
    assert codes[1] == codes[0]
    assert len(refused) == 2 or damage.__name__ == "change", refused


@pytest.mark.parametrize("key", ["files", "tables"])
@pytest.mark.parametrize("data", [b"{}", b"[", b'{"files": 3, "tables": {}}'])
def test_a_damaged_index_is_told(memory, key, data):
    url = written(memory, "user")
    file_system("memory").pipe_file(f"{url}/seedbed.index.json", data)
    for read in (tables.open, tables.verify, tables.describe):
        with pytest.raises(FormatError, match=r"seedbed\.index\.json: damaged"):
            read(url)


def test_shards_that_were_copied_into_a_store(memory, tmp_path):
    """They have no index; their rows tell what is missing."""
    tables.write(tmp_path / "user", INIT, SHAPE, **SHARDS)
    file_system("memory").put(str(tmp_path / "user"), f"{memory}/user", recursive=True)
    assert tables.verify(f"{memory}/user").ok
    assert np.array_equal(tables.open(f"{memory}/user")["weight"][...], INIT(SHAPE))
    missing(file_system("memory"), f"{memory}/user/shard-00005-model-00001-of-00001.safetensors")
    with pytest.raises(FormatError, match="rows of weight after are missing"):
        tables.open(f"{memory}/user")
    report = tables.verify(f"{memory}/user")
    assert "rows 4000 to 5000 of weight are missing" in str(report)


@pytest.mark.parametrize("name", ["t.npy", "t.safetensors"])
def test_single_files_that_were_copied_into_a_store(bucket, tmp_path, name):
    tables.write(tmp_path / name, INIT, SHAPE)
    fs, url = file_system(bucket.partition(":")[0]), f"{bucket}/a b/ü/{name}"
    fs.pipe_file(url, (tmp_path / name).read_bytes())
    assert np.array_equal(tables.open(url)["weight"][[7, 4000, 7]], INIT(SHAPE)[[7, 4000, 7]])
    assert tables.verify(url, INIT).ok
    assert "5,000 × 64 float32" in tables.describe(url)[1]
    cut(fs, url)
    with pytest.raises(FormatError, match=r"a b/ü/t\."):
        tables.open(url)


def test_what_is_not_there(bucket):
    for url in (f"{bucket}/t.zarr", f"{bucket}/user", f"{bucket}/t.npy", bucket + "-no/t.zarr"):
        for read in (tables.open, tables.verify, tables.describe):
            with pytest.raises(FormatError, match="there is no such object"):
                read(url)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_unfinished(bucket, name, capsys):
    url = f"{bucket}/{name}"
    options = {"part": (1, 2), **KINDS[name]}
    tables.write(url, INIT, SHAPE, **options)
    for read in (tables.open, tables.verify):
        with pytest.raises(FormatError, match="is unfinished; see seedbed info"):
            read(url)
    assert main(["info", url]) == 0
    what = "files" if name == "t.zarr" else "shards"
    assert f"{url}: unfinished, 40 % of 1." in (out := capsys.readouterr().out)
    assert f" MB is there: 2 of 5 {what}" in out
    fs = file_system(bucket.partition(":")[0])
    for path in fs.find(url):
        fs.rm_file(path)
    with pytest.raises(FormatError, match="is unfinished"):
        tables.open(url)
    assert "0 of 5" in tables.describe(url)[0]
    fs.pipe_file(f"{url}.part.json", b"{}")
    with pytest.raises(FormatError, match=r"part\.json: damaged"):
        tables.describe(url)


@pytest.mark.moto
@pytest.mark.s3fs
@pytest.mark.parametrize("name", KINDS)
def test_only_the_bytes_that_are_needed_are_asked_for(store, server, name):
    url = written(store[1], name)
    table = tables.open(url)["weight"]
    first = table._pieces[2].offset
    _ = table[2990:2991]  # which looks at the index before the rows
    server.ranges.clear()
    _ = table[2100:2104]
    _ = table[[2500, 2502, 2501]]
    found = [(begin, end) for _, begin, end in server.ranges]
    assert found == [
        (first + ROW * 100, first + ROW * 104 - 1),
        (first + ROW * 500, first + ROW * 503 - 1),
    ]
    server.requests.clear()
    _ = table[10:4990:9]  # of all objects, which are asked about together
    assert sum(method == "HEAD" for method, _ in server.requests) == 0
    assert sum("list-type" in path for _, path in server.requests) == 1


def test_what_changes_while_it_is_open_is_not_read_on(bucket):
    url = written(bucket, "t.zarr")
    table = tables.open(url)["weight"]
    _ = table[1500]
    other = initializers.TruncatedNormal(stddev=0.02, seed=8)
    tables.write(url, other, SHAPE, force=True, **CHUNKS)
    for index in (1500, slice(None, None, 900)):
        with pytest.raises(FormatError, match=r"c\.\d\.0: changed since it was opened"):
            table[index]


@pytest.mark.moto
@pytest.mark.s3fs
def test_a_table_goes_to_other_processes(store):
    """Pickled, and over a fork; the parent's connections do not work there."""
    url = written(store[1], "t.zarr")
    table = tables.open(url)["weight"]
    assert np.array_equal(pickle.loads(pickle.dumps(table))[4000], INIT(SHAPE)[4000])
    results = processes.FORK.SimpleQueue()
    with processes.forked(lambda: results.put(table[1500:1502])) as children:
        assert processes.exit_codes(children) == [0]
        assert np.array_equal(results.get(), INIT(SHAPE)[1500:1502])


@pytest.mark.moto
@pytest.mark.s3fs
def test_requests_that_fail_are_sent_again(store, server, monkeypatch):
    url = written(store[1], "t.zarr", chunk_rows=20, shard_rows=100)
    server.every, failed = 7, server.failed
    assert tables.verify(url).ok
    assert np.array_equal(tables.open(url)["weight"][...], INIT(SHAPE))
    assert server.failed > failed + 5


@pytest.mark.moto
@pytest.mark.s3fs
def test_a_store_that_refuses_is_told_in_a_line(store, server, capsys):
    url = written(store[1], "t.zarr")
    table = tables.open(url)["weight"]
    server.refused = True
    for command in (["verify", url], ["info", url], ["table", "--shape=9x9", f"--out={url}2.zarr",
                                                     "--initializer=ones"]):  # fmt: skip
        assert main(command) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "PermissionError" in err
    with pytest.raises(OSError, match=r"t\.zarr.*PermissionError"):
        table[7]


def test_urls_of_local_files_are_paths(tmp_path):
    path = tmp_path / "a b ü"
    path.mkdir()
    url = f"file://{path}/t.zarr"
    tables.write(url, INIT, SHAPE, **CHUNKS)
    assert tables.verify(url).ok
    assert tables.open(path / "t.zarr")["weight"].shape == SHAPE
    assert str(path) in tables.describe(url)[0]
    with pytest.raises(ValueError, match="file://"):
        tables.open("file://relative/t.zarr")
