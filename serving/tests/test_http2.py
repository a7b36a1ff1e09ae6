"""HTTP/2 on the wire: how frames are cut does not matter, nothing crashes or hangs it, windows and limits hold."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st
from wire import Wire, feed

from slipway_serving.errors import NotFoundError
from slipway_serving.grpc import connection as http2
from slipway_serving.grpc import frames
from slipway_serving.grpc.calls import Call, Method
from slipway_serving.grpc.connection import Connection
from slipway_serving.grpc.streams import WINDOW

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/echo"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Server:
    """Methods without a service: `/echo`, `/later`, `/stream`, `/missing`."""

    def __init__(self, max_body=1 << 20):
        self.connections = set()
        self.buffer = memoryview(bytearray(64 << 10))
        self.max_body = max_body
        self.in_flight = self.read = self.sent = 0
        self.later: list[asyncio.Future[bytes]] = []
        self.errors: list[BaseException] = []
        self.refused = self.errors.append

    def admit(self, connection):
        self.connections.add(connection)
        return self.open_call

    def open_call(self, connection, stream, headers):
        methods = {
            b"/echo": Method("/echo", self.echo),
            b"/later": Method("/later", self.wait),
            b"/fails": Method("/fails", self.fails),
            b"/bug": Method("/bug", self.bug),
            b"/stream": Method("/stream", streamed=self.stream),
            b"/endless": Method("/endless", streamed=self.endless),
        }
        return Call(self, connection, stream, headers, methods.get(headers.get(b":path", b"")))

    async def echo(self, data, _call):
        return bytes(data)

    async def wait(self, _data, _call):
        self.later.append(asyncio.get_running_loop().create_future())
        return await self.later[-1]

    async def fails(self, _data, _call):
        raise NotFoundError("ünknown % model")

    async def bug(self, _data, _call):
        raise KeyError("secret")

    async def stream(self, requests, call):
        async for data in requests:
            self.read += 1
            await call.send(bytes(data))
            await call.send(b"again")

    async def endless(self, _requests, call):
        while True:
            await call.send(bytes(995))
            self.sent += 1


class Client:
    """The other side of a connection without a socket."""

    def __init__(self, **options):
        self.server = Server(**options)
        self.connection = Connection(self.server)
        self.wire = Wire()
        self.connection.connection_made(self.wire)
        self.encoder = Encoder()
        self.decoder = Decoder()

    def feed(self, *pieces):
        feed(self.connection, *pieces)

    def opening(self, stream=1, flags=frames.END_HEADERS, **changes):
        headers = dict(HEADERS) | {name.replace("_", "-"): value for name, value in changes.items() if name != "path"}
        headers[":path"] = changes.get("path", "/echo")
        return frames.frame(frames.HEADERS, flags, stream, self.encoder.encode(list(headers.items())))

    async def frames(self):
        """Kind, flags, stream and payload of what was answered."""
        for _ in range(60):
            await asyncio.sleep(0)
        found, at, view = [], 0, self.wire.written
        while at < len(view):
            length, kind, flags, stream = frames.head(view, at)
            at += frames.HEAD_BYTES
            found.append((kind, flags, stream, view[at : at + length]))
            at += length
        return found

    async def answers(self):
        """By stream: the message's bytes, and the status."""
        made: dict[int, tuple[bytes, dict[bytes, bytes]]] = {}
        for kind, _, stream, payload in await self.frames():
            data, headers = made.get(stream, (b"", {}))
            if kind == frames.HEADERS:
                made[stream] = data, headers | dict(self.decoder.decode(payload, raw=True))
            elif kind == frames.DATA:
                made[stream] = data + payload, headers
        return made

    async def errors(self):
        return [int.from_bytes(payload[4:8]) for kind, _, _, payload in await self.frames() if kind == frames.GOAWAY]


START = frames.PREFACE + frames.settings({})


def message(content, flag=0):
    return bytes((flag,)) + len(content).to_bytes(4) + content


def data(content, stream=1, flags=frames.END_STREAM):
    return frames.frame(frames.DATA, flags, stream, content)


