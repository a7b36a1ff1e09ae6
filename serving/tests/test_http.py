"""HTTP/1.1 on the wire: framing, limits, deadlines, pipelines, streams; how a request is cut must not matter."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import Wire, feed

from slipway_serving.errors import UnauthorizedError
from slipway_serving.http import protocol
from slipway_serving.http.messages import Pending, Request, Response, error_response
from slipway_serving.http.protocol import HttpProtocol
from slipway_serving.http.server import HttpServer


class Echo:
    """Answers with what it got; `/later` when told to, `/stream` in pieces, `/broken` breaks off."""

    def __init__(self):
        self.requests: list[Request] = []
        self.later: list[asyncio.Future[bytes]] = []
        self.closed = False

    def handle(self, request: Request) -> Response | Pending:
        self.requests.append(request)
        if request.path == "/later":
            self.later.append(asyncio.get_running_loop().create_future())
            return Pending(self.later[-1], lambda done: Response(done.result()))
        if request.path in ("/stream", "/broken"):
            return Response(stream=self.pieces(request.path == "/broken"))
        return Response(b"%b %b %b" % (request.method.encode(), request.target, bytes(request.body)))

    def finish(self, _request: Request, pending: Pending) -> Response:
        if pending.future.cancelled():
            return Response(b"gone", 503)
        return pending.finish(pending.future)

    def refuse(self, _request, error):
        return error_response(error)

    async def pieces(self, broken: bool) -> AsyncIterator[bytes]:
        try:
            yield b"one "
            yield b""
            if broken:
                raise RuntimeError("in the middle")
            yield b"two"
        finally:
            self.closed = True


class Connection:
    """A connection without a socket."""

    def __init__(self, server: HttpServer):
        self.server = server
        self.app = server.app
        self.wire = Wire()
        self.protocol = HttpProtocol(server)
        self.protocol.connection_made(self.wire)

    def feed(self, *pieces: bytes) -> None:
        feed(self.protocol, *pieces)

    async def answers(self) -> bytes:
        for _ in range(100):
            await asyncio.sleep(0)
        return self.wire.written


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Connection]]:
    servers = []

    def open_connection(**limits) -> Connection:
        servers.append(HttpServer(Echo(), **limits))
        return Connection(servers[-1])

    yield open_connection
    for server in servers:
        server.connections.clear()
        await server.close(0)


def post(body: bytes, target: bytes = b"/", extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b" % (target, len(body), extra, body)


def bodies(written: bytes) -> list[bytes]:
    found = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(written[:length])
        written = written[length:]
    return found


@given(sizes=st.lists(st.integers(1, 60), max_size=12), large=st.booleans())
def test_how_a_request_is_cut_into_pieces_does_not_matter(sizes, large):
    body = b"0123456789" * (8000 if large else 3)
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    message = post(body) + chunked + post(b"")
    pieces = []
    rest = message
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    pieces.append(rest)

    async def run():
        connection = Connection(HttpServer(Echo()))
        connection.feed(*[piece for piece in pieces if piece])
        written = await connection.answers()
        connection.server.connections.clear()
        await connection.server.close(0)
        return written

    assert bodies(asyncio.run(run())) == [b"POST / " + body, b"POST /c hello", b"POST / "]


@given(garbage=st.binary(max_size=300))
def test_no_bytes_whatsoever_hang_or_crash_it(garbage):
    async def run():
        connection = Connection(HttpServer(Echo()))
        connection.feed(garbage)
        await connection.answers()
        assert connection.wire.written.startswith(b"HTTP/1.1 ") or not connection.wire.written
        assert connection.wire.closed or connection.protocol.deadline < float("inf") or connection.app.later
        connection.server.connections.clear()
        await connection.server.close(0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * (65 << 10) + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (65 << 10) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_answered_in_json_and_closed(connect, message, status):
    connection = connect()
    connection.feed(message)
    written = await connection.answers()
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in written
    assert b'{"error":"' in written
    assert connection.wire.closed
    assert not connection.app.requests


async def test_a_body_beyond_the_limit_is_refused_at_once_and_the_rest_is_read(connect):
    connection = connect(max_body=100)
    connection.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
    assert connection.wire.written.startswith(b"HTTP/1.1 413 ")
    assert not connection.wire.closed
    connection.feed(b"x" * 600)
    assert connection.wire.closed
    assert connection.wire.written.count(b"HTTP/1.1") == 1


async def test_who_waits_for_continue_is_told_before_sending(connect):
    connection = connect(max_body=100)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    connection.feed(head % 3)
    assert connection.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.feed(b"abc")
    assert (await connection.answers()).endswith(b"POST / abc")
    refused = connect(max_body=100)
    refused.feed(head % 3000)
    assert refused.wire.written.startswith(b"HTTP/1.1 413 ")
    assert refused.wire.closed


class Guard:
    """Lets in who has a key, and remembers who asked."""

    def __init__(self):
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> None:
        self.asked.append(request)
        if request.headers.get(b"x-api-key") != b"good":
            raise UnauthorizedError("no")


KEY = b"X-API-Key: good\r\n"


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 90000", b"Content-Length: 9000000", b"Transfer-Encoding: chunked"]
)
@pytest.mark.parametrize("before", [b"", b"x"])
async def test_who_is_not_let_in_hears_it_before_the_body_and_may_finish_it(connect, framing, before):
    guard = Guard()
    connection = connect(guard=guard, max_body=1_000_000)
    chunk = b"1\r\nx\r\n" if before and b"chunked" in framing else before
    connection.feed(b"POST /p HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + chunk)
    assert connection.wire.written.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in connection.wire.written
    assert connection.wire.written.endswith(b'{"error":"no"}')
    assert [(request.method, request.path) for request in guard.asked] == [("POST", "/p")]
    assert not connection.wire.closed
    assert connection.protocol.deadline <= connection.server.now() + protocol.HEAD_SECONDS
    size = int(framing.partition(b"h: ")[2]) if b"Length" in framing else 0
    connection.feed(b"x" * (size - len(before)) if size else b"5\r\nhello\r\n0\r\n\r\n")
    assert connection.wire.closed
    assert connection.wire.written.count(b"HTTP/1.1") == 1
    assert not connection.app.requests
    assert len(guard.asked) == 1


async def test_who_is_not_let_in_is_not_told_to_go_on(connect):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n%b\r\n"
    refused = connect(guard=Guard())
    refused.feed(head % b"")
    assert refused.wire.written.startswith(b"HTTP/1.1 401 ")
    assert refused.wire.closed
    admitted = connect(guard=Guard())
    admitted.feed(head % KEY)
    assert admitted.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    admitted.feed(b"abc")
    assert (await admitted.answers()).endswith(b"POST / abc")


async def test_who_is_let_in_is_read_in_pieces_as_ever(connect):
    guard = Guard()
    connection = connect(guard=guard, max_body=100_000)
    message = post(b"y" * 50_000, extra=KEY)
    connection.feed(message[:90], message[90:200], message[200:])
    assert bodies(await connection.answers()) == [b"POST / " + b"y" * 50_000]
    assert len(guard.asked) == 1
    connection.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n" + KEY + b"\r\n")
    assert b"HTTP/1.1 413 " in connection.wire.written


async def test_a_request_that_comes_whole_is_left_to_the_application(connect):
    guard = Guard()
    connection = connect(guard=guard)
    connection.feed(post(b"body"), b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert bodies(await connection.answers()) == [b"POST / body", b"GET /b "]
    assert not guard.asked


async def test_the_answers_that_are_due_come_before_a_refusal(connect):
    guard = Guard()
    connection = connect(guard=guard)
    connection.feed(post(b"", b"/later") + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
    assert not connection.wire.written
    connection.app.later[0].set_result(b"first")
    assert bodies(await connection.answers()) == [b"first"]
    connection.feed(b"abc")
    assert bodies(await connection.answers()) == [b"first", b"POST / abc"]
    assert not guard.asked


async def test_what_is_broken_behind_its_head_is_refused_once(connect):
    guard = Guard()
    connection = connect(guard=guard)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    connection.feed(head + b"no length\r\n")
    assert connection.wire.written.startswith(b"HTTP/1.1 400 ")
    assert connection.wire.written.count(b"HTTP/1.1") == 1
    assert not guard.asked


async def test_who_has_been_refused_does_not_hold_up_the_end(connect):
    connection = connect(guard=Guard())
    connection.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n")
    assert not connection.wire.closed
    connection.protocol.close_when_idle()
    assert connection.wire.closed


async def test_pipelined_requests_are_answered_in_order_and_bounded(connect):
    connection = connect()
    connection.feed(post(b"first", b"/later"), *[post(b"%d" % n) for n in range(20)])
    assert connection.wire.paused
    assert not await connection.answers()
    connection.app.later[0].set_result(b"first")
    written = await connection.answers()
    assert bodies(written) == [b"first", *[b"POST / %d" % n for n in range(20)]]
    assert not connection.wire.paused


async def test_a_client_that_leaves_takes_its_request_back(connect):
    connection = connect()
    connection.feed(post(b"", b"/later"), post(b"", b"/later"))
    connection.protocol.connection_lost(None)
    await connection.answers()
    assert [future.cancelled() for future in connection.app.later] == [True]
    assert connection.server.in_flight == 0


@pytest.mark.parametrize(
    ("version", "header", "closed", "said"),
    [
        (b"1.1", b"", False, b""),
        (b"1.1", b"Connection: close\r\n", True, b"connection: close"),
        (b"1.1", b"Connection: TE, Close\r\n", True, b"connection: close"),
        (b"1.0", b"", True, b"connection: close"),
        (b"1.0", b"Connection: Keep-Alive\r\n", False, b"connection: keep-alive"),
    ],
)
async def test_connections_stay_open_as_the_client_says(connect, version, header, closed, said):
    connection = connect()
    connection.feed(b"GET / HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, header))
    assert connection.wire.closed == closed
    assert said in connection.wire.written


async def test_a_whole_url_is_a_path_too(connect):
    connection = connect()
    connection.feed(b"GET http://x:80/v2?a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.wire.written.endswith(b"GET /v2?a ")


async def test_head_has_the_head_alone(connect):
    connection = connect()
    connection.feed(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"content-length: 8\r\n" in connection.wire.written
    assert connection.wire.written.endswith(b"\r\n\r\n")


async def test_streams_are_chunked_and_old_clients_read_to_the_end(connect):
    connection = connect()
    connection.feed(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await connection.answers()).endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not connection.wire.closed
    old = connect()
    old.feed(b"GET /stream HTTP/1.0\r\nHost: x\r\n\r\n")
    assert (await old.answers()).endswith(b"\r\n\r\none two")
    assert old.wire.closed


async def test_a_stream_that_breaks_is_cut_so_that_the_client_sees_it(connect, caplog):
    connection = connect()
    connection.feed(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
    written = await connection.answers()
    assert written.endswith(b"4\r\none \r\n")
    assert connection.wire.aborted
    assert "an answer broke off" in caplog.text


class Begun(AsyncIterator[bytes]):
    """A stream that holds something before its first piece is asked for."""

    closed = False

    async def __anext__(self) -> bytes:
        raise AssertionError("nobody is there to read")

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_stream_whose_client_is_gone_before_it_begins_is_closed(connect, turns):
    connection = connect()
    connection.feed(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
    stream = Begun()
    pending = connection.protocol._pending
    pending.finish = lambda _: Response(stream=stream)
    pending.future.set_result(b"")
    for _ in range(turns):
        await asyncio.sleep(0)
    connection.protocol.connection_lost(None)
    await connection.answers()
    assert stream.closed
    assert connection.server.in_flight == 0


async def test_a_stream_waits_for_a_slow_client_and_ends_with_it(connect):
    connection = connect()
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    connection.feed(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.protocol.pause_writing()
    assert (await connection.answers()).endswith(b"4\r\none \r\n")
    connection.protocol.connection_lost(None)
    await connection.answers()
    assert connection.app.closed
    assert connection.server.in_flight == 0


async def test_deadlines_end_who_is_silent_and_tell_who_was_sending(connect):
    connection = connect(keep_alive=5)
    clock = connection.server.now()
    assert connection.protocol.deadline <= clock + protocol.HEAD_SECONDS
    connection.feed(b"GET / HT")
    connection.protocol.expire()
    assert connection.wire.written.startswith(b"HTTP/1.1 408 ")
    assert connection.wire.closed
    idle = connect(keep_alive=5)
    idle.feed(post(b""))
    assert clock + 4 < idle.protocol.deadline < idle.server.now() + 6
    idle.protocol.expire()
    assert idle.wire.closed
    assert idle.wire.written.count(b"HTTP/1.1") == 1
    body = connect()
    body.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert body.protocol.deadline >= clock + protocol.HEAD_SECONDS + 1e6 / protocol.BODY_BYTES_A_SECOND - 1
    busy = connect()
    busy.feed(post(b"", b"/later"))
    assert busy.protocol.deadline == float("inf")


async def test_tensors_after_a_header_are_aligned(connect):
    connection = connect()
    head = b'{"a": 1}'
    body = head + gzip.compress(b"x" * 200_000, 0)
    connection.feed(post(body, extra=b"Inference-Header-Content-Length: 8\r\n"))
    received = connection.app.requests[0].body
    assert bytes(received) == body
    assert connection.app.requests[0].header_length == 8
    assert np.frombuffer(received[8 : 8 + 64], dtype=np.uint8).ctypes.data % 16 == 0
    assert not received.readonly
    connection.feed(post(b"next"))
    assert connection.wire.written.endswith(b"POST / next")


async def test_closing_waits_for_what_is_in_flight_and_counts_what_is_lost(connect):
    connection = connect()
    connection.feed(post(b"", b"/later"))
    closing = asyncio.create_task(connection.server.close(30))
    await connection.answers()
    assert not closing.done()
    connection.app.later[0].set_result(b"late")
    await connection.answers()
    connection.protocol.connection_lost(None)
    assert await closing == 0
    assert b"connection: close" in connection.wire.written
    other = connect()
    other.feed(post(b"", b"/later"))
    assert await other.server.close(0) == 1
