"""A proxy in front of an S3 server that fails in one stated way, or in several."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("none", "no conditions", "busy", "cut", "slow", "truncated", "lost answers")
"""Nothing; If-None-Match is ignored; a fifth of the answers are 503; a connection in seven is closed before it is
answered; each answer takes 30 ms; a body in seven ends early; a successful PUT in four is not answered."""


class FaultyProxy:
    """Forwards requests to a server; a context manager. `url` is its address; `methods` are those of the requests that
    it forwarded."""

    def __init__(self, target: str, *faults: str):
        self.target, self.faults = target.removeprefix("http://"), faults
        self.methods: list[str] = []
        self._count = itertools.count(1)
        self._puts = itertools.count(1)
        self._conditional = threading.Lock()  # moto compares and stores in two steps; an object store in one
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def request(self, handler: BaseHTTPRequestHandler) -> None:
        """Forward one request, or fail."""
        number = next(self._count)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        if "busy" in self.faults and number % 5 == 0:
            self._answer(handler, 503, [], b"<Error><Code>SlowDown</Code></Error>")
            return
        if "cut" in self.faults and number % 7 == 0:
            handler.close_connection = True
            return
        if "slow" in self.faults:
            time.sleep(0.03)
        if "no conditions" in self.faults:
            headers = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        with self._conditional if "if-none-match" in map(str.lower, headers) else nullcontext():
            status, answered, content = self._forward(handler.command, handler.path, body, headers)
        if "lost answers" in self.faults and handler.command == "PUT" and status < 300 and next(self._puts) % 4 == 0:
            handler.close_connection = True
            return
        self.methods.append(handler.command)
        cut = "truncated" in self.faults and handler.command == "GET" and number % 7 == 3 and len(content) > 1
        self._answer(handler, status, answered, content, cut=cut)

    def _forward(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        *,
        cut: bool = False,
    ) -> None:
        handler.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", length if handler.command == "HEAD" else str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if cut else content)
        handler.close_connection = cut


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    def forward(self: BaseHTTPRequestHandler) -> None:
        proxy.request(self)

    methods: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
        f"do_{method}": forward for method in ("GET", "PUT", "POST", "HEAD", "DELETE")
    }
    return type("Handler", (Handler,), methods)
