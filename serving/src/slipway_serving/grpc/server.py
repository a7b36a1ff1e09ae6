"""The gRPC side of the process: grpcio's server on the event loop, errors as statuses, and health for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from slipway_serving.errors import ModelFailedError, ModelLoadError, RequestError
from slipway_serving.grpc import codec, messages
from slipway_serving.grpc.service import Service
from slipway_serving.http.messages import Request
from slipway_serving.middleware.exchange import CLIENT_GONE, Exchange
from slipway_serving.middleware.stack import Middleware

log = logging.getLogger("slipway_serving")

_INFER, _STREAM = "ModelInfer", "ModelStreamInfer"
_HEALTH = "grpc.health.v1.Health"
_STATUSES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""HealthCheckResponse (grpc.health.v1): field 1, the status."""
_SERVICE_UNKNOWN = b"\x08\x03"
_LIVENESS, _READINESS = b"liveness", b"readiness"
"""Names by which a probe of the kubelet says what it asks; without one it asks whether the server is ready."""
_WATCH_SECONDS = 0.5
_MAX_STREAMS = 1000
"""Calls that one connection may have at once; a client queues what is beyond it."""
_MAX_SAID = 1000
"""Characters of an error: trailers of more than 8 KiB are refused by clients."""
_CLOSE_SECONDS = 5.0
_HEAD_BYTES = 64 << 10
_NO_LIMIT = -1
_OK = 200


