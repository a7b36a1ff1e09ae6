"""Calls of those who may ask, and calls that are watched besides: what `WatchedApp` is for HTTP.

The middleware sees a call once, from its headers to its status, however many messages it has.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from slipway_serving.errors import ModelFailedError, RequestError, UnauthorizedError
from slipway_serving.grpc import frames
from slipway_serving.grpc.calls import CANCELLED, Call
from slipway_serving.http.messages import REQUEST_ID
from slipway_serving.middleware.exchange import CLIENT_GONE, OTHER, Exchange
from slipway_serving.middleware.stack import Middleware

_OK: Final = 200


class GuardedCall(Call):
    """A call of those with a key, where nobody watches. It is refused before its messages are read."""

    def __init__(self, middleware: Middleware, *arguments: Any) -> None:
        """`arguments` are a Call's."""
        self._middleware = middleware
        super().__init__(*arguments)

    def _begin(self) -> None:
        try:
            self._admit()
        except UnauthorizedError as error:
            self.fail(error)
        else:
            super()._begin()

    def _admit(self) -> None:
        self._middleware.authenticate(self.metadata, self.path)


class WatchedCall(GuardedCall):
    """A call that is admitted and watched. Of a stream the model is the one that its first request asked."""

    def _begin(self) -> None:
        name = self._method.path.removeprefix("/") if self._method is not None else OTHER
        path = self.path.partition("?")[0]
        peer = self._connection.peer
        self._exchange = self._middleware.arrived(
            Exchange("POST", path, self.metadata, peer, protocol="grpc", rpc_method=name, status=_OK)
        )
        super()._begin()

    def _admit(self) -> None:
        self._middleware.admit(self._exchange, self.path)

    def received(self, message: memoryview, *, compressed: bool) -> None:
        self._exchange.received += len(message)
        super().received(message, compressed=compressed)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        with self._middleware.running(self._exchange):
            super()._start(work)

    def _head(self) -> bytes:
        head = frames.ANSWER + frames.literal(REQUEST_ID, self._exchange.id.encode())
        if self._exchange.traceparent:
            head += frames.literal(b"traceresponse", self._exchange.traceparent.encode())
        return head

    def _send(self, message: bytes) -> None:
        self._exchange.answer_size += len(message)
        super()._send(message)

    def fail(self, error: BaseException) -> None:
        if not self._over:
            self._exchange.status = error.status if isinstance(error, RequestError) else ModelFailedError.status
        super().fail(error)

    def _finish(self, status: str) -> None:
        first = not self._over
        super()._finish(status)
        if not first:
            return
        exchange = self._exchange
        exchange.grpc_status = status
        if status == CANCELLED:
            exchange.status = CLIENT_GONE
        exchange.model = self.asked.model if self.asked is not None else None
        self._middleware.ended(exchange)
