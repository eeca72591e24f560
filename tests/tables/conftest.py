"""An S3 and a GCS on this machine, whose requests pass one that fails some."""

import contextlib
import hashlib
import logging
import threading

import pytest

from tests.proxy import Proxy


@contextlib.contextmanager
def passing(port):
    """Serve a proxy before a port."""
    proxy = Proxy(port)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.fixture(scope="session")
def server():
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    pytest.importorskip("s3fs")
    s3 = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    try:
        with passing(s3.get_host_and_port()[1]) as proxy:
            yield proxy
    finally:
        s3.stop()


@pytest.fixture
def store(server, monkeypatch, request):
    """Return the file system and the URL of a new bucket."""
    import s3fs

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.reset()
    fs = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    bucket = "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    fs.mkdir(bucket)
    return fs, f"s3://{bucket}"


@pytest.fixture(scope="session")
def google_server():
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    pytest.importorskip("gcsfs")
    google = emulator.create_server("127.0.0.1", 0, in_memory=True)
    google.start()
    http = google._api._httpd
    http.handle_error = lambda *_: None  # of clients that are killed on purpose
    try:
        with passing(http.server_port) as proxy:
            yield proxy
    finally:
        google.stop()


@pytest.fixture
def google(google_server, monkeypatch, request):
    """Return the file system and the URL of a new bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_server.url)
    # Or gcsfs asks what kind of bucket it is, by another protocol, for a minute.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs

    google_server.reset()
    fs = gcsfs.GCSFileSystem(skip_instance_cache=True, use_listings_cache=False, project="p")
    bucket = "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    fs.mkdir(bucket)
    return fs, f"gs://{bucket}"
