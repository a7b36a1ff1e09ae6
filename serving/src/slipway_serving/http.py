"""HTTP as this server needs it, straight on ASGI: a request's body within limits, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from slipway_serving.errors import BodyTooLargeError, InvalidInputError, RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
BODY_TIMEOUT = 60.0
"""Seconds that a client may take to send a body."""
_DISCARD_LIMIT = 1 << 28
_MAX_DIGITS = 18


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody waits for an answer."""


@dataclass(slots=True)
class Response:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers | None = None


@dataclass(slots=True)
class Body:
    """A request's body, and how much of it is JSON where binary tensors follow (else None)."""

    data: bytes | bytearray
    header_length: int | None

    @property
    def json_length(self) -> int:
        return len(self.data) if self.header_length is None else self.header_length


def json_response(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)


def error_response(error: RequestError) -> Response:
    """`{"error": …}` with the error's status and headers."""
    headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    message = str(error).encode("utf-8", "replace").decode()
    return Response(orjson.dumps({"error": message}), error.status, headers=headers)


async def respond(send: Send, response: Response, *, close: bool = False) -> None:
    """Sends an answer; `close` asks the client to open a new connection for its next request."""
    headers: Headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
    ]
    if response.headers:
        headers += response.headers
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def read_body(scope: Scope, receive: Receive, limit: int) -> Body:
    """Reads a body of at most `limit` bytes.

    Raises BodyTooLargeError, InvalidInputError for headers that cannot be, and ClientGoneError.
    """
    declared, header_length, expects = _read_headers(scope["headers"])
    if declared > limit:
        if not expects:
            await _discard(receive)
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    data: bytes | bytearray = message["body"]
    if message.get("more_body"):
        data = await _read_rest(data, receive, limit)
    elif len(data) > limit:
        raise _too_large(limit)
    if header_length is not None and isinstance(data, bytes):
        data = bytearray(data)  # tensors are views of it, and a model may write into its inputs
    return Body(data, header_length)


def _read_headers(headers: Headers) -> tuple[int, int | None, bool]:
    """The length that a body declares, how much of it is JSON, and whether its sender waits for 100-continue."""
    declared = 0
    header_length = None
    expects = False
    for name, value in headers:
        if name == b"content-length":
            declared = int(value)
        elif name == b"inference-header-content-length":
            header_length = _header_length(value)
        elif name == b"expect":
            expects = True
        elif name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            shown = value[:40].decode("latin-1")
            raise InvalidInputError(f"Content-Encoding {shown} is not supported; send the body as it is")
    return declared, header_length, expects


def _header_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MAX_DIGITS:
        raise InvalidInputError(
            f"Inference-Header-Content-Length must be a whole number, got {value[:40].decode('latin-1')!r}"
        )
    return int(value)


async def _read_rest(first: bytes | bytearray, receive: Receive, limit: int) -> bytearray:
    data = bytearray(first)
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                data += message["body"]
                if len(data) > limit:
                    await _discard(receive)
                    raise _too_large(limit)
                if not message.get("more_body"):
                    return data
    except TimeoutError:
        raise InvalidInputError(f"the request body did not arrive within {BODY_TIMEOUT:.0f} s") from None


async def _discard(receive: Receive) -> None:
    """Reads on for a while, because many clients look for an answer only after they have sent everything."""
    dropped = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while dropped < _DISCARD_LIMIT:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                dropped += len(message["body"])
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the request body is larger than {limit} bytes; the limit is set with --max-body")