@given(sizes=st.lists(st.integers(1, 50), max_size=30), large=st.booleans(), split=st.integers(1, 30))
def test_how_frames_are_cut_does_not_matter(sizes, large, split):
    content = b"0123456789" * (9000 if large else 3)

    async def run():
        client = Client()
        whole = message(content)
        parts = [data(whole[:split], flags=0), data(whole[split:])]
        padded = frames.frame(
            frames.DATA, frames.PADDED | frames.END_STREAM, 3, b"\x04" + message(b"padded") + bytes(4)
        )
        room = frames.settings({frames.SETTING_WINDOW: 1 << 20}) + frames.window_update(0, 1 << 20)
        sent = b"".join(
            [
                frames.PREFACE,
                room,
                client.opening(),
                *parts,
                client.opening(3),
                padded,
                client.opening(5),
                data(whole, 5),
            ]
        )
        pieces = []
        for size in sizes:
            pieces.append(sent[:size])
            sent = sent[size:]
        client.feed(*[piece for piece in (*pieces, sent) if piece])
        return await client.answers()

    answers = asyncio.run(run())
    assert answers[1] == answers[5]
    assert answers[1][0] == message(content)
    assert answers[3][0] == message(b"padded")
    assert answers[1][1][b"grpc-status"] == b"0"
    assert answers[1][1][b":status"] == b"200"


@given(garbage=st.binary(max_size=400), begun=st.booleans())
def test_no_bytes_whatsoever_crash_it(garbage, begun):
    async def run():
        client = Client()
        client.feed((START + client.opening() if begun else b"") + garbage)
        await client.frames()
        client.connection.connection_lost(None)
        await asyncio.sleep(0)
        assert client.server.in_flight == 0

    asyncio.run(run())


@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=20)), max_size=12
    )
)
def test_no_frames_whatsoever_crash_it(kinds):
    async def run():
        client = Client()
        client.feed(START, client.opening(), *[frames.frame(*each) for each in kinds])
        await client.frames()
        client.connection.connection_lost(None)
        await asyncio.sleep(0)
        assert client.server.in_flight == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "sent", "status", "said"),
    [
        ("/nowhere", message(b"x"), b"12", b"this server has no method /nowhere"),
        ("/fails", message(b"x"), b"5", b"%C3%BCnknown %25 model"),
        ("/bug", message(b"x"), b"13", b"the server failed on this request; its log has the details"),
        ("/echo", b"", b"3", b"the method takes one message"),
        ("/echo", message(b"x") + message(b"y"), b"3", b"the method takes one message"),
        ("/echo", message(b"xyz")[:-1], b"3", b"the message ends too early"),
        ("/echo", message(b"x" * 2000), b"8", b"the message has 2000 bytes, and the limit is 1000: --max-body"),
        ("/echo", message(b"x", 1), b"12", b"grpc-encoding identity is not possible; send gzip, deflate or identity"),
    ],
)
async def test_what_goes_wrong_is_a_status(path, sent, status, said):
    client = Client(max_body=1000)
    client.feed(START, client.opening(path=path), data(sent))
    _, headers = (await client.answers())[1]
    assert (headers[b"grpc-status"], headers[b"grpc-message"]) == (status, said)
    assert client.server.in_flight == 0
    assert len(client.server.errors) == 1
    client.feed(client.opening(3), data(message(b"next"), 3))
    assert (await client.answers())[3][0] == message(b"next")


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_messages_may_be_compressed_and_bombs_are_refused(name, compress):
    client = Client(max_body=1000)
    client.feed(START, client.opening(grpc_encoding=name), data(message(compress(b"small"), 1)))
    client.feed(client.opening(3, grpc_encoding=name), data(message(compress(bytes(100_000)), 1), 3))
    while client.server.in_flight:  # noqa: ASYNC110  # decompressed in threads
        await asyncio.sleep(0.001)
    answers = await client.answers()
    assert answers[1][0] == message(b"small")
    assert answers[3][1][b"grpc-status"] == b"8"


async def test_a_deadline_ends_a_call_and_a_wrong_one_is_told():
    client = Client()
    client.feed(START, client.opening(path="/later", grpc_timeout="1m"), data(message(b"")))
    while client.server.in_flight:  # noqa: ASYNC110  # a timer of one millisecond
        await asyncio.sleep(0.001)
    assert (await client.answers())[1][1][b"grpc-status"] == b"4"
    assert client.server.later[0].cancelled()
    client.feed(client.opening(3, grpc_timeout="soon"), data(message(b""), 3))
    assert (await client.answers())[3][1][b"grpc-status"] == b"3"


