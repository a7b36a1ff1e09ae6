"""What gRPC's clients see of limits, deadlines, streams, probes and the end of the server."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_client import FLOWER, SERVICE, flower, request, serve
from hypothesis import given
from hypothesis import strategies as st
from processes import ready

from slipway_serving.codec import v2
from slipway_serving.errors import InvalidInputError
from slipway_serving.grpc import codec, messages
from slipway_serving.signature import Signature

HEALTH = "/grpc.health.v1.Health/"
SERVING, NOT_SERVING, UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
MANY = 1_000_000
GATED = """
import threading

class Model:
    gate = threading.Event()

    def predict(self, inputs):
        self.gate.wait()
        return inputs
"""
YIELDS = "class Model:\n    def predict(self, inputs):\n        yield inputs\n        yield inputs"


def gate_of(model):
    return type(model.runtime._predict.__self__).gate


async def until(condition):
    while not condition():  # noqa: ASYNC110  # the server has no event for it
        await asyncio.sleep(0.005)


def maps_of(process):
    return Path(f"/proc/{process.popen.pid}/maps").read_text()


def final(answer):
    return answer.infer_response.parameters["triton_final_response"].bool_param


# Hostile messages


@pytest.mark.parametrize(
    "field", [b"\x3a\x00", b"\x2a\x00", b"\x32\x00", b"\x78\x00"], ids=["raw", "in", "out", "unknown"]
)
def test_a_message_of_a_million_fields_is_refused_at_once(field):
    started = time.process_time()
    with pytest.raises(InvalidInputError, match="more than 16384"):
        codec.parse(field * MANY)
    assert time.process_time() - started < 1


def test_many_outputs_are_looked_through_once():
    outputs = [{"name": str(index)} for index in range(16_000)]
    message = request(raw=b"12345678")
    for output in outputs:
        message.outputs.add(**output)
    data = message.SerializeToString()
    started = time.process_time()
    assert len(codec.decode(*codec.parse(data), Signature()).outputs) == 16_000
    assert len(v2._outputs({"outputs": outputs}, Signature())[0]) == 16_000
    assert time.process_time() - started < 1


@given(st.binary(max_size=60))
async def test_no_method_blames_the_server_for_bytes(data):
    for name in ("ServerReady", "ModelReady", "ModelMetadata", "RepositoryModelLoad", "ModelInfer"):
        try:
            messages.read(f"{name}Request", data)
        except InvalidInputError as error:
            assert f"not a {name}Request" in str(error)  # noqa: PT017  # it may also be one


async def test_bytes_that_are_no_message_are_the_clients_mistake(iris):
    async with serve(iris) as client:
        for name in ("ServerReady", "ModelReady", "ModelInfer"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.channel.unary_unary(SERVICE + name)(b"\x0a\xff")
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_messages_are_read_up_to_the_limit(iris, compression):
    async with serve(iris) as client:
        assert (await client.call("ModelInfer", flower(), compression=compression)).id == "7"
        bomb = request(shape=(4 << 20,), raw=bytes(16 << 20))
        assert (await client.refused("ModelInfer", bomb, compression=compression))[0] == "RESOURCE_EXHAUSTED"


async def test_a_long_sentence_fits_into_what_clients_read(python_model):
    long = "é" * 5000
    directory = python_model(
        "from slipway_serving import InvalidInputError\n"
        f"class Model:\n    def predict(self, inputs): raise InvalidInputError('{long}')"
    )
    async with serve(directory) as client:
        assert await client.refused("ModelInfer", flower(model="echo")) == ("INVALID_ARGUMENT", "é" * 1000)


@pytest.mark.parametrize("place", ["inputs", "outputs"])
def test_shared_memory_is_refused(place):
    message = request(raw=b"12345678")
    message.outputs.add(name="y")
    getattr(message, place)[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(InvalidInputError, match=rf"{place}\[0\] '.'\.parameters\['shared_memory_region'\]: shared"):
        codec.decode(*codec.parse(message.SerializeToString()), Signature())


# Large tensors


def test_what_is_looked_at_byte_by_byte_counts_whole():
    numbers = request(shape=(4,), raw=bytes(16))
    strings = request(datatype="BYTES", shape=(4,), raw=bytes(16))
    assert codec.reading(numbers, [memoryview(bytes(16))], 10) == 11
    assert codec.reading(strings, [memoryview(bytes(16))], 10) == 26


async def test_large_strings_are_read_and_written_outside_the_loop(python_model):
    async with serve(python_model()) as client:
        raw = b"\x02\x00\x00\x00ab" * 100_000
        message = request(datatype="BYTES", shape=(100_000,), raw=raw)
        message.model_name = "echo"
        assert list((await client.call("ModelInfer", message)).raw_output_contents) == [raw]


# Deadlines and readiness


async def test_a_deadline_takes_a_request_out_of_the_queue(python_model):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        method = client.channel.unary_unary(f"{SERVICE}ModelInfer")
        body = flower(model="echo").SerializeToString()
        first = asyncio.ensure_future(method(body))
        await until(lambda: model.in_flight == 1 and not model.depth)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(body, timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: model.in_flight == 1)
        gate_of(model).set()
        await first
        assert (model.metrics.totals.succeeded, model.metrics.totals.failed) == (1, 1)


async def test_a_model_that_is_not_there_is_not_ready(iris):
    async with serve(iris) as client:
        for name, version in (("no", ""), ("iris", "9")):
            asked = messages.ModelReadyRequest(name=name, version=version)
            assert not (await client.call("ModelReady", asked)).ready


# Streams


async def test_the_last_answer_of_a_stream_says_so(iris):
    async with serve(iris) as client:
        asked = flower()
        asked.parameters["triton_enable_empty_final_response"].bool_param = True
        answers = [answer async for answer in client.stream(iter([flower(), asked]))]
    assert [(final(answer), len(answer.infer_response.outputs)) for answer in answers] == [(True, 2), (True, 2)]


async def test_a_model_that_yields_ends_with_an_empty_answer_for_those_who_ask(python_model):
    async with serve(python_model(YIELDS)) as client:
        asked = flower(model="echo", id="8")
        asked.parameters["triton_enable_empty_final_response"].bool_param = True
        answers = [answer async for answer in client.stream(iter([flower(model="echo"), asked]))]
    found = [(answer.infer_response.id, final(answer), len(answer.infer_response.outputs)) for answer in answers]
    assert [each for each in found if each[0] == "7"] == [("7", False, 1), ("7", False, 1)]
    assert [each for each in found if each[0] == "8"] == [("8", False, 1), ("8", False, 1), ("8", True, 0)]


async def test_a_flag_that_is_none_is_a_mistake(iris):
    async with serve(iris) as client:
        asked = flower()
        asked.parameters["triton_enable_empty_final_response"].string_param = "yes"
        (answer,) = [answer async for answer in client.stream(iter([asked]))]
    assert "must be a bool_param" in answer.error_message


async def test_a_client_that_leaves_a_stream_ends_the_model_s_work(python_model):
    source = """
        import threading

        class Model:
            closed = threading.Event()

            def predict(self, inputs):
                try:
                    while True:
                        yield inputs
                finally:
                    self.closed.set()
    """
    async with serve(python_model(source)) as client:
        model = client.app.repository.find("echo")
        call = client.stream(iter([flower(model="echo")]))
        assert (await call.read()).infer_response.id == "7"
        call.cancel()
        await until(lambda: not model.in_flight)
        assert client.server.in_flight == 0
        closed = type(model.runtime._predict.__self__).closed
        assert await asyncio.to_thread(closed.wait, 20)


# Probes


async def test_a_probe_says_by_the_service_what_it_asks(iris):
    async with serve(iris) as client:
        check = client.channel.unary_unary(f"{HEALTH}Check")
        client.app.draining = True
        assert await check(b"\x0a\x08liveness") == SERVING
        assert await check(b"\x0a\x09readiness") == NOT_SERVING


async def test_watching_a_service_that_is_not_there_goes_on(iris):
    async with serve(iris) as client:
        watch = client.channel.unary_stream(f"{HEALTH}Watch")(b"\x0a\x01x")
        assert await watch.read() == UNKNOWN
        assert not watch.done()


# The end


async def test_streams_that_wait_for_their_client_do_not_hold_up_the_end(iris):
    never = asyncio.Event()

    async def one_and_no_more():
        yield flower()
        await never.wait()

    async with serve(iris) as client:
        watch = client.channel.unary_stream(f"{HEALTH}Watch")(b"")
        assert await watch.read() == SERVING
        stream = client.stream(one_and_no_more())
        assert (await stream.read()).infer_response.id == "7"
        started = time.monotonic()
        assert await client.server.close(30) == 0
        assert time.monotonic() - started < 10
        assert await watch.read() is grpc.aio.EOF
        assert await stream.read() is grpc.aio.EOF


async def test_what_is_in_flight_is_answered_and_nothing_new_is_taken(python_model):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        call = asyncio.ensure_future(client.call("ModelInfer", flower(model="echo")))
        await until(lambda: model.in_flight == 1)
        closing = asyncio.ensure_future(client.server.close(30))
        await asyncio.sleep(0)
        gate_of(model).set()
        assert (await call).raw_output_contents[0] == FLOWER
        assert await closing == 0


async def test_what_is_not_answered_in_time_is_counted(python_model):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        call = asyncio.ensure_future(client.refused("ModelInfer", flower(model="echo")))
        await until(lambda: model.in_flight == 1 and not model.depth)
        assert await client.server.close(0.05) == 1
        assert (await call)[0] in {"CANCELLED", "UNAVAILABLE"}
        gate_of(model).set()
        await until(lambda: model.metrics.totals.calls == 1)  # its thread needs the loop once more


async def test_a_process_can_do_without(iris, start):
    process = start(iris, "--grpc-port", "off")
    async with ready(process) as client:
        assert (await client.get("/v2")).status_code == 200
        libraries = maps_of(process)
    process.popen.terminate()
    code, _, err = process.end()
    assert code == 0
    assert "cygrpc" not in libraries
    assert "gRPC" not in err


async def test_a_taken_port_names_the_option(iris, start):
    first = start(iris)
    async with ready(first):
        (taken,) = re.findall(r"gRPC: [^;]*:(\d+);", first.popen.stdout.readline())
        second = start(iris, "--grpc-port", taken)
        code, _, err = second.end()
    assert code == 1
    assert err.splitlines() == [
        f"slipway-serve: cannot listen on 127.0.0.1 port {taken}: Address already in use",
        "  choose others with --host and --grpc-port",
    ]
