"""An S3 of Moto on this machine, whose requests pass one that fails some."""

import hashlib
import logging
import threading

import pytest

from tests.proxy import Proxy


@pytest.fixture(scope="session")
def server():
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    pytest.importorskip("s3fs")
    s3 = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    proxy = Proxy(s3.get_host_and_port()[1])
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        s3.stop()


@pytest.fixture
def store(server, monkeypatch, request):
    """Return the file system and the URL of a new bucket."""
    import s3fs

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.every, server.delay, server.refused = 0, 0.0, False
    server.requests.clear()
    server.ranges.clear()
    fs = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    bucket = "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    fs.mkdir(bucket)
    return fs, f"s3://{bucket}"