@pytest.mark.parametrize("how", ["reset", "gone"])
async def test_a_client_that_wants_no_answer_takes_its_call_back(how):
    client = Client()
    client.feed(START, client.opening(path="/later"), data(message(b"")))
    await client.frames()
    if how == "reset":
        client.feed(frames.reset(1, frames.CANCEL))
    else:
        client.connection.connection_lost(None)
    await client.frames()
    assert client.server.later[0].cancelled()
    assert client.server.in_flight == 0


async def test_answers_wait_for_the_client_s_windows():
    client = Client()
    client.feed(frames.PREFACE, frames.settings({frames.SETTING_WINDOW: 10}), client.opening())
    client.feed(data(message(b"0123456789" * 10)))
    assert len((await client.answers())[1][0]) == 10
    client.feed(frames.window_update(1, 50))
    assert len((await client.answers())[1][0]) == 60
    client.feed(frames.settings({frames.SETTING_WINDOW: 100}))
    data_, headers = (await client.answers())[1]
    assert data_ == message(b"0123456789" * 10)
    assert headers[b"grpc-status"] == b"0"


async def test_clients_may_go_on_sending_and_not_beyond_what_they_were_given():
    client = Client(max_body=64 << 20)
    content = message(bytes(24 << 20))
    client.feed(START, client.opening())
    for at in range(0, len(content), 1 << 20):
        client.feed(data(content[at : at + (1 << 20)], flags=0))
    client.feed(data(b""))
    updates = [each for each in await client.frames() if each[0] == frames.WINDOW_UPDATE]
    assert sum(frames.number(payload) for _, _, stream, payload in updates if stream == 1) >= 16 << 20
    client.feed(client.opening(3, path="/stream"))
    for _ in range(9):
        client.feed(data(message(bytes((1 << 20) - 5)) * 1, 3, 0))
    assert await client.errors() == []


async def test_streams_answer_as_messages_come():
    client = Client()
    client.feed(START, client.opening(path="/stream"), data(message(b"a"), flags=0))
    assert (await client.answers())[1][0] == message(b"a") + message(b"again")
    client.feed(data(message(b"b")))
    sent, headers = (await client.answers())[1]
    assert sent == b"".join(message(each) for each in (b"a", b"again", b"b", b"again"))
    assert headers[b"grpc-status"] == b"0"


async def test_a_stream_is_read_no_faster_than_it_is_answered_and_read_again_when_it_is():
    client = Client()
    client.feed(START, client.opening(path="/stream"))
    content = message(bytes((512 << 10) - 5))

    async def may_send():
        updates = [each for each in await client.frames() if each[0] == frames.WINDOW_UPDATE and each[2] == 1]
        return WINDOW + sum(frames.number(payload) for _, _, _, payload in updates) - sent * len(content)

    sent = 0
    while await may_send() >= len(content):
        client.feed(data(content, flags=0))
        sent += 1
    assert client.server.read == 1
    assert sent < 40
    client.feed(frames.window_update(0, 1 << 30), frames.window_update(1, 1 << 30))
    assert await may_send() >= len(content)
    assert client.server.read == sent


async def test_a_client_that_is_answered_before_its_end_hears_that_it_may_stop():
    client = Client(max_body=1000)
    client.feed(START, client.opening(), data(message(bytes(2000)), flags=0))
    client.feed(client.opening(3), data(message(b"whole"), 3))
    answers = await client.answers()
    assert [answers[number][1][b"grpc-status"] for number in (1, 3)] == [b"8", b"0"]
    resets = [(stream, payload) for kind, _, stream, payload in await client.frames() if kind == frames.RST_STREAM]
    assert resets == [(1, frames.NO_ERROR.to_bytes(4))]


