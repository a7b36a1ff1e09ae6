"""The gRPC side of the process: connections, the service's methods, and health for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from slipway_serving.errors import NotFoundError, TooManyConnectionsError
from slipway_serving.grpc import codec, concurrent, messages
from slipway_serving.grpc.calls import Call, Message, Method, told
from slipway_serving.grpc.connection import Connection
from slipway_serving.grpc.service import Service
from slipway_serving.grpc.streams import Stream
from slipway_serving.grpc.watched import GuardedCall, WatchedCall
from slipway_serving.middleware.exchange import GRPC_OPEN_PATHS
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
_SPARE = 64
"""Connections beyond the limit on which health is still told, and UNAVAILABLE to everybody else; more are dropped."""
_LINGER_SECONDS = 1.0
"""How long one of those stays after a call that was refused: time to read why, for a client that does not close it."""

OpenCall = Callable[[Connection, Stream, dict[bytes, bytes]], Call]


class GrpcServer:
    """Serves the models of a repository; `in_flight` counts the calls that are not answered.

    `max_connections` is how many are served at once, 0 for as many as the system lets the process have.
    """

    def __init__(
        self, service: Service, *, max_body: int, middleware: Middleware | None = None, max_connections: int = 0
    ) -> None:
        self.max_body = max_body
        self.in_flight = 0
        self.connections: set[Connection] = set()
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        """Shared by all connections: each piece is read before the next is received."""
        self._service = service
        self._max_connections = max_connections or float("inf")
        self._call: Callable[..., Call] = Call if middleware is None else partial(_kind_of(middleware), middleware)
        self._servers: list[asyncio.Server] = []
        self._closing = asyncio.Event()
        self._methods = {method.path.encode(): method for method in self._all()}

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: Connection(self), sock=listener, backlog=_BACKLOG))

    def open_call(self, connection: Connection, stream: Stream, headers: dict[bytes, bytes]) -> Call:
        return self._call(self, connection, stream, headers, self._methods.get(headers.get(b":path", b"")))

    def admit(self, connection: Connection) -> OpenCall | None:
        """Who answers the calls of a new connection, None where there is no room for it at all."""
        self.connections.add(connection)
        beyond = len(self.connections) - self._max_connections
        if beyond <= 0:
            return self.open_call
        return self._open_beyond if beyond <= _SPARE else None

    def _open_beyond(self, connection: Connection, stream: Stream, headers: dict[bytes, bytes]) -> Call:
        """A call on a connection beyond the limit: a probe must not find a server dead that is only busy."""
        call = self.open_call(connection, stream, headers)
        if call.path not in GRPC_OPEN_PATHS:
            call.fail(TooManyConnectionsError("all connections are in use (--max-connections); try again later"))
            connection.drain()  # the next call deserves a new one, which may find room
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, connection.close_when_idle)
        return call

    def refused(self, error: BaseException) -> None:
        """Counts the error of a request that got to no model."""
        self._service.refused(error)

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
            Method(f"{service}ModelInfer", self._infer),
            Method(f"{service}ModelStreamInfer", streamed=self._stream),
            Method(f"/{_HEALTH}/Check", self._check),
            Method(f"/{_HEALTH}/Watch", streamed=self._watch),
        ]

    def _plain(self, service: str, name: str) -> Method:
        method = getattr(self._service, name)

        async def answer(data: Message, _call: Call) -> bytes:
            return bytes((await method(messages.read(f"{name}Request", bytes(data)))).SerializeToString())

        return Method(service + name, answer)

    async def _infer(self, data: Message, call: Call) -> bytes:
        return await self._service.infer(data, call.request(data))

    async def _stream(self, requests: AsyncIterator[Message], call: Call) -> None:
        await concurrent.each(requests, lambda data: self._answer(data, call))

    async def _answer(self, data: Message, call: Call) -> None:
        """One request of a stream. A failure is the answer to it, and the stream goes on, as Triton's."""
        self.in_flight += 1
        request = call.request(data)
        try:
            async with contextlib.aclosing(self._service.stream(data, request)) as items:
                async for item in items:
                    await call.send(codec.stream_item(item))
        except Exception as error:  # noqa: BLE001  # every one becomes an answer
            if request.model is None:
                self.refused(error)
            failed = messages.ModelStreamInferResponse(error_message=told(error, call.path)[1])
            failed.infer_response.id = codec.identifier(data)
            await call.send(failed.SerializeToString())
        finally:
            self.in_flight -= 1

    # grpc.health.v1

    async def _check(self, data: Message, _call: Call) -> bytes:
        status = self._status(_service_of(bytes(data)))
        if status == _SERVICE_UNKNOWN:
            raise NotFoundError(f"this server has the service {messages.SERVICE}")
        return status

    async def _watch(self, requests: AsyncIterator[Message], call: Call) -> None:
        service = b""
        async for data in requests:
            service = _service_of(bytes(data))
            break
        said = b""
        while not self._closing.is_set():
            now = self._status(service)
            if now != said:
                said = now
                await call.send(now)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WATCH_SECONDS)

    def _status(self, service: bytes) -> bytes:
        if service == _LIVENESS:
            return _SERVING
        if service not in (b"", _READINESS, messages.SERVICE.encode()):
            return _SERVICE_UNKNOWN
        return _SERVING if self._service.is_ready() else _NOT_SERVING


def _kind_of(middleware: Middleware) -> type[GuardedCall]:
    return WatchedCall if middleware.watches else GuardedCall


def _service_of(data: bytes) -> bytes:
    """The service that a HealthCheckRequest asks for: field 1, a string shorter than 128 bytes."""
    return data[2:] if data[:1] == b"\x0a" else b""
