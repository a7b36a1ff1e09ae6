"""Errors by cause on /metrics: each counted once, whatever it came over, under its model where it had one."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from grpc_client import flower, request, serve
from processes import until
from watched import BODY, INFER, watched

from slipway_serving import errors
from slipway_serving.apis.inference import CANCELLED, cause_of
from slipway_serving.errors import RequestError, TooManyConnectionsError
from slipway_serving.http.messages import Request
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.authentication import Authenticator, parse_keys
from slipway_serving.middleware.files import FollowedFile

README = Path(__file__).parents[1] / "README.md"
MODEL = """
import slipway_serving

class Model:
    def predict(self, inputs):
        (name,) = inputs
        if name == "boom":
            raise KeyError(name)
        if name == "wrong":
            raise slipway_serving.InvalidInputError("no")
        return {"y": inputs[name] * (float("nan") if name == "nan" else 1)}
"""
GATED = """
import pathlib, time

class Model:
    def predict(self, inputs):
        while not pathlib.Path({path!r}).exists():
            time.sleep(0.005)
        return inputs
"""
STREAMS = "class Model:\n    def predict(self, inputs):\n        yield inputs\n        raise KeyError('x')"
SAMPLE = re.compile(r'slipway_serving_request_errors_total{cause="(\w+)",model="(\w*)",version=""} (\d+)\.0')


def counted(text):
    """How many errors there were by model and cause."""
    return {(model, cause): int(count) for cause, model, count in SAMPLE.findall(text)}


def classes(kind=RequestError):
    return [kind, *(found for child in kind.__subclasses__() for found in classes(child))]


def own(kind):
    return kind.__module__ == errors.__name__


def test_each_error_has_a_word_of_its_own_and_the_readme_has_them_all():
    causes = [kind.cause for kind in classes() if own(kind)] + [CANCELLED]
    assert len(set(causes)) == len(causes)
    assert all(re.fullmatch("[a-z_]+", cause) for cause in causes)
    told = README.read_text().partition("`slipway_serving_request_errors_total{model,version,cause}`")[2]
    assert set(re.findall("`([a-z_]+)`", told.partition("\n\n")[0])) - {"model"} == set(causes)
    assert {kind.cause for kind in classes() if not own(kind)} <= set(causes)


def test_what_is_no_error_of_a_request_is_a_bug_or_a_client_that_went():
    assert cause_of(KeyError("secret")) == "internal"
    assert cause_of(asyncio.CancelledError()) == "cancelled"
    assert cause_of(TooManyConnectionsError("")) == "too_many_connections"


def tensor(name, **keys):
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP32", "data": [1]}], **keys}


async def test_over_http_each_is_counted_once(python_model):
    async with watched(python_model(MODEL)) as client:
        for name, status in (("x", 200), ("boom", 500), ("wrong", 400), ("nan", 422)):
            assert (await client.post(INFER, json=tensor(name))).status_code == status
        await client.post(INFER, content=b"{")
        await client.post("/v2/models/echo/generate", content=b"{")
        await client.post("/v1/models/echo:explain", json={})
        await client.post("/v2/models/nope/infer", json=tensor("x"))
        await client.post("/v1/chat/completions", json={"model": "nope", "messages": [{"role": "user", "content": ""}]})
        await client.post("/v1/chat/completions", json={"model": "echo", "messages": [{"role": "user", "content": ""}]})
        await client.post("/v2/health/live")
        await client.post(INFER, content=b"x", headers={"content-encoding": "br"})
        await client.post(INFER, content=bytes(2 << 20))
        await client.get("/v2/models/echo", headers={"x": "y" * (65 << 10)})
        text = (await client.get("/metrics")).text
    assert counted(text) == {
        ("echo", "model_failed"): 1,
        ("echo", "invalid_input"): 4,
        ("echo", "not_representable"): 1,
        ("echo", "not_offered"): 1,
        ("", "not_found"): 2,
        ("", "method_not_allowed"): 1,
        ("", "unsupported_encoding"): 1,
        ("", "body_too_large"): 1,
        ("", "headers_too_large"): 1,
    }
    assert text.count("\nslipway_serving_request_errors_total{") == 9


@pytest.mark.parametrize("log", [{}, {"access_log_file": "log"}])
async def test_those_without_a_key_are_counted_with_and_without_a_log(python_model, tmp_path, log):
    (tmp_path / "keys").write_text("alice:s3cret\n")
    options = {name: tmp_path / value for name, value in log.items()}
    async with watched(python_model(), api_key_file=tmp_path / "keys", metrics_without_auth=True, **options) as client:
        for headers in ({}, {"x-api-key": "guess"}, {"x-api-key": "s3cret"}):
            await client.post(INFER, json=BODY, headers=headers)
        text = (await client.get("/metrics")).text
    assert counted(text) == {("", "unauthenticated"): 2}
    assert "slipway_serving_requests_unauthorized_total 2.0" in text


async def scraped(client, condition):
    """The text of /metrics, once it is as it should be."""
    text = ""

    async def there():
        nonlocal text
        text = (await client.get("/metrics")).text
        return condition(text)

    await until(there)
    return text


@asynccontextmanager
async def busy(python_model, tmp_path, settings):
    """A server whose model computes until the end of the block."""
    gate = tmp_path / "gate"
    async with watched(python_model(GATED.format(path=str(gate)), f"warmUp: false\n{settings}")) as client:
        running = asyncio.create_task(client.post(INFER, json=tensor("x")))
        await scraped(client, lambda text: 'in_flight{model="echo",version=""} 1.0' in text)
        try:
            yield client
        finally:
            gate.touch()
            assert (await running).status_code == 200


async def test_a_request_that_waited_too_long(python_model, tmp_path):
    async with busy(python_model, tmp_path, "") as client:
        late = await client.post(INFER, json=tensor("x", parameters={"timeout": 1000}))
        assert late.status_code == 504
        text = (await client.get("/metrics")).text
    assert counted(text) == {("echo", "deadline_exceeded"): 1}


async def test_a_full_queue_and_a_client_that_goes(python_model, tmp_path):
    async with busy(python_model, tmp_path, "batching: {queueSize: 1}") as client:
        gone = asyncio.create_task(client.post(INFER, json=tensor("x")))
        await scraped(client, lambda text: 'depth{model="echo",version=""} 1.0' in text)
        assert (await client.post(INFER, json=tensor("x"))).status_code == 429
        gone.cancel()
        text = await scraped(client, lambda text: len(counted(text)) > 1)
    assert counted(text) == {("echo", "queue_full"): 1, ("echo", "cancelled"): 1}


async def test_a_stream_that_fails_in_the_middle_is_counted(python_model):
    async with watched(python_model(STREAMS, "warmUp: false")) as client:
        answer = await client.post("/v2/models/echo/generate_stream", json={"x": 1})
        assert answer.status_code == 200
        text = (await client.get("/metrics")).text
    assert counted(text) == {("echo", "model_failed"): 1}


async def test_what_a_probe_hears_while_models_load_is_no_error(iris):
    async with serve(iris) as client:
        client.app.draining = True
        for method in ("GET", "HEAD"):
            for path in ("/v2/health/ready", "/v2/models/iris/ready"):
                assert client.app.handle(app_request(method, path)).status == 503
        assert client.app.handle(app_request("GET", "/v2/models/nope/ready")).status == 404
        assert counted(scrape(client)) == {("", "not_found"): 1}


def app_request(method, path):
    return Request(method, path.encode())


def scrape(client):
    return client.app.handle(app_request("GET", "/metrics")).body.decode()


async def test_over_grpc_each_is_counted_once(iris, tmp_path):
    (tmp_path / "keys").write_text("alice:s3cret\n")
    authenticator = Authenticator(FollowedFile(tmp_path / "keys", parse_keys))
    for guard in ({}, {"authenticator": authenticator}):
        metadata = (("authorization", "Bearer s3cret"),)
        async with serve(iris, **guard) as client:
            await client.call("ModelInfer", flower(), metadata=metadata)
            wrong = request(shape=(1, 3), raw=bytes(12))
            wrong.model_name = "iris"
            for message in (wrong, flower(model="nope")):
                await client.refused("ModelInfer", message, metadata=metadata)
            broken = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.aio.AioRpcError):
                await broken(b"\xff", timeout=30, metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError):
                await broken(bytes(9 << 20), timeout=30, metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError):
                await client.channel.unary_unary("/no.Service/Method")(b"", timeout=30, metadata=metadata)
            answers = client.stream(iter([wrong, flower(model="nope"), flower()]), metadata=metadata)
            assert [bool(answer.error_message) async for answer in answers] == [True, True, False]
            if guard:
                await client.refused("ModelInfer", flower())
            assert counted(scrape(client)) == {
                ("iris", "invalid_input"): 2,
                ("", "not_found"): 2,
                ("", "invalid_input"): 1,
                ("", "body_too_large"): 1,
                ("", "not_offered"): 1,
            } | ({("", "unauthenticated"): 1} if guard else {})


def test_the_family_has_the_name_and_labels_of_a_counter():
    metrics = Metrics()
    metrics.refused("not_found")
    metrics.for_model("m", "1").answered(400, 0.1, "invalid_input")
    metrics.for_model("m", "1").answered(200, 0.1)
    text = metrics.render().decode()
    assert "# TYPE slipway_serving_request_errors_total counter" in text
    assert 'slipway_serving_request_errors_total{cause="not_found",model="",version=""} 1.0' in text
    assert 'slipway_serving_request_errors_total{cause="invalid_input",model="m",version="1"} 1.0' in text
    assert text.count("request_errors_total{") == 2