class GrpcServer:
    """Serves the models of a repository; `in_flight` counts the calls that are not answered."""

    def __init__(self, service: Service, *, max_body: int, middleware: Middleware | None = None) -> None:
        self.in_flight = 0
        self._service = service
        self._middleware = middleware
        options = [
            ("grpc.max_receive_message_length", max_body),
            ("grpc.max_send_message_length", _NO_LIMIT),
            ("grpc.max_metadata_size", _HEAD_BYTES),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            ("grpc.so_reuseport", 0),  # a second server on the port is a mistake that has to be told
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._methods(), self._health()))
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises ModelLoadError where that is not possible."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise ModelLoadError(
                f"cannot listen on {host} port {port} for gRPC", "choose others with --host and --grpc-port"
            )
        await self._server.start()
        return int(bound)

    async def close(self, seconds: float) -> int:
        """Accepts nothing more, waits at most so long for what is in flight; returns how many stay unanswered.

        Streams that wait for their client, or for news to tell it, end at once.
        """
        if not self._closing.done():
            self._closing.set_result(None)
        stopping = asyncio.ensure_future(self._server.stop(seconds + _CLOSE_SECONDS))
        await asyncio.wait([stopping], timeout=seconds)
        unanswered = self.in_flight
        if not stopping.done():
            await self._server.stop(None)
        await stopping
        return unanswered

    def _methods(self) -> Any:
        names = ("Live", "Ready", "Metadata")
        plain = [
            *(f"Server{name}" for name in names),
            *(f"Model{name}" for name in (*names[1:], "Config", "Statistics")),
        ]
        plain += ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]
        handlers: dict[str, Any] = {name: self._plain(name) for name in plain}
        handlers[_INFER] = grpc.unary_unary_rpc_method_handler(self._infer)
        handlers[_STREAM] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(messages.SERVICE, handlers)

    def _plain(self, name: str) -> Any:
        method: Callable[[Any], Awaitable[Any]] = getattr(self._service, name)

        async def answer(data: bytes, _request: Request) -> bytes:
            return bytes((await method(messages.read(f"{name}Request", data))).SerializeToString())

        async def handle(data: bytes, context: Any) -> bytes:
            return await self._answered(f"/{messages.SERVICE}/{name}", answer, data, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _infer(self, data: bytes, context: Any) -> bytes:
        return await self._answered(f"/{messages.SERVICE}/{_INFER}", self._service.infer, data, context)

    async def _answered(
        self, path: str, answer: Callable[[bytes, Request], Awaitable[bytes]], data: bytes, context: Any
    ) -> bytes:
        request = Request("POST", b"", body=data, started=time.perf_counter())
        self.in_flight += 1
        try:
            if self._middleware is None:
                return await answer(data, request)
            return await self._watched(path, answer, request, context, self._middleware)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # every one becomes a status
            status, said = _told(error, path)
        finally:
            self.in_flight -= 1
        await context.abort(status, said)
        raise AssertionError  # abort raises

    async def _watched(
        self,
        path: str,
        answer: Callable[[bytes, Request], Awaitable[bytes]],
        request: Request,
        context: Any,
        middleware: Middleware,
    ) -> bytes:
        exchange = middleware.arrived(_exchange(path, context, request))
        try:
            middleware.admit(exchange, path)
            with middleware.running(exchange):
                made = await answer(bytes(request.body), request)
        except BaseException as error:
            exchange.status = CLIENT_GONE if isinstance(error, asyncio.CancelledError) else _http_status(error)
            exchange.grpc_status = _STATUSES.get(exchange.status, grpc.StatusCode.INTERNAL).name
            raise
        else:
            exchange.status, exchange.grpc_status, exchange.answer_size = _OK, "OK", len(made)
            return made
        finally:
            exchange.model = request.model
            middleware.ended(exchange)

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Requests one after the other. A failure is the answer to its request, and the stream goes on, as Triton's."""
        path = f"/{messages.SERVICE}/{_STREAM}"
        await self._admitted(path, context)
        async for data in self._until_closing(requests):
            self.in_flight += 1
            request = Request("POST", b"", body=data, started=time.perf_counter())
            try:
                async with contextlib.aclosing(self._service.stream(data, request)) as answers:
                    async for answer in answers:
                        yield codec.stream_item(answer)
            except Exception as error:  # noqa: BLE001  # every one becomes an answer
                yield messages.ModelStreamInferResponse(
                    error_message=_told(error, path)[1], infer_response={"id": codec.identifier(data)}
                ).SerializeToString()
            finally:
                self.in_flight -= 1

    async def _until_closing(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What a client streams, until it or this server has enough."""
        while True:
            coming = asyncio.ensure_future(_next(requests))
            try:
                await asyncio.wait((coming, self._closing), return_when=asyncio.FIRST_COMPLETED)
                data = coming.result() if coming.done() else None
            finally:
                coming.cancel()
            if data is None:
                return
            yield data

    async def _admitted(self, path: str, context: Any) -> None:
        if self._middleware is not None:
            try:
                self._middleware.authenticate(_metadata(context), path)
            except RequestError as error:
                await context.abort(*_told(error, path))

    # grpc.health.v1

    def _health(self) -> Any:
        return grpc.method_handlers_generic_handler(
            _HEALTH,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, data: bytes, context: Any) -> bytes:
        status = self._status(_service_of(data))
        if status == _SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"this server has the service {messages.SERVICE}")
        return status

    async def _watch(self, data: bytes, _context: Any) -> AsyncIterator[bytes]:
        told = b""
        while not self._closing.done():
            now = self._status(_service_of(data))
            if now != told:
                told = now
                yield now
            await asyncio.wait((self._closing,), timeout=_WATCH_SECONDS)

    def _status(self, service: bytes) -> bytes:
        if service == _LIVENESS:
            return _SERVING
        if service not in (b"", _READINESS, messages.SERVICE.encode()):
            return _SERVICE_UNKNOWN
        return _SERVING if self._service.is_ready() else _NOT_SERVING


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    return await anext(requests, None)


def _told(error: Exception, path: str) -> tuple[Any, str]:
    """The status of an error, and what a client is told of it."""
    if not isinstance(error, RequestError):
        log.error("a bug of the server, on %s", path, exc_info=error)
        error = ModelFailedError("the server failed on this request; its log has the details")
    return _STATUSES.get(error.status, grpc.StatusCode.INTERNAL), str(error)[:_MAX_SAID]


def _http_status(error: BaseException) -> int:
    return error.status if isinstance(error, RequestError) else ModelFailedError.status


def _exchange(path: str, context: Any, request: Request) -> Exchange:
    peer = _address(context.peer())
    return Exchange("POST", path, _metadata(context), peer, request.started, protocol="grpc", body=request.body)


def _address(peer: str) -> str:
    """The address in grpcio's `ipv4:ADDRESS:PORT` or `ipv6:%5BADDRESS%5D:PORT`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def _metadata(context: Any) -> dict[bytes, bytes]:
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
    }


def _service_of(data: bytes) -> bytes:
    """The service that a HealthCheckRequest asks for: field 1, a string shorter than 128 bytes."""
    return data[2:] if data[:1] == b"\x0a" else b""
