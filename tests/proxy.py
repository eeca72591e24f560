"""A server between a client and a store that fails some of the requests, or refuses all."""

import http.client
import http.server
import itertools
import time


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on, but answers every `every`-th with 503 or by hanging up."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = port
        self.numbers, self.failed = itertools.count(1), 0
        self.reset()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def reset(self):
        """Fail nothing, and forget what was asked for."""
        self.every, self.delay, self.refused = 0, 0.0, False
        self.requests = []
        self.ranges = []  # of bytes: path, first and last

    def environment(self):
        """Return what has clients ask here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def handle_error(self, request, client_address):
        """Say nothing: clients are killed on purpose."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def handle_one(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = next(proxy.numbers)
        proxy.requests.append((self.command, self.path))
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            proxy.ranges.append((self.path, int(first), int(last)))
        time.sleep(proxy.delay)
        if proxy.refused:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if proxy.every and number % proxy.every == 0:
            proxy.failed += 1
            if proxy.failed % 2:
                self.close_connection = True
                return
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815
