"""The real process with everything switched on, and what it costs where nothing is."""

from __future__ import annotations

import json
import signal

import orjson
from processes import ready
from watched import BODY, INFER, collector

from slipway_serving.http.messages import Request, Response
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.exchange import Exchange
from slipway_serving.middleware.stack import Middleware, middleware_of
from slipway_serving.options import Options


async def test_a_process_hands_over_all_that_it_has_logged_and_traced_before_it_ends(start, python_model, tmp_path):
    (tmp_path / "keys").write_text("alice:hunter22\n")
    config = tmp_path / "server.yaml"
    with collector() as traces, collector() as payloads:
        settings = {
            "apiKeyFile": str(tmp_path / "keys"),
            "metricsWithoutAuth": True,
            "accessLog": True,
            "otlpEndpoint": traces.url,
            "payloadLogUrl": payloads.url,
            "drainWindow": "0s",
        }
        config.write_text(json.dumps(settings))
        process = start(python_model(), "--config", str(config))
        async with ready(process) as client:
            headers = {"authorization": "Bearer hunter22", "x-request-id": "r-1"}
            assert (await client.post(INFER, json=BODY, headers=headers)).status_code == 200
            assert (await client.post(INFER, json=BODY)).status_code == 401
            assert (await client.get("/metrics")).status_code == 200
        process.popen.send_signal(signal.SIGTERM)
        code, out, err = process.end()
    assert code == 0, err
    (announced,) = [line for line in out.splitlines() if line[0] != "{"]
    assert announced.startswith("slipway-serve ")
    logged = [orjson.loads(line) for line in out.splitlines() if line != announced]
    served = [line for line in logged if line["url.path"] != "/v2/health/ready"]
    assert [(line["url.path"], line["http.response.status_code"]) for line in served] == [
        (INFER, 200),
        (INFER, 401),
        ("/metrics", 200),
    ]
    assert served[0]["user.name"] == "alice"
    assert [event.headers["ce-id"] for event in payloads.received] == ["r-1", "r-1"]
    assert served[0]["trace_id"].encode() in b"".join(received.body for received in traces.received).hex().encode()
    assert "hunter22" not in out + err
    assert "Traceback" not in err


def test_a_wrong_file_of_keys_ends_the_start_with_a_sentence(start, python_model, tmp_path):
    (tmp_path / "keys").write_text("")
    code, out, err = start(python_model(), "--api-key-file", str(tmp_path / "keys")).end()
    assert (code, out) == (1, "")
    assert "the file has no keys" in err
    assert "Traceback" not in err


def test_where_nothing_is_switched_on_there_is_nothing_around_the_application(tmp_path, monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert middleware_of(Options(tmp_path), Metrics().registry) is None


class Broken:
    def begin(self, _exchange):
        raise RuntimeError("begin")

    def end(self, _exchange):
        raise RuntimeError("end")

    def close(self, _seconds):
        raise RuntimeError("close")


class Hello:
    def handle(self, _request):
        return Response(b'"hello"')

    def refuse(self, _request, _error):
        raise AssertionError


async def test_a_bug_in_what_watches_fails_no_request(caplog):
    middleware = Middleware(Metrics().registry, observers=[Broken()])
    app = middleware.watch(Hello())
    assert app.handle(Request("GET", b"/x")).body == b'"hello"'
    assert caplog.text.count("a bug of the server, while watching GET /x") == 2
    await middleware.close(5)
    assert "a bug of the server, while closing logs and traces" in caplog.text


async def stream(pieces):
    for piece in pieces:
        yield piece


class Streaming(Hello):
    def handle(self, _request):
        return Response(stream=stream([b"one", b"two"]))


class Recorder:
    def __init__(self):
        self.ended = []

    def begin(self, exchange):
        pass

    def end(self, exchange: Exchange):
        self.ended.append((exchange.status, exchange.answer_size))

    def close(self, seconds):
        pass


async def test_a_streamed_answer_ends_with_its_last_piece_or_with_its_client():
    recorder = Recorder()
    app = Middleware(Metrics().registry, observers=[recorder]).watch(Streaming())
    whole = app.handle(Request("GET", b"/x")).stream
    assert [piece async for piece in whole] == [b"one", b"two"]
    broken = app.handle(Request("GET", b"/x")).stream
    assert await anext(broken) == b"one"
    assert recorder.ended == [(200, 6)]
    await broken.aclose()
    assert recorder.ended == [(200, 6), (499, 3)]


class Unread(Hello):
    """A stream that must be closed although nobody has begun to read it."""

    closed = False

    def handle(self, _request):
        return Response(stream=self)

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise AssertionError("nobody reads it")

    async def aclose(self):
        self.closed = True


async def test_a_stream_that_nobody_begins_to_read_is_closed_and_over():
    recorder, unread = Recorder(), Unread()
    app = Middleware(Metrics().registry, observers=[recorder]).watch(unread)
    await app.handle(Request("GET", b"/x")).stream.aclose()
    assert unread.closed
    assert recorder.ended == [(499, 0)]
