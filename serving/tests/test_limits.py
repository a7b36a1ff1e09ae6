"""What no client may do to a server: too much, too deep, too slow, too many at once."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import orjson
import pytest

from slipway_serving.http.messages import Response, error_response
from slipway_serving.http.server import HttpServer

DEEP = 200_000


@pytest.mark.parametrize("path", ["/predict", "/v2/models/echo/infer", "/v2/repository/index"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"inputs":' * DEEP + b"1" + b"}" * DEEP,
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":' + b"[" * 1100 + b"1" + b"]" * 1100 + b"}]}",
        b'{"x":' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
    ],
)
async def test_json_however_deep_is_an_answer_and_the_server_goes_on(python_model, serving, path, body):
    async with serving(python_model()) as client:
        answer = await client.post(path, content=body)
        assert answer.status_code in (200, 400)
        assert (answer.status_code == 400) == ("error" in answer.json())
        assert (await client.get("/v2/health/live")).status_code == 200


async def test_json_beyond_the_depth_is_a_400_with_the_reason(python_model, serving):
    async with serving(python_model()) as client:
        answer = await client.post("/v2/models/echo/infer", content=b"[" * 2000 + b"]" * 2000)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the request body is not valid JSON: depth limit exceeded")


class Instant:
    """Answers everything at once."""

    def handle(self, request):
        return Response(orjson.dumps({"path": request.path}))

    def finish(self, _request, _pending):
        raise AssertionError

    def refuse(self, _request, error):
        return error_response(error)


@asynccontextmanager
async def listening(**limits):
    server = HttpServer(Instant(), **limits)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.listen(listener)
    yield server, listener.getsockname()
    await server.close(0)


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what happens in the server tells nobody
            await asyncio.sleep(0)


async def exchange(address, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    reply = await reader.read()
    writer.close()
    return reply


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * (65 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nx-long: " + b"y" * (65 << 10) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % index for index in range(101)) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (index, b"y" * 1000) for index in range(70)) + b"\r\n",
    ],
)
async def test_a_head_beyond_the_limits_is_a_431_and_the_end_of_the_connection(head):
    async with listening() as (_, address):
        reply = await exchange(address, head)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in reply
    assert b'{"error":"the request' in reply


async def test_what_is_refused_is_answered_once_whatever_else_is_wrong_with_it():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with listening(max_body=10) as (_, address):
        reply = await exchange(address, head + b"14\r\n" + b"x" * 20 + b"\r\nno length\r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.count(b"HTTP/1.1 ") == 1


async def test_a_head_within_the_limits_is_read():
    headers = b"".join(b"x-%d: %s\r\n" % (index, b"y" * 600) for index in range(97))
    async with listening() as (_, address):
        reply = await exchange(address, b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "seconds", "expected"),
    [
        (b"", 61, b""),
        (b"GET / HTT", 61, b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow", 62, b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n", 60 + 11, b"HTTP/1.1 408 "),
    ],
)
async def test_a_slow_client_loses_its_connection_when_its_time_is_over_and_not_before(sent, seconds, expected):
    async with listening(max_body=1 << 20) as (server, address):
        clock = [server.now()]
        server.now = lambda: clock[0]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        await until(lambda: server.connections)
        await until(lambda: not sent or not any(connection.is_idle for connection in server.connections))
        clock[0] += 59
        server.expire()
        (connection,) = server.connections
        assert not connection._closing
        clock[0] += seconds - 59
        server.expire()
        reply = await reader.read()
        writer.close()
    assert reply.startswith(expected)
    assert bool(reply) == bool(expected)


async def test_an_idle_connection_is_kept_for_its_time():
    async with listening(keep_alive=100) as (server, address):
        clock = [server.now()]
        server.now = lambda: clock[0]
        reader, writer = await asyncio.open_connection(*address)
        for wait in (99, 99):
            writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b'"}')).startswith(b"HTTP/1.1 200 ")
            clock[0] += wait
            server.expire()
        clock[0] += 2
        server.expire()
        assert await reader.read() == b""
        writer.close()


GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_connections_beyond_the_limit_hear_of_health_alone_and_those_within_it_go_on():
    async with listening(max_connections=2) as (server, address):
        inside = [await asyncio.open_connection(*address) for _ in range(2)]
        await until(lambda: len(server.connections) == 2)
        reply = await exchange(address, GET % b"/v2/models/m")
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in reply
        assert b"all connections are in use (--max-connections)" in reply
        close = b"Connection: close\r\n\r\n"
        assert (await exchange(address, (GET % b"/v2/health/live")[:-2] + close)).startswith(b"HTTP/1.1 200 ")
        for reader, writer in inside:
            writer.write(GET % b"/x")
            assert (await reader.readuntil(b'"}')).startswith(b"HTTP/1.1 200 ")
        inside[0][1].close()
        await until(lambda: len(server.connections) == 1)
        assert (await exchange(address, (GET % b"/x")[:-2] + close)).startswith(b"HTTP/1.1 200 ")
        inside[1][1].close()


async def test_connections_far_beyond_the_limit_are_dropped():
    async with listening(max_connections=1) as (server, address):
        writers = [(await asyncio.open_connection(*address))[1] for _ in range(65)]
        await until(lambda: len(server.connections) == 65)
        try:
            reply = await exchange(address, GET % b"/v2/health/live")
        except ConnectionResetError:
            reply = b""
        assert reply == b""
        for writer in writers:
            writer.close()
