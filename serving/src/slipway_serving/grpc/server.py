"""The gRPC side of the process: connections, the service's methods, and health for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from slipway_serving.errors import NotFoundError, RequestError
from slipway_serving.grpc import codec, messages
from slipway_serving.grpc.calls import Call, Message, Method, status_of, told
from slipway_serving.grpc.connection import Connection, Stream
from slipway_serving.grpc.service import Service
from slipway_serving.http.messages import Request
from slipway_serving.middleware.exchange import CLIENT_GONE, Exchange
from slipway_serving.middleware.stack import Middleware

_HEALTH: Final = "grpc.health.v1.Health"
_PLAIN: Final = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
"""HealthCheckResponse (grpc.health.v1): field 1, the status."""
_LIVENESS, _READINESS = b"liveness", b"readiness"
"""Services that a kubelet's probe may name, to ask for one or the other."""
_WATCH_SECONDS = 0.5
_POLL_SECONDS = 0.02
_BACKLOG = 2048
_BUFFER_BYTES = 256 << 10
_OK = 200

Answer = Callable[[Message, Request], Awaitable[bytes]]


class GrpcServer:
    """Serves the models of a repository; `in_flight` counts the calls that are not answered."""

    def __init__(self, service: Service, *, max_body: int, middleware: Middleware | None = None) -> None:
        self.max_body = max_body
        self.in_flight = 0
        self.connections: set[Connection] = set()
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        """Shared by all connections: each piece is read before the next is received."""
        self._service = service
        self._middleware = middleware
        self._servers: list[asyncio.Server] = []
        self._closing = asyncio.Event()
        self._methods = {method.path.encode(): method for method in self._all()}

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: Connection(self), sock=listener, backlog=_BACKLOG))

    def open_call(self, connection: Connection, stream: Stream, headers: dict[bytes, bytes]) -> Call:
        return Call(self, connection, stream, headers, self._methods.get(headers.get(b":path", b"")))

    def drain(self) -> None:
        """Asks every client to open a new connection for its next call."""
        for connection in self.connections:
            connection.drain()

    async def close(self, seconds: float) -> int:
        """Accepts nothing more, waits at most so long for what is in flight; returns how many stay unanswered."""
        for server in self._servers:
            server.close()
        self._closing.set()
        for connection in list(self.connections):
            connection.end_streams()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.connections and loop.time() < deadline:
            for connection in list(self.connections):
                connection.close_when_idle()
            await asyncio.sleep(_POLL_SECONDS)
        unanswered = self.in_flight
        for connection in list(self.connections):
            connection.abort()
        return unanswered

    def _all(self) -> list[Method]:
        service = f"/{messages.SERVICE}/"
        return [
            *(self._plain(service, name) for name in _PLAIN),
            Method(f"{service}ModelInfer", self._guarded(f"{service}ModelInfer", self._service.infer)),
            Method(f"{service}ModelStreamInfer", streamed=self._stream),
            Method(f"/{_HEALTH}/Check", self._check),
            Method(f"/{_HEALTH}/Watch", streamed=self._watch),
        ]

    def _plain(self, service: str, name: str) -> Method:
        method = getattr(self._service, name)

        async def answer(data: Message, _request: Request) -> bytes:
            return bytes((await method(messages.read(f"{name}Request", bytes(data)))).SerializeToString())

        return Method(service + name, self._guarded(service + name, answer))

    def _guarded(self, path: str, answer: Answer) -> Callable[[Message, Call], Awaitable[bytes]]:
        """A method, admitted and watched where something of that is switched on."""
        middleware = self._middleware

        async def bare(data: Message, call: Call) -> bytes:
            return await answer(data, _request(data, call))

        async def watched(data: Message, call: Call) -> bytes:
            return await _watched(path, answer, _request(data, call), call, middleware)  # type: ignore[arg-type]

        return bare if middleware is None else watched

    async def _stream(self, requests: AsyncIterator[Message], call: Call) -> AsyncIterator[bytes]:
        """Requests one after the other. A failure is the answer to its request, and the stream goes on, as Triton's."""
        path = f"/{messages.SERVICE}/ModelStreamInfer"
        if self._middleware is not None:
            self._middleware.authenticate(call.metadata, path)
        async for data in requests:
            self.in_flight += 1
            try:
                async with contextlib.aclosing(self._service.stream(data, _request(data, call))) as items:
                    async for item in items:
                        yield codec.stream_item(item)
            except Exception as error:  # noqa: BLE001  # every one becomes an answer
                failed = messages.ModelStreamInferResponse(error_message=told(error, path)[1])
                failed.infer_response.id = codec.identifier(data)
                yield failed.SerializeToString()
            finally:
                self.in_flight -= 1

    # grpc.health.v1

    async def _check(self, data: Message, _call: Call) -> bytes:
        status = self._status(_service_of(bytes(data)))
        if status == _SERVICE_UNKNOWN:
            raise NotFoundError(f"this server has the service {messages.SERVICE}")
        return status

    async def _watch(self, requests: AsyncIterator[Message], _call: Call) -> AsyncIterator[bytes]:
        service = b""
        async for data in requests:
            service = _service_of(bytes(data))
            break
        said = b""
        while not self._closing.is_set():
            now = self._status(service)
            if now != said:
                said = now
                yield now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WATCH_SECONDS)

    def _status(self, service: bytes) -> bytes:
        if service == _LIVENESS:
            return _SERVING
        if service not in (b"", _READINESS, messages.SERVICE.encode()):
            return _SERVICE_UNKNOWN
        return _SERVING if self._service.is_ready() else _NOT_SERVING


async def _watched(path: str, answer: Answer, request: Request, call: Call, middleware: Middleware) -> bytes:
    exchange = middleware.arrived(
        Exchange("POST", path, call.metadata, call.peer, request.started, protocol="grpc", body=request.body)
    )
    try:
        middleware.admit(exchange, path)
        with middleware.running(exchange):
            made = await answer(request.body, request)
    except BaseException as error:
        gone = isinstance(error, asyncio.CancelledError)
        exchange.status = CLIENT_GONE if gone else error.status if isinstance(error, RequestError) else 500
        exchange.grpc_status = "CANCELLED" if gone else status_of(error)[1]
        raise
    else:
        exchange.status, exchange.grpc_status, exchange.answer_size = _OK, "OK", len(made)
        return made
    finally:
        exchange.model = request.model
        with contextlib.suppress(Exception):
            middleware.ended(exchange)


def _request(data: Message, call: Call) -> Request:
    return Request("POST", b"", call.metadata, data, call.peer, time.perf_counter())


def _service_of(data: bytes) -> bytes:
    """The service that a HealthCheckRequest asks for: field 1, a string shorter than 128 bytes."""
    return data[2:] if data[:1] == b"\x0a" else b""
