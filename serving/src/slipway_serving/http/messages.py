"""Requests and answers, as the handlers see them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson

from slipway_serving.errors import InvalidInputError, RequestError

JSON = b"application/json"
_LENGTH_HEADER = b"inference-header-content-length"
_MAX_DIGITS = 18
REQUEST_ID = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:@+/=-]{1,128}")
_CLOSING: set[asyncio.Future[Any]] = set()


@dataclass(slots=True)
class Request:
    """A request whose body has arrived whole."""

    method: str
    target: bytes
    """As it was sent: path and query, still encoded."""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By lower-case name. A name that was sent twice has its values joined by a comma, as RFC 9110 (5.3) says."""
    body: bytes | bytearray | memoryview = b""
    peer: str = ""
    """Address of the client."""
    started: float = 0.0
    """When its first byte came, on the clock of `time.perf_counter`."""
    model: Any = None
    """The ServedModel that answers it, once a handler knows."""

    @property
    def path(self) -> str:
        """Decoded, without the query, and without a slash at its end: both forms are one path here."""
        path = self.target.partition(b"?")[0].decode("latin-1")
        if "%" in path:
            path = unquote(path)
        return path[:-1] if len(path) > 1 and path.endswith("/") else path

    @property
    def header_length(self) -> int | None:
        """How much of the body is JSON where binary tensors follow, else None. Raises InvalidInputError."""
        value = self.headers.get(_LENGTH_HEADER)
        if value is None:
            return None
        if not value.isdigit() or len(value) > _MAX_DIGITS:
            raise InvalidInputError(
                f"Inference-Header-Content-Length must be a whole number, got {value[:40].decode('latin-1')!r}"
            )
        return int(value)


@dataclass(slots=True)
class Response:
    """An answer. Where `stream` is given its pieces are sent as they come, after `body`."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] | None = None
    stream: AsyncIterator[bytes] | None = None


@dataclass(slots=True)
class Pending:
    """An answer that is on its way: `finish` makes it of what the future brings, or raises a RequestError.

    Cancelling the future is how a client that has gone away takes its request back.
    """

    future: asyncio.Future[Any]
    finish: Callable[[asyncio.Future[Any]], Response]


def request_id(sent: bytes | None) -> bytes:
    """The id that a client sent, or a new one where it sent none, or one that does not belong in logs and headers."""
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent
    return os.urandom(16).hex().encode()


def discard(response: Response) -> None:
    """Closes the stream of an answer that nobody will read."""
    close = getattr(response.stream, "aclose", None)
    if close is not None:
        closing = asyncio.ensure_future(close())
        _CLOSING.add(closing)
        closing.add_done_callback(_CLOSING.discard)


def json_response(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)


def error_response(error: RequestError) -> Response:
    """`{"error": …}` with the error's status and headers."""
    headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    message = str(error).encode("utf-8", "replace").decode()
    return Response(orjson.dumps({"error": message}), error.status, headers=headers)
