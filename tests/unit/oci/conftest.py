from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


class Registry:
    """A registry in memory: enough of the distribution specification to be pushed to, and to fail on demand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refuse: list[int] = []
        self.break_off = 0
        self.relative = True

    def methods(self, method: str) -> list[str]:
        return [line.removeprefix(f"{method} ") for line in self.requests if line.startswith(f"{method} ")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """A test's output stays its own."""

    def answer(self, code: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def dispatch(self) -> None:
        registry = self.server.registry
        parts = urlsplit(self.path)
        registry.requests.append(f"{self.command} {parts.path}")
        if registry.refuse:
            self.body()
            errors = {"errors": [{"code": "UNAVAILABLE", "message": "later"}]}
            self.answer(registry.refuse.pop(0), json.dumps(errors).encode())
        elif "/blobs/uploads/" in parts.path:
            self.upload(registry, parts.path, parse_qs(parts.query))
        elif "/blobs/" in parts.path:
            self.answer(200 if parts.path.rpartition("/")[2] in registry.blobs else 404)
        else:
            self.manifest(registry, parts.path)

    do_GET = do_HEAD = do_POST = do_PUT = dispatch  # noqa: N815  # the base class looks for these names

    def upload(self, registry: Registry, path: str, query: dict[str, list[str]]) -> None:
        if self.command == "POST":
            place = f"{path}1?state=a%2Fb"
            self.answer(202, Location=place if registry.relative else registry.url + place)
        elif registry.break_off:
            registry.break_off -= 1
            self.rfile.read(1)
            self.connection.close()
            self.close_connection = True
        else:
            content = self.body()
            digest = query["digest"][0]
            fits = digest == f"sha256:{hashlib.sha256(content).hexdigest()}" and query["state"] == ["a/b"]
            if fits:
                registry.blobs[digest] = content
            errors = {"errors": [{"code": "DIGEST_INVALID", "message": "the digest does not fit"}]}
            self.answer(201) if fits else self.answer(400, json.dumps(errors).encode())

    def manifest(self, registry: Registry, path: str) -> None:
        if self.command == "PUT":
            content = self.body()
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            registry.manifests[path] = registry.manifests[path.rpartition("/")[0] + "/" + digest] = content
            self.answer(201)
        elif path in registry.manifests:
            content = registry.manifests[path]
            self.answer(200, content, Docker_Content_Digest=f"sha256:{hashlib.sha256(content).hexdigest()}")
        else:
            self.answer(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN"}]}).encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: Registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Server(("127.0.0.1", 0), Handler)
    server.registry = Registry(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.registry
    server.shutdown()
    thread.join()
    server.server_close()
