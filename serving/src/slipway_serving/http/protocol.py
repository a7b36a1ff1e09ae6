"""One HTTP/1.1 connection: httptools reads, the application answers, requests of one connection one after the other.

Written on asyncio itself because an ASGI server costs three times as much a request (docs/decisions). Framing follows
RFC 9112; what httptools refuses (both lengths, broken chunks, bare line feeds) is a 400 and the end of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import numpy as np

from slipway_serving.errors import (
    BodyTooLargeError,
    HeadersTooLargeError,
    InvalidInputError,
    RequestError,
    RequestTimeoutError,
)
from slipway_serving.http.encoding import SMALLEST, encoded
from slipway_serving.http.messages import REQUEST_ID, Pending, Request, Response, discard, request_id

if TYPE_CHECKING:
    from slipway_serving.http.server import HttpServer

log = logging.getLogger("slipway_serving")

HEAD_SECONDS = 60.0
"""How long a client may take for a request's head, and for reading an answer."""
BODY_BYTES_A_SECOND = 100_000
"""A body may take HEAD_SECONDS and what it would take at this rate."""
MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 100
_MAX_PIPELINED = 8
_MAX_DISCARDED = 1 << 28
_DIRECT = 32 << 10
"""Bodies of at least this many bytes are received straight into their own memory."""
_ALIGNMENT = 16
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UPGRADES = (b"upgrade", b"connection", b"http2-settings")
_NEVER = float("inf")
_CLOSE = (b"connection", b"close")

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(slots=True)
class _Exchange:
    """A request, and how its answer has to be framed."""

    request: Request
    keep_alive: bool
    old: bool
    """HTTP/1.0: no chunks, and closing is what it expects."""


