"""The real process: loading, signals, exit status, hostile sockets."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest
from processes import INFER, TENSOR, in_flight, is_status, ready, status, until

GATED = """
    import pathlib, time

    class Model:
        def load(self, directory):
            self.directory = directory
            self.wait("load")

        def wait(self, name):
            while not (self.directory / name).exists():
                time.sleep(0.002)

        def predict(self, inputs):
            self.wait("predict")
            return inputs
"""
BAD_EXAMPLE = """
    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [1], "example": [1]}]

        def predict(self, inputs):
            raise ValueError("always")
"""


async def test_alive_while_loading_ready_only_afterwards(start, python_model):
    directory = python_model(GATED)
    process = start(directory, "--drain-window", "0")
    async with process.client() as client:
        await until(lambda: is_status(client, "/v2/health/live", 200))
        assert await status(client, "/v2/health/ready") == 503
        answer = await client.post(INFER, json=TENSOR)
        assert (answer.status_code, answer.json()) == (503, {"error": "model 'echo' is loading"})
        (directory / "load").touch()
        await until(lambda: is_status(client, "/v2/health/ready", 200))
    process.popen.send_signal(signal.SIGTERM)
    code, out, _ = process.end()
    assert code == 0
    assert out.count("\n") == 1
    assert "model 'echo' (python) loaded in" in out
    assert f"http://127.0.0.1:{process.port}/v2/models/echo" in out


async def test_sigterm_answers_all_in_flight_and_who_still_comes(start, python_model):
    directory = python_model(GATED, "instances: 4")
    (directory / "load").touch()
    process = start(directory, "--drain-window", "2s")
    async with ready(process) as client:
        flying = [asyncio.create_task(client.post(INFER, json=TENSOR | {"id": str(index)})) for index in range(16)]

        async def all_arrived():
            return await in_flight(client) == 16

        await until(all_arrived)
        process.popen.send_signal(signal.SIGTERM)
        await until(lambda: is_status(client, "/v2/health/ready", 503))
        assert await status(client, "/v2/health/live") == 200
        late = asyncio.create_task(client.post(INFER, json=TENSOR | {"id": "late"}))
        (directory / "predict").touch()
        answers = await asyncio.gather(*flying, late)
    code, _, err = process.end()
    assert [answer.status_code for answer in answers] == [200] * 17
    assert {answer.json()["id"] for answer in answers} == {"late", *map(str, range(16))}
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert code == 0
    assert "Traceback" not in err


async def test_what_runs_longer_than_the_window_is_still_answered(start, python_model):
    directory = python_model(GATED)
    (directory / "load").touch()
    process = start(directory, "--drain-window", "0")
    async with ready(process) as client:
        flying = asyncio.create_task(client.post(INFER, json=TENSOR))

        async def arrived():
            return await in_flight(client) == 1

        await until(arrived)
        process.popen.send_signal(signal.SIGTERM)

        async def refused():
            async with process.client() as other:
                return await is_status(other, "/v2/health/live", 0)

        await until(refused)
        (directory / "predict").touch()
        assert (await flying).status_code == 200
    assert process.end()[0] == 0


@pytest.mark.parametrize("how", ["second signal", "deadline"])
async def test_a_second_signal_or_the_deadline_ends_a_model_that_hangs(start, python_model, how):
    directory = python_model(GATED)
    (directory / "load").touch()
    process = start(directory, "--drain-window", "0", "--drain-timeout", "1s" if how == "deadline" else "1h")
    async with ready(process) as client:
        flying = asyncio.create_task(client.post(INFER, json=TENSOR))

        async def arrived():
            return await in_flight(client) == 1

        await until(arrived)
        process.popen.send_signal(signal.SIGTERM)
        if how == "second signal":
            await until(lambda: is_status(client, "/v2/health/ready", 0))
            process.popen.send_signal(signal.SIGTERM)
        code, _, err = await asyncio.to_thread(process.end)
        await asyncio.gather(flying, return_exceptions=True)
    assert code == 1
    assert "1 requests unanswered" in err


async def test_sigterm_while_loading_ends_at_once(start, python_model):
    process = start(python_model(GATED))
    async with process.client() as client:
        await until(lambda: is_status(client, "/v2/health/live", 200))
    process.popen.send_signal(signal.SIGTERM)
    assert process.end()[0] == 0


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("class Model:\n    def load(self): 1 / 0\n    def predict(self, inputs): ...", "", "raised ZeroDivisionError"),
        ("class Model:\n    def predict(self, inputs): ...", "batching: {maxSize: 4}", "cannot batch"),
        (
            "class Model:\n    def predict(self, inputs): ...",
            "bathing: 1",
            "unknown key 'bathing'; did you mean 'batching'?",
        ),
        (
            BAD_EXAMPLE,
            "",
            "the model failed on its own example: ValueError: always",
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_a_sentence_and_status_1(start, python_model, source, settings, message):
    code, out, err = start(python_model(source, settings)).end()
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 5


def test_a_missing_path_and_a_taken_port_are_sentences(start, iris, tmp_path):
    code, _, err = start(tmp_path / "nothing").end()
    assert code == 1
    assert "does not exist" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = start(iris, "--http-port", str(taken.getsockname()[1])).end()
    assert code == 1
    assert "cannot listen on 127.0.0.1 port" in err
    assert "--http-port" in err


async def test_what_is_no_http_is_answered_in_json_and_the_server_goes_on(start, iris):
    process = start(iris, "--drain-window", "0")
    async with ready(process) as client:
        for garbage in (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x00", b"GET / HTTP/1.1\r\nbroken header\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(garbage)
            reply = await reader.read()
            assert reply.startswith(b"HTTP/1.1 400 ")
            assert reply.endswith(b'{"error":"Invalid HTTP request received."}')
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()
        assert (await client.get("/predict")).json()["response"]["outputs"]["label"] == ["setosa"]
    process.popen.send_signal(signal.SIGTERM)
    code, _, err = process.end()
    assert code == 0
    assert "Traceback" not in err


async def test_an_offer_to_upgrade_is_declined_and_the_body_is_not_lost(start, iris):
    process = start(iris, "--drain-window", "0")
    body = b'{"x": [[5.1, 3.5, 1.4, 0.2]]}'
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    head += b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with ready(process):
        for pieces in ([head + body], [head, body], [head + body[:5], body[5:]]):
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            reply = await reader.readuntil(b"}}")
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert b"setosa" in reply
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
