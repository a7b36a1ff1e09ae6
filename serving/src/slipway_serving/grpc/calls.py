"""One gRPC call: its messages in, its answer or its status out (gRPC over HTTP2)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from slipway_serving.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    InvalidInputError,
    ModelFailedError,
    NotOfferedError,
    RequestError,
)
from slipway_serving.grpc import frames
from slipway_serving.http.encoding import decompress
from slipway_serving.http.messages import REQUEST_ID, Request, request_id

if TYPE_CHECKING:
    from slipway_serving.grpc.connection import Connection
    from slipway_serving.grpc.server import GrpcServer
    from slipway_serving.grpc.streams import Stream

log = logging.getLogger("slipway_serving")

STATUSES: Final = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    413: (8, "RESOURCE_EXHAUSTED"),
    415: (12, "UNIMPLEMENTED"),
    422: (3, "INVALID_ARGUMENT"),
    429: (8, "RESOURCE_EXHAUSTED"),
    501: (12, "UNIMPLEMENTED"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}
"""A status of gRPC for each of HTTP that an error may have."""
_INTERNAL: Final = (13, "INTERNAL")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_QUEUED = 16
OK: Final = "OK"
CANCELLED: Final = "CANCELLED"

Message = bytes | bytearray | memoryview
Unary = Callable[[Message, "Call"], Awaitable[bytes]]
Streamed = Callable[[AsyncIterator[Message], "Call"], Awaitable[None]]
"""Answers with `Call.send`, as often as it likes."""
_Received = tuple[memoryview, bool]
"""A message, and whether it is compressed."""


@dataclass(frozen=True, slots=True)
class Method:
    """What answers a path: one message for one, or any number for any number."""

    path: str
    unary: Unary | None = None
    streamed: Streamed | None = None


class Call:
    """A call, from its headers to its status."""

    def __init__(
        self,
        server: GrpcServer,
        connection: Connection,
        stream: Stream,
        metadata: dict[bytes, bytes],
        method: Method | None,
    ) -> None:
        self.metadata = metadata
        """By lower-case name."""
        self.asked: Request | None = None
        """What the first message asks; it knows its model once that is found."""
        self._server = server
        self._connection = connection
        self._stream = stream
        self._method = method
        self._messages: asyncio.Queue[_Received | None] = asyncio.Queue()
        self._message: _Received | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = self._opened = False
        self._counts = method is None or method.streamed is None
        if self._counts:  # of a stream each request counts, while it is answered
            server.in_flight += 1
        self._begin()

    @property
    def path(self) -> str:
        """`/package.Service/Method`, as it was sent."""
        return self.metadata.get(b":path", b"").decode("latin-1")

    def request(self, message: Message) -> Request:
        """One message as what models are asked with."""
        request = Request("POST", b"", self.metadata, message, self._connection.peer, time.perf_counter())
        self.asked = self.asked or request
        return request

    def _begin(self) -> None:
        if self._method is None:
            self.fail(NotOfferedError(f"this server has no method {self.path:.200}"))
            return
        timeout = self.metadata.get(b"grpc-timeout")
        if timeout is not None:
            self._set_deadline(timeout)
        if self._method.streamed is not None and not self._over:
            self._stream.room = asyncio.Event()
            if not self._connection.is_full:
                self._stream.room.set()
            self._start(self._run_streamed(self._method.streamed))

    def _set_deadline(self, timeout: bytes) -> None:
        found = _TIMEOUT.fullmatch(timeout)
        if found is None:
            self.fail(InvalidInputError("grpc-timeout is not a time"))
            return
        seconds = int(found[1]) * _SECONDS[found[2]]
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.fail(DeadlineExceededError("the client's deadline is over"))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    # What the client sends

    @property
    def wants_more(self) -> bool:
        """False while messages wait that nobody has read."""
        return self._messages.qsize() < _MOST_QUEUED

    def received(self, message: memoryview, *, compressed: bool) -> None:
        if self._over or self._method is None:
            return
        if self._method.streamed is not None:
            self._messages.put_nowait((message, compressed))
        elif self._message is None:
            self._message = message, compressed
        else:
            self.fail(InvalidInputError("the method takes one message"))

    async def _plain(self, message: memoryview, compressed: bool) -> bytes | bytearray | memoryview:
        if not compressed:
            return message
        encoding = self.metadata.get(b"grpc-encoding", b"identity")
        if encoding not in (b"gzip", b"deflate"):
            said = encoding[:40].decode("latin-1")
            raise NotOfferedError(f"grpc-encoding {said} is not possible; send gzip, deflate or identity")
        return await asyncio.to_thread(decompress, message, encoding, self._server.max_body)

    def too_large(self, length: int) -> None:
        limit = self._server.max_body
        self.fail(BodyTooLargeError(f"the message has {length} bytes, and the limit is {limit}: --max-body"))

    def complete(self, *, whole: bool) -> None:
        """The client has sent all that it wants to."""
        if self._over or self._method is None:
            return
        if not whole:
            self.fail(InvalidInputError("the message ends too early"))
        elif self._method.streamed is not None:
            self._messages.put_nowait(None)
        elif self._message is None:
            self.fail(InvalidInputError("the method takes one message"))
        elif self._method.unary is not None:
            self._start(self._run(self._method.unary, *self._message))

    def no_more(self) -> None:
        """The server ends: a stream is answered what it has asked for, and then ends too."""
        if self._method is not None and self._method.streamed is not None:
            self._messages.put_nowait(None)

    def cancel(self) -> None:
        """The client has gone, or wants no answer any more."""
        self._finish(CANCELLED)
        if self._task is not None:
            self._task.cancel()

    # What it is answered

    async def _run(self, answer: Unary, message: memoryview, compressed: bool) -> None:
        try:
            made = await answer(await self._plain(message, compressed) if compressed else message, self)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # every one becomes a status
            self.fail(error)
            return
        if not self._over:
            self._send(made)
            self._status(OK, frames.OK)

    async def _run_streamed(self, answer: Streamed) -> None:
        try:
            await answer(self._read(), self)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # every one becomes a status
            self.fail(error)
            return
        if not self._over:
            self._open()
            self._status(OK, frames.OK)

    async def _read(self) -> AsyncIterator[Message]:
        while (received := await self._messages.get()) is not None:
            self._connection.took(self._stream)
            yield await self._plain(*received)

    async def send(self, message: bytes) -> None:
        """One of several answers, once there is room for it: a client that does not read is not answered further."""
        room = self._stream.room
        while room is not None and not room.is_set():
            await room.wait()
        self._send(message)

    def _head(self) -> bytes:
        """The headers of the answer, without the status."""
        sent = self.metadata.get(REQUEST_ID)
        return frames.ANSWER if sent is None else frames.ANSWER + frames.literal(REQUEST_ID, request_id(sent))

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            self._connection.send(self._stream, self._head(), frames.HEADERS, frames.END_HEADERS)

    def _send(self, message: bytes) -> None:
        self._open()
        head = b"\x00" + len(message).to_bytes(4)
        if len(message) < frames.DEFAULT_FRAME:
            self._connection.send(self._stream, head + message, frames.DATA, 0)
        else:
            self._connection.send(self._stream, head, frames.DATA, 0)
            self._connection.send(self._stream, message, frames.DATA, 0)

    def fail(self, error: BaseException) -> None:
        """Ends the call with the error's status."""
        if self._over:
            return
        if self.asked is None or self.asked.model is None:
            self._server.refused(error)
        (code, name), said = told(error, self._method.path if self._method else "")
        block = frames.trailers(code, said)
        self._status(name, block if self._opened else self._head() + block)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _status(self, name: str, block: bytes) -> None:
        self._connection.send(self._stream, block, frames.HEADERS, frames.END_HEADERS | frames.END_STREAM)
        self._finish(name)

    def _finish(self, _status: str) -> None:
        """However the call ends, and perhaps again: the first time tells the name of its status."""
        if not self._over:
            self._over = True
            if self._counts:
                self._server.in_flight -= 1
        if self._timer is not None:
            self._timer.cancel()


def told(error: BaseException, path: str) -> tuple[tuple[int, str], str]:
    """The number and name of an error's status, and what a client is told of it."""
    if not isinstance(error, RequestError):
        log.error("a bug of the server, on %s", path, exc_info=error)
        error = ModelFailedError("the server failed on this request; its log has the details")
    return STATUSES.get(error.status, _INTERNAL), str(error)