class HttpProtocol(asyncio.BufferedProtocol):
    """A connection. `deadline` is when the server closes it unless something happens."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._app = server.app
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Exchange] = deque()
        self._pending: Pending | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._busy = False
        self._closing = False
        self._has_refused = False
        self._peer = ""
        self.deadline = server.now() + HEAD_SECONDS
        self._begin()

    # What has arrived of the request that is being read.

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._started = 0.0
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._direct: memoryview | None = None
        self._refused = self._awaits = False
        self._method = ""
        self._keep = self._old = False

    @property
    def is_idle(self) -> bool:
        """No request is being answered, and none has begun to arrive."""
        return not self._busy and not self._waiting and not self._started

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        app = self._server.admit(self)
        if app is None:
            self._transport.abort()
        else:
            self._app = app

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._closing = True
        self._server.connections.discard(self)
        self._waiting.clear()
        if self._pending is not None:
            self._pending.future.cancel()
        if self._streaming is not None:
            self._streaming.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        if self._direct is not None:
            return self._direct[self._body_bytes :]
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._direct is not None:
            self._body_bytes += nbytes
            if self._body_bytes == len(self._direct):
                # The parser still waits for this body; a new one starts with the next request.
                self._parser = httptools.HttpRequestParser(self)
                self._complete()
            return
        self._feed(self._server.buffer[:nbytes])

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()
        self.deadline = self._server.now() + HEAD_SECONDS

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self.deadline = _NEVER if self._busy else self._server.now() + self._server.keep_alive
        if not self._busy:
            self._next()

    # httptools' side

    def _feed(self, data: memoryview | bytes) -> None:
        if self._closing:
            return
        if not self._started:
            self._started = time.perf_counter()
            if not self._busy:
                self.deadline = self._server.now() + HEAD_SECONDS
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(
                cause if isinstance(cause, RequestError) else InvalidInputError("Invalid HTTP request received.")
            )
        except httptools.HttpParserError:
            self._refuse(InvalidInputError("Invalid HTTP request received."))
        if self._awaits and not self._closing:
            self._await_body()

    def _await_body(self) -> None:
        """The head is here, and its body is not or not all of it."""
        if self._admits() and self._waits_for_continue:
            self._transport.write(_CONTINUE)

    def _admits(self) -> bool:
        """Whether the body may come. Who is refused hears it before, unless others on this connection hear first."""
        self._awaits = False
        guard = self._server.guard
        if guard is None or self._busy or self._waiting:
            return True
        try:
            guard(self._request(b""))
        except RequestError as error:
            self.deadline = self._server.now() + HEAD_SECONDS
            self._refuse_body(error)
            return False
        return True

    @property
    def _waits_for_continue(self) -> bool:
        return self._headers.get(b"expect", b"").lower() == b"100-continue"

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        known = self._headers.get(name)
        if known is not None and name == b"host":
            raise InvalidInputError("the request has more than one Host header")
        self._headers[name] = value if known is None else known + b", " + value
        self._count_head(len(name) + len(value))
        if len(self._headers) > MAX_HEADERS:
            raise HeadersTooLargeError(f"the request has more than {MAX_HEADERS} headers")

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadersTooLargeError(f"the request's head is larger than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        self._method = self._parser.get_method().decode("latin-1")
        self._old = self._parser.get_http_version() != "1.1"
        if not self._old and b"host" not in self._headers:
            raise InvalidInputError("the request has no Host header, which HTTP/1.1 wants (RFC 9112, 3.2)")
        connection = self._headers.get(b"connection")
        self._keep = not self._old if connection is None else _keeps_alive(connection, old=self._old)
        length = int(self._headers.get(b"content-length", b"0"))
        chunked = b"transfer-encoding" in self._headers
        if not length and not chunked:
            return
        self._awaits = self._server.guard is not None or b"expect" in self._headers
        if length > self._server.max_body:
            self._too_large()
            return
        seconds = (length or self._server.max_body) / BODY_BYTES_A_SECOND
        self.deadline = self._server.now() + HEAD_SECONDS + seconds
        if length >= _DIRECT:
            self._direct = self._allocate(length)

    def _allocate(self, length: int) -> memoryview:
        """Memory for a body, placed so that the tensors after its JSON part are aligned."""
        header = self._headers.get(b"inference-header-content-length", b"")
        offset = -int(header) % _ALIGNMENT if header.isdigit() and len(header) <= len(str(length)) else 0
        return np.empty(offset + length, dtype=np.uint8).data[offset:]

    def on_body(self, body: bytes) -> None:
        start, self._body_bytes = self._body_bytes, self._body_bytes + len(body)
        if self._refused:
            if self._body_bytes > _MAX_DISCARDED:
                self._close()
        elif self._direct is not None:
            self._direct[start : self._body_bytes] = body
        elif self._body_bytes > self._server.max_body:
            self._too_large()
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():
            self._complete()

    def _complete(self) -> None:
        if self._refused:
            self._close()
            return
        if self._direct is not None:
            body: bytes | memoryview = self._direct
        else:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._waiting.append(_Exchange(self._request(body), self._keep, self._old))
        self._begin()
        if not self._busy:
            self._next()
        elif len(self._waiting) >= _MAX_PIPELINED:
            self._transport.pause_reading()

    def _request(self, body: bytes | memoryview) -> Request:
        target = self._url if self._url.startswith(b"/") else _origin_form(self._url)
        return Request(self._method, target, self._headers, body, self._peer, self._started)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Reads the request again as if it had offered nothing: the parser takes its body for the other protocol.

        Clients that offer HTTP/2 with their first request, as Java's does, send that request's body all the same.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(InvalidInputError("CONNECT is not supported."))
            return
        kept = [(name, value) for name, value in self._headers.items() if name not in _UPGRADES]
        lines = [method + b" " + self._url + b" HTTP/1.1", *(name + b": " + value for name, value in kept)]
        self._parser = httptools.HttpRequestParser(self)
        started = self._started
        self._begin()
        self._started = started
        self._feed(b"\r\n".join([*lines, b"", rest]))

    # Answers

    def _next(self) -> None:
        """Hands the oldest request that waits to the application."""
        if not self._waiting or self._closing or self._writable is not None:
            return
        exchange = self._waiting.popleft()
        if len(self._waiting) == _MAX_PIPELINED - 1:
            self._transport.resume_reading()
        self._busy = True
        self.deadline = _NEVER
        self._server.in_flight += 1
        answer = self._app.handle(exchange.request)
        if isinstance(answer, Pending):
            self._pending = answer
            answer.future.add_done_callback(partial(self._finish, exchange, answer))
        else:
            self._write(exchange, answer)

    def _finish(self, exchange: _Exchange, pending: Pending, _future: Any) -> None:
        self._pending = None
        self._write(exchange, self._app.finish(exchange.request, pending))

    def _write(self, exchange: _Exchange, response: Response) -> None:
        if self._closing:
            discard(response)
            self._done(exchange)
            return
        if self._server.draining or (response.headers and _CLOSE in response.headers):
            exchange.keep_alive = False
        if len(response.body) > SMALLEST:
            response = encoded(exchange.request, response)
        if response.stream is not None:
            self._streaming = asyncio.get_running_loop().create_task(self._stream(exchange, response, response.stream))
            self._streaming.add_done_callback(partial(self._streamed, exchange, response))
            return
        body = response.body
        framing = b"content-length: %d\r\n" % len(body)
        head = self._head(exchange, response, framing)
        if exchange.request.method == "HEAD":
            self._transport.write(head)
        elif len(body) < _DIRECT:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        self._done(exchange)

    def _head(self, exchange: _Exchange, response: Response, framing: bytes) -> bytes:
        parts = [STATUS_LINES[response.status], self._server.date, b"content-type: ", response.content_type, b"\r\n"]
        parts.append(framing)
        for name, value in response.headers or ():
            parts += (name, b": ", value, b"\r\n")
        sent = exchange.request.headers.get(REQUEST_ID)
        if sent is not None:
            parts += (REQUEST_ID, b": ", request_id(sent), b"\r\n")
        if not exchange.keep_alive:
            parts.append(b"connection: close\r\n" if _CLOSE not in (response.headers or ()) else b"")
        elif exchange.old:
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _done(self, exchange: _Exchange) -> None:
        self._server.in_flight -= 1
        self._busy = False
        if self._closing:
            return
        if not exchange.keep_alive:
            self._close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self.deadline = self._server.now() + self._server.keep_alive

    async def _stream(self, exchange: _Exchange, response: Response, stream: AsyncIterator[bytes]) -> None:
        """Sends pieces as they come, as chunks where the client knows them, at the pace of the client."""
        if exchange.old:
            exchange.keep_alive = False
        framing = b"" if exchange.old else b"transfer-encoding: chunked\r\n"
        self._transport.write(self._head(exchange, response, framing))
        try:
            async for piece in stream:
                if piece:
                    self._transport.write(piece if exchange.old else b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._writable is not None:
                    await self._writable
                if self._closing:
                    break
            else:
                self._transport.write(b"" if exchange.old else b"0\r\n\r\n")
        except asyncio.CancelledError:
            self._closing = True
        except Exception:
            log.exception("an answer broke off on %s", exchange.request.path)
            self._transport.abort()  # the missing last chunk tells the client that this was not all
            self._closing = True
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    def _streamed(self, exchange: _Exchange, response: Response, task: asyncio.Task[None]) -> None:
        self._streaming = None
        if task.cancelled():  # before its first step
            discard(response)
        self._done(exchange)

    # Ends

    def _too_large(self) -> None:
        if self._awaits and not self._admits():
            return
        limit = self._server.max_body
        error = BodyTooLargeError(f"the request body is larger than {limit} bytes; the limit is set with --max-body")
        self._refuse_body(error)

    def _refuse_body(self, error: RequestError) -> None:
        """Answers a request before its body is read, which is then thrown away."""
        self._direct = None
        self._parts.clear()
        if self._waits_for_continue:
            self._refuse(error)
            return
        # Many clients look for an answer only after they have sent everything: read on for a while.
        self._refused = True
        self._answer_unread(error)

    def _refuse(self, error: RequestError) -> None:
        """Answers what cannot be read any further, and closes."""
        self._refused = True
        self._answer_unread(error)
        self._close()

    def _answer_unread(self, error: RequestError) -> None:
        if self._busy or self._waiting or self._closing or self._has_refused:
            return  # an answer that is due comes first, and there is no telling where this request's would go
        self._has_refused = True
        request = Request(self._method or "POST", self._url, self._headers, b"", self._peer, self._started)
        exchange = _Exchange(request, keep_alive=False, old=False)
        response = self._app.refuse(request, error)
        framing = b"content-length: %d\r\n" % len(response.body)
        self._transport.write(self._head(exchange, response, framing) + response.body)

    def close_when_idle(self) -> None:
        """Part of stopping: at once where nothing is going on, else after the answer that is due."""
        if self.is_idle or self._has_refused:
            self._close()

    def expire(self) -> None:
        """The deadline has passed. A client that was sending hears why."""
        if self._started and not self._busy:
            self._answer_unread(RequestTimeoutError("the request did not arrive in time"))
        if self._busy:
            self._transport.abort()
        else:
            self._close()

    def _close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()


def _origin_form(target: bytes) -> bytes:
    """The path and query of a whole URL, which a client may send (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return target
    return b"/" + rest.partition(b"/")[2]


def _keeps_alive(connection: bytes, *, old: bool) -> bool:
    tokens = [token.strip() for token in connection.lower().split(b",")]
    return b"keep-alive" in tokens if old else b"close" not in tokens
