"""The access log and request ids."""

from __future__ import annotations

import asyncio
import threading

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched import BODY, INFER, counted, until_there, watched

from slipway_serving.errors import ModelLoadError
from slipway_serving.http.messages import request_id
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.access_log import AccessLog
from slipway_serving.middleware.background import Background
from slipway_serving.middleware.exchange import Exchange

GATED = """
    import asyncio, pathlib

    class Model:
        def load(self, directory):
            self.directory = directory

        async def predict(self, inputs):
            (self.directory / "entered").touch()
            while True:
                await asyncio.sleep(0.01)
"""


def lines(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_line_a_request_and_no_secret_in_it(python_model, tmp_path):
    log, keys = tmp_path / "access.log", tmp_path / "keys"
    keys.write_text("alice:hunter22")
    async with watched(python_model(settings="version: 3"), access_log_file=log, api_key_file=keys) as client:
        headers = {"authorization": "Bearer hunter22", "x-request-id": "r-1", "user-agent": "test/1"}
        answer = await client.post(f"{INFER}?token=hunter22", json=BODY, headers=headers)
        assert answer.headers["x-request-id"] == "r-1"
        refused = await client.post(INFER, content=b"{", headers={"user-agent": "test/1"})
        assert refused.headers["x-request-id"]
        await client.get("/v2/health/live")
    good, bad = lines(log)
    assert good.pop("timestamp").endswith("+00:00")
    assert 0 < good.pop("duration") < 10
    assert good == {
        "http.request.method": "POST",
        "url.path": "/v2/models/echo/infer",
        "http.response.status_code": 200,
        "client.address": "127.0.0.1",
        "http.request.body.size": int(answer.request.headers["content-length"]),
        "http.response.body.size": len(answer.content),
        "request_id": "r-1",
        "user_agent.original": "test/1",
        "user.name": "alice",
        "slipway.model.name": "echo",
        "slipway.model.version": "3",
    }
    assert (bad["http.response.status_code"], bad["request_id"]) == (401, refused.headers["x-request-id"])
    assert "user.name" not in bad
    assert b"hunter22" not in log.read_bytes()


async def test_what_is_refused_unread_is_logged_too(python_model, tmp_path):
    log = tmp_path / "access.log"
    async with watched(python_model(), access_log_file=log) as client:
        large = await client.post("/predict", content=b" " * (2 << 20), headers={"x-request-id": "big"})
        many = await client.get("/v2", headers=[(f"x-{index}", "y") for index in range(200)])
        missing = await client.get("/no%0awhere")
    assert [line["http.response.status_code"] for line in lines(log)] == [413, 431, 404]
    assert (large.headers["x-request-id"], large.status_code, many.status_code) == ("big", 413, 431)
    assert missing.status_code == 404


async def test_a_client_that_did_not_wait_is_a_499(python_model, tmp_path):
    log = tmp_path / "access.log"
    directory = python_model(GATED)
    async with watched(directory, access_log_file=log) as client:
        call = asyncio.create_task(client.post(INFER, json=BODY))
        await until_there(directory / "entered")
        call.cancel()
        await asyncio.wait([call])
    (line,) = lines(log)
    assert line["http.response.status_code"] == 499
    assert line["slipway.model.name"] == "echo"


async def test_standard_output_gets_it_by_default(python_model, capfdbinary):
    async with watched(python_model(), access_log=True) as client:
        await client.get("/v2")
    (line,) = map(orjson.loads, capfdbinary.readouterr().out.splitlines())
    assert line["url.path"] == "/v2"


async def test_ids_are_echoed_where_nothing_is_switched_on_and_made_only_where_they_were_sent(python_model):
    async with watched(python_model()) as client:
        assert (await client.get("/v2", headers={"x-request-id": "a-b.c:1"})).headers["x-request-id"] == "a-b.c:1"
        assert "x-request-id" not in (await client.get("/v2")).headers
        for bad in ("a b", "x" * 129, "é".encode("latin-1")):
            made = (await client.get("/nowhere", headers={"x-request-id": bad})).headers["x-request-id"]
            assert len(made) == 32


@given(st.binary(max_size=200))
def test_an_id_never_splits_a_header_or_a_line(sent):
    made = request_id(sent)
    assert 0 < len(made) <= 128
    assert made.isascii()
    assert not set(made) & set(b'\r\n\t "\\,;')


def test_a_file_that_was_moved_is_opened_anew(tmp_path):
    path = tmp_path / "access.log"
    log = AccessLog(path, Metrics().registry)
    written = threading.Event()
    write = log._output.write
    log._output.write = lambda data: (write(data), written.set())
    log.end(Exchange("GET", "/first", status=200))
    assert written.wait(10)
    path.rename(tmp_path / "access.log.1")
    log.end(Exchange("GET", "/second", status=200))
    log.close(10)
    assert [line["url.path"] for line in lines(tmp_path / "access.log.1")] == ["/first"]
    assert [line["url.path"] for line in lines(path)] == ["/second"]


def test_a_file_that_cannot_be_opened_is_a_sentence(tmp_path):
    with pytest.raises(ModelLoadError, match="cannot be opened: Is a directory"):
        AccessLog(tmp_path, Metrics().registry)


def test_lines_that_cannot_be_written_are_counted_and_the_next_are_tried(tmp_path):
    metrics = Metrics()
    log = AccessLog(tmp_path / "access.log", metrics.registry)

    def fail(_data):
        raise OSError("disk full")

    log._output.write = fail
    for index in range(5):
        log.end(Exchange("GET", f"/{index}", status=200))
    log.close(10)
    assert counted(metrics.render().decode(), "slipway_serving_access_log_dropped_total") == 5


def test_a_full_queue_drops_and_never_blocks():
    gate, entered, handled = threading.Event(), threading.Event(), []

    def handle(items):
        entered.set()
        gate.wait(30)
        handled.extend(items)

    background = Background("test", handle, capacity=3, batch=1)
    assert background.put(0)
    assert entered.wait(10)
    assert [background.put(index) for index in range(1, 6)] == [True, True, True, False, False]
    gate.set()
    assert background.close(10) == 0
    assert handled == [0, 1, 2, 3]
    assert not background.put(9)


def test_closing_waits_only_so_long_and_says_what_is_lost():
    gate, entered = threading.Event(), threading.Event()
    background = Background("test", lambda _items: (entered.set(), gate.wait(30)), capacity=10, batch=1)
    for index in range(4):
        background.put(index)
    assert entered.wait(10)
    assert background.close(0.01) == 3
    gate.set()


def test_a_handler_that_fails_does_not_end_the_thread(caplog):
    handled = []

    def handle(items):
        handled.extend(items)
        raise KeyError(items[0])

    background = Background("test", handle, capacity=10, batch=1)
    background.put(1)
    background.put(2)
    assert background.close(10) == 0
    assert handled == [1, 2]
    assert "in the thread 'test'" in caplog.text
