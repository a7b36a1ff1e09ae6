"""Servers on loopback that misbehave when they are told to."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import httpx2


@dataclass
class Thing:
    """A file at the server. `etag` is sent as it is; the lies and failures are used up one a GET."""

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    break_at: list[int] = field(default_factory=list)  # bytes of the body after which the connection is cut
    say_size: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Web:
    """`things` by path; `statuses` answers the next requests; `hook` sees every request first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.things: dict[str, Thing] = {}
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.requests: list[Request] = []
        self.hook: Callable[[Request, Handler], bool] | None = None
        self.lock = threading.Lock()

    def put(self, path: str, content: bytes, **options: Any) -> Thing:
        thing = self.things[path] = Thing(content, **options)
        return thing

    @property
    def transport(self) -> httpx2.AsyncBaseTransport:
        """What is asked of any https host comes here."""
        return _ToLoopback(httpx2.URL(self.url))

    def ranges(self, path: str) -> list[str]:
        """The Range headers of the bodies that were asked for; not those that ask for one byte."""
        asked = [request.headers.get("range", "") for request in self.requests if request.path == path]
        return [value for value in asked if value != "bytes=0-0"]


class _ToLoopback(httpx2.AsyncBaseTransport):
    def __init__(self, url: httpx2.URL) -> None:
        self._url, self._inner = url, httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """A test's output stays its own."""

    def answer(self, code: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def dispatch(self) -> None:
        web, parts = self.server.web, urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, unquote(parts.path), parse_qs(parts.query), headers)
        with web.lock:
            web.requests.append(request)
            status = web.statuses.pop(0) if web.statuses else None
        if status:
            self.answer(status[0], b"", status[1])
        elif web.hook and web.hook(request, self):
            return
        elif request.path in web.things:
            self.thing(web.things[request.path], request)
        else:
            self.answer(404)

    do_GET = do_HEAD = dispatch  # noqa: N815  # the base class looks for these names

    def thing(self, thing: Thing, request: Request) -> None:
        """A file, in parts where asked, as RFC 9110 has it."""
        total, start, end = len(thing.content), 0, len(thing.content)
        headers = {"Last-Modified": formatdate(0, usegmt=True), **thing.headers}
        if thing.etag:
            headers["ETag"] = thing.etag
        if request.headers.get("if-match", thing.etag) != thing.etag:
            return self.answer(412)
        wanted = request.headers.get("range", "")
        if wanted and thing.ranges and request.headers.get("if-range", thing.etag) == thing.etag:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else total
            if start >= total:
                return self.answer(416, b"", {"Content-Range": f"bytes */{total}"})
            end = min(end, total)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{thing.say_size or total}"
        body = thing.content[start:end]
        self.send_response(206 if "Content-Range" in headers else 200)
        length = len(body) if "Content-Range" in headers else thing.say_size or len(body)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if thing.break_at and request.headers.get("range") != "bytes=0-0":
            self.wfile.write(body[: thing.break_at.pop(0)])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return None
        self.wfile.write(body)
        if length > len(body):
            self.close_connection = True
        return None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    web: Web


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.web = Web(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Bucket:
    """An S3 bucket of things: enough of ListObjectsV2 for one page."""

    def __init__(self, web: Web, name: str = "models") -> None:
        self.web, self.name = web, name
        self.allowed = True
        web.hook = self._hook

    def put(self, key: str, content: bytes, **options: Any) -> Thing:
        return self.web.put(f"/{self.name}/{key}", content, **options)

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.web.url,
        }

    def _hook(self, request: Request, handler: Handler) -> bool:
        if not self.allowed:
            handler.answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        elif request.path.split("/")[1] != self.name:
            handler.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif "list-type" in request.query:
            handler.answer(200, self._list(request.query.get("prefix", [""])[0]))
        else:
            return False
        return True

    def _list(self, prefix: str) -> bytes:
        top = f"/{self.name}/"
        entries = "".join(
            f"<Contents><Key>{escape(path[len(top) :])}</Key><Size>{len(thing.content)}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(thing.etag or '')}</ETag></Contents>"
            for path, thing in sorted(self.web.things.items())
            if path.startswith(top + prefix)
        )
        head = f"<Name>{self.name}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{entries}</ListBucketResult>".encode()


class Hub:
    """One repository of the Hugging Face Hub at one commit; large files redirect, as there."""

    COMMIT = "c0ffee" * 6 + "c0ff"

    def __init__(self, web: Web, files: dict[str, bytes], token: str = "") -> None:
        self.web, self.files, self.token = web, files, token
        for name, content in files.items():
            web.put(f"/cdn/{name}", content)
        web.hook = self._hook

    def _hook(self, request: Request, handler: Handler) -> bool:
        resolve = f"/org/model/resolve/{self.COMMIT}/"
        if request.path.startswith("/cdn/"):
            return False
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            handler.answer(401, b"", {"X-Error-Code": "GatedRepo"})
        elif request.path in {"/api/models/org/model/revision/main", "/api/models/org/model/revision/refs/pr/1"}:
            siblings = [self._sibling(name, content) for name, content in self.files.items()]
            handler.answer(200, json.dumps({"sha": self.COMMIT, "siblings": siblings}).encode())
        elif request.path.startswith("/api/models/org/model/"):
            handler.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif request.path.startswith(resolve):
            handler.answer(302, b"", {"Location": f"/cdn/{request.path.removeprefix(resolve)}?X-Signature=s3cret"})
        else:
            handler.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        return True

    @staticmethod
    def _sibling(name: str, content: bytes) -> dict[str, Any]:
        large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return {"rfilename": name, "size": len(content), "blobId": "b", **({"lfs": large} if len(content) > 50 else {})}
