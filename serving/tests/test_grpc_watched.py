"""What operators see of gRPC: access log, request ids, traces; and connections beyond the limit."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import grpc.aio
import pytest
from grpc_client import SERVICE, flower, request, serve
from hpack import Encoder
from test_access_log import lines
from test_http2 import HEADERS, START
from test_tracing import CALLER, PARENT, TRACE, attributes, spans
from watched import collector
from wire import Wire, feed

from slipway_serving.grpc import frames
from slipway_serving.grpc.connection import Connection
from slipway_serving.grpc.server import _SPARE
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.access_log import AccessLog
from slipway_serving.middleware.authentication import Authenticator, parse_keys
from slipway_serving.middleware.files import FollowedFile
from slipway_serving.middleware.payload_log import PayloadLog
from slipway_serving.middleware.tracing import Tracing, provider

INFER, STREAM = f"{SERVICE}ModelInfer", f"{SERVICE}ModelStreamInfer"
HEALTH = "/grpc.health.v1.Health/Check"
WAITS = """
    import asyncio

    class Model:
        async def predict(self, inputs):
            await asyncio.sleep(60)
"""


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.005)


def access_log(path):
    return {"observers": [AccessLog(path, Metrics().registry)]}


def keys(path):
    path.write_text("alice:0123456789abcdef\n")
    return Authenticator(FollowedFile(path, parse_keys), None)


async def answered(call):
    """The bytes of all answers, and the metadata before them."""
    metadata = dict(await call.initial_metadata())
    return [answer async for answer in call], metadata


# Access log


async def test_a_line_a_call_and_no_secret_in_it(iris, tmp_path):
    log = tmp_path / "access.log"
    async with serve(iris, authenticator=keys(tmp_path / "keys"), **access_log(log)) as client:
        metadata = (("x-request-id", "r-1"), ("authorization", "Bearer 0123456789abcdef"))
        body = flower().SerializeToString()
        call = client.channel.unary_unary(INFER)(body, metadata=metadata)
        answer = await call
        assert dict(await call.initial_metadata())["x-request-id"] == "r-1"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.channel.unary_unary(INFER)(body)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        made = dict(caught.value.initial_metadata()) | dict(caught.value.trailing_metadata())
        for name in ("ServerLive", "ServerReady"):
            await client.call(name)
        await client.channel.unary_unary(HEALTH)(b"")
    good, bad = lines(log)
    assert good.pop("timestamp").endswith("+00:00")
    assert 0 < good.pop("duration") < 10
    assert good.pop("user_agent.original").startswith("grpc-python")
    assert good == {
        "rpc.system.name": "grpc",
        "rpc.method": INFER[1:],
        "url.path": INFER,
        "rpc.response.status_code": "OK",
        "client.address": "127.0.0.1",
        "http.request.body.size": len(body),
        "http.response.body.size": len(answer),
        "request_id": "r-1",
        "user.name": "alice",
        "slipway.model.name": "iris",
    }
    assert (bad["rpc.response.status_code"], bad["request_id"]) == ("UNAUTHENTICATED", made["x-request-id"])
    assert "user.name" not in bad
    assert b"0123456789abcdef" not in log.read_bytes()


async def test_a_stream_is_one_line_with_all_its_messages(iris, tmp_path):
    log = tmp_path / "access.log"
    sent = [flower(), flower(model="no"), flower(id="8")]
    async with serve(iris, **access_log(log)) as client:
        answers, metadata = await answered(client.stream(iter(sent), metadata=(("x-request-id", "s-1"),)))
    (line,) = lines(log)
    assert metadata["x-request-id"] == line["request_id"] == "s-1"
    assert (line["url.path"], line["rpc.response.status_code"]) == (STREAM, "OK")
    assert line["http.request.body.size"] == sum(message.ByteSize() for message in sent)
    assert line["http.response.body.size"] == sum(answer.ByteSize() for answer in answers)
    assert line["slipway.model.name"] == "iris"


async def test_whatever_ends_a_call_is_its_status(python_model, tmp_path):
    log = tmp_path / "access.log"
    async with serve(python_model(WAITS, "warmUp: false"), **access_log(log)) as client:
        model = client.app.repository.find("echo")
        infer = client.channel.unary_unary(INFER)
        body = flower(model="echo").SerializeToString()
        await client.refused("ModelInfer", flower(model="no"))
        await client.refused("ModelInfer", request(shape=(3_000_000,), raw=bytes(12_000_000)))
        with pytest.raises(grpc.aio.AioRpcError):
            await client.channel.unary_unary("/inference.Other/Method?key=secret")(b"")
        for call in (lambda: infer(body), lambda: client.stream(iter([flower(model="echo")]))):
            called = call()
            await until(lambda: model.in_flight == 1)
            called.cancel()
            await until(lambda: model.in_flight == 0)
    found = [(line["rpc.method"], line["rpc.response.status_code"]) for line in lines(log)]
    assert found == [
        (INFER[1:], "NOT_FOUND"),
        (INFER[1:], "RESOURCE_EXHAUSTED"),
        ("_OTHER", "UNIMPLEMENTED"),
        (INFER[1:], "CANCELLED"),
        (STREAM[1:], "CANCELLED"),
    ]
    assert lines(log)[2]["url.path"] == "/inference.Other/Method"
    assert b"secret" not in log.read_bytes()


async def test_a_deadline_that_is_over_is_a_status_too(iris, tmp_path):
    log = tmp_path / "access.log"
    async with serve(iris, **access_log(log)) as client:
        connection = Connection(client.server)
        connection.connection_made(Wire())
        headers = dict(HEADERS) | {":path": INFER, "grpc-timeout": "1m"}
        feed(connection, START, frames.frame(frames.HEADERS, frames.END_HEADERS, 1, Encoder().encode(headers.items())))
        await until(lambda: not client.server.in_flight)
        connection.connection_lost(None)
    (line,) = lines(log)
    assert line["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


async def test_the_payload_log_has_nothing_of_grpc(iris):
    with collector() as sink:
        async with serve(iris, observers=[PayloadLog(sink.url, Metrics().registry)]) as client:
            await client.call("ModelInfer", flower())
            await answered(client.stream(iter([flower()])))
    assert not sink.received


async def test_ids_are_echoed_where_nothing_is_switched_on_and_only_where_they_were_sent(iris):
    async with serve(iris) as client:
        body = flower().SerializeToString()
        for sent, echoed in (("a-b.c:1", "a-b.c:1"), (None, None)):
            call = client.channel.unary_unary(INFER)(body, metadata=(("x-request-id", sent),) if sent else ())
            await call
            assert dict(await call.initial_metadata()).get("x-request-id") == echoed
        call = client.channel.unary_unary(INFER)(body, metadata=(("x-request-id", "a b"),))
        await call
        assert len(dict(await call.initial_metadata())["x-request-id"]) == 32
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.channel.unary_unary("/no/method")(b"", metadata=(("x-request-id", "r-2"),))
        seen = dict(caught.value.initial_metadata()) | dict(caught.value.trailing_metadata())
        assert seen["x-request-id"] == "r-2"


# Traces


async def test_a_stream_is_one_span_of_its_callers_trace_with_a_child_for_each_call_of_the_model(iris):
    with collector() as sink:
        async with serve(iris, tracing=Tracing(provider(sink.url, Metrics().registry))) as client:
            sent = [flower(id=str(number)) for number in range(3)]
            metadata = (*PARENT.items(), ("x-request-id", "s-1"))
            _, seen = await answered(client.stream(iter(sent), metadata=metadata))
    stream, *calls = spans(sink)
    assert stream.name == STREAM[1:]
    assert (stream.trace_id.hex(), stream.parent_span_id.hex(), stream.trace_state) == (TRACE, CALLER, "vendor=1")
    assert attributes(stream) == {
        "rpc.system.name": "grpc",
        "rpc.method": STREAM[1:],
        "rpc.response.status_code": "OK",
        "client.address": "127.0.0.1",
        "slipway.model.name": "iris",
        "slipway.request_id": "s-1",
    }
    assert {(call.name, call.parent_span_id) for call in calls} == {("predict iris", stream.span_id)}
    assert len(calls) == 3
    assert seen["traceresponse"] == f"00-{TRACE}-{stream.span_id.hex()}-01"


async def test_a_call_is_a_span_and_a_method_that_is_not_there_names_none(iris):
    with collector() as sink:
        async with serve(iris, tracing=Tracing(provider(sink.url, Metrics().registry))) as client:
            await client.call("ModelInfer", flower(), metadata=tuple(PARENT.items()))
            with pytest.raises(grpc.aio.AioRpcError):
                await client.channel.unary_unary("/a/random-name")(b"")
    infer, call, other = spans(sink)
    assert (infer.name, infer.trace_id.hex(), infer.parent_span_id.hex()) == (INFER[1:], TRACE, CALLER)
    assert (call.name, call.parent_span_id) == ("predict iris", infer.span_id)
    assert other.name == "grpc"
    assert attributes(other)["rpc.method"] == "_OTHER"
    assert attributes(other)["rpc.method_original"] == "a/random-name"
    assert attributes(other)["error.type"] == "UNIMPLEMENTED"


# Connections


def another(client):
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{client.port}", options)


async def test_connections_beyond_the_limit_hear_of_health_alone_and_are_asked_to_come_again(iris):
    body = flower().SerializeToString()
    async with serve(iris, max_connections=1) as client:
        first = another(client)
        await first.unary_unary(INFER)(body)
        async with another(client) as second:
            assert await second.unary_unary(HEALTH)(b"") == b"\x08\x01"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await second.unary_unary(INFER)(body)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "all connections are in use (--max-connections)" in caught.value.details()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await second.stream_stream(STREAM)(iter([body])).read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await first.unary_unary(INFER)(body)
            await first.close()
            await until(lambda: not client.server.connections)
            await second.unary_unary(INFER)(body)
            assert client.server.in_flight == 0


async def test_connections_far_beyond_the_limit_are_dropped(iris):
    async with serve(iris, max_connections=1) as client:
        address = ("127.0.0.1", client.port)
        kept = [await asyncio.open_connection(*address) for _ in range(1 + _SPARE)]
        for reader, _ in kept:
            assert await reader.readexactly(9)
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await until(lambda: len(client.server.connections) == 1 + _SPARE)
        for _, each in (*kept, (reader, writer)):
            each.close()
