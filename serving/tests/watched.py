"""A server in this process with what operators switch on, and loopback servers that take what it sends."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
from processes import until

from slipway_serving.app import App
from slipway_serving.http.server import HttpServer
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.stack import middleware_of
from slipway_serving.options import Options
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

TENSOR = {"name": "x", "shape": [1], "datatype": "INT64", "data": [7]}
BODY = {"inputs": [TENSOR]}
INFER = "/v2/models/echo/infer"


@asynccontextmanager
async def watched(path: Path, **options) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server with these options. What is logged or traced is there once the block is left."""
    metrics = Metrics()
    middleware = middleware_of(Options(path, **options), metrics.registry)
    tracing = middleware.tracing.models if middleware and middleware.tracing else None
    repository = Repository(path, Settings(), metrics, "none", tracing)
    repository.discover()
    await repository.load_all()
    app = App(repository, metrics)
    guard = middleware.guard if middleware else None
    server = HttpServer(middleware.watch(app) if middleware else app, max_body=1 << 20, guard=guard)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.listen(listener)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx2.AsyncClient(base_url=address, timeout=30) as client:
            yield client
    finally:
        await server.close(5)
        if middleware:
            await middleware.close(5)
        repository.close()


def counted(metrics: str, name: str) -> float:
    """The value of a sample in the text of /metrics."""
    (line,) = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def until_there(path: Path) -> None:
    await until(lambda: asyncio.to_thread(path.exists))


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Collector:
    """Takes what is posted to it, and answers with `status`."""

    url: str = ""
    status: int = 200
    location: str = ""
    received: list[Received] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def collector(status: int = 200, location: str = "", *, opened: bool = True) -> Iterator[Collector]:
    """A server on the loopback interface. While its gate is closed it answers nobody."""
    taken = Collector(status=status, location=location)
    if opened:
        taken.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            taken.received.append(Received(self.path, headers, body))
            taken.gate.wait(30)
            self.send_response(taken.status)
            if taken.location:
                self.send_header("location", taken.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    taken.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield taken
    finally:
        taken.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