async def test_a_client_that_does_not_read_is_not_answered_further():
    client = Client()
    client.feed(START, client.opening(path="/endless"))
    await client.frames()
    assert client.server.sent == frames.DEFAULT_WINDOW // 1000 + 1
    client.feed(frames.window_update(0, 10_000), frames.window_update(1, 10_000))
    await client.frames()
    assert client.server.sent == frames.DEFAULT_WINDOW // 1000 + 11
    client.connection.pause_writing()
    client.feed(frames.window_update(0, 10_000), frames.window_update(1, 10_000))
    await client.frames()
    assert client.server.sent == frames.DEFAULT_WINDOW // 1000 + 11
    client.connection.resume_writing()
    await client.frames()
    assert client.server.sent == frames.DEFAULT_WINDOW // 1000 + 21
    client.connection.connection_lost(None)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", frames.PROTOCOL_ERROR),
        (START + frames.frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), frames.PROTOCOL_ERROR),
        (START + frames.frame(frames.CONTINUATION, 0, 1, b""), frames.PROTOCOL_ERROR),
        (START + frames.frame(frames.DATA, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (START + frames.frame(frames.HEADERS, frames.END_HEADERS, 2, b""), frames.PROTOCOL_ERROR),
        (
            START + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
            frames.COMPRESSION_ERROR,
        ),
        (START + frames.frame(frames.PING, 0, 0, b"x"), frames.FRAME_SIZE_ERROR),
        (START + frames.frame(frames.SETTINGS, 0, 0, b"x"), frames.FRAME_SIZE_ERROR),
        (START + frames.settings({frames.SETTING_WINDOW: 1 << 31}), frames.FLOW_CONTROL_ERROR),
        (START + frames.settings({frames.SETTING_FRAME: 1}), frames.PROTOCOL_ERROR),
        (START + frames.window_update(0, 0), frames.PROTOCOL_ERROR),
        (START + frames.window_update(0, frames.LARGEST_WINDOW), frames.FLOW_CONTROL_ERROR),
        (START + frames.data_head(frames.HEADERS, 0, 1, 1 << 20), frames.FRAME_SIZE_ERROR),
    ],
)
async def test_what_is_no_http2_ends_the_connection_with_the_reason(sent, error):
    client = Client()
    client.feed(sent)
    assert await client.errors() == [error]
    assert client.wire.closed


async def test_floods_are_ended_or_held_back():
    client = Client()
    client.feed(START)
    for number in range(1, 2 * http2._MOST_RESETS + 10, 2):
        client.feed(client.opening(number), frames.reset(number, frames.CANCEL))
    for number in range(2 * http2._MOST_RESETS + 11, 2 * http2._MOST_RESETS + 3000, 2):
        if client.wire.closed:
            break
        client.feed(client.opening(number), frames.reset(number, frames.CANCEL))
    assert await client.errors() == [frames.ENHANCE_YOUR_CALM]
    many = Client()
    many.feed(START)
    for number in range(1, 2 * http2.STREAMS + 3, 2):
        many.feed(many.opening(number, path="/later"))
    resets = [each for each in await many.frames() if each[0] == frames.RST_STREAM]
    assert [int.from_bytes(payload) for _, _, _, payload in resets] == [frames.REFUSED_STREAM]
    many.connection.pause_writing()
    assert many.wire.paused
    many.connection.resume_writing()
    assert not many.wire.paused
    block = Client()
    block.feed(START, block.opening(flags=0))
    for _ in range(5):
        block.feed(frames.frame(frames.CONTINUATION, 0, 1, bytes(60_000)))
    assert await block.errors() == [frames.ENHANCE_YOUR_CALM]


async def test_header_blocks_that_only_refer_to_known_headers_are_remembered():
    client = Client()
    client.feed(START)
    for number in (1, 3, 5):
        client.feed(client.opening(number), data(message(b"x"), number))
    assert len(client.connection._known) == 1
    client.feed(client.opening(7, path="/fails"), data(message(b"x"), 7))
    client.feed(client.opening(9), data(message(b"y"), 9))
    answers = await client.answers()
    assert answers[7][1][b"grpc-status"] == b"5"
    assert answers[9][0] == message(b"y")


async def test_pings_settings_and_requests_that_are_no_grpc():
    client = Client()
    client.feed(START, frames.frame(frames.PING, 0, 0, b"12345678"))
    client.feed(client.opening(content_type="text/html"), frames.frame(frames.PRIORITY, 0, 1, bytes(5)))
    found = await client.frames()
    assert (frames.PING, frames.ACK, 0, b"12345678") in found
    assert (frames.SETTINGS, frames.ACK, 0, b"") in found
    assert (await client.answers())[1][1] == {b":status": b"415"}


async def test_draining_asks_for_a_new_connection_and_closing_says_what_was_read():
    client = Client()
    client.feed(START, client.opening(path="/later"), data(message(b"")))
    await client.frames()
    client.connection.drain()
    client.connection.close_when_idle()
    assert not client.wire.closed
    client.server.later[0].set_result(b"late")
    assert (await client.answers())[1][0] == message(b"late")
    client.connection.close_when_idle()
    last = [int.from_bytes(payload[:4]) for kind, _, _, payload in await client.frames() if kind == frames.GOAWAY]
    assert last == [frames.LARGEST_WINDOW, 1]
    assert client.wire.closed
