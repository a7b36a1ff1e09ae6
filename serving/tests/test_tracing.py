"""Traces, as a collector gets them over OTLP."""

from __future__ import annotations

import asyncio
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from processes import until
from watched import BODY, INFER, collector, counted, until_there, watched

from slipway_serving.errors import ModelLoadError
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.exchange import Exchange
from slipway_serving.middleware.stack import middleware_of
from slipway_serving.middleware.tracing import Tracing, provider, route_of
from slipway_serving.options import Options

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
CURRENT_SPAN = """
    import json, time
    import numpy as np
    from opentelemetry import trace

    class Model:
        inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
        outputs = [{"name": "span", "datatype": "BYTES", "shape": [-1]}]

        %s predict(self, inputs):
            span = trace.get_current_span().get_span_context()
            return {"span": np.array([f"{span.trace_id:032x}-{span.span_id:016x}"] * len(inputs["x"]), dtype=object)}
"""

GATED = CURRENT_SPAN.replace(
    "            span = trace",
    """            while not (self.directory / "go").exists():
                (self.directory / "entered").touch()
                time.sleep(0.005)
            span = trace""",
).replace(
    "        %s predict",
    """        def load(self, directory):
            self.directory = directory

        def predict""",
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def spans(sink) -> list[Span]:
    found = []
    for received in sink.received:
        assert received.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(received.body)
        found += [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    return sorted(found, key=lambda span: span.start_time_unix_nano)


def attributes(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_a_request_is_a_server_span_of_its_callers_trace_and_the_models_call_its_child(python_model):
    with collector() as sink:
        async with watched(python_model(CURRENT_SPAN % "def"), otlp_endpoint=sink.url) as client:
            headers = PARENT | {"x-request-id": "r-1", "user-agent": "test/1"}
            answer = await client.post(f"{INFER}?secret=1", json=BODY, headers=headers)
    request, call = spans(sink)
    assert (request.name, request.kind) == ("POST /v2/models/{model}/infer", Span.SPAN_KIND_SERVER)
    assert (request.trace_id.hex(), request.parent_span_id.hex(), request.trace_state) == (TRACE, CALLER, "vendor=1")
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v2/models/{model}/infer",
        "url.path": "/v2/models/echo/infer",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "user_agent.original": "test/1",
        "slipway.model.name": "echo",
        "slipway.request_id": "r-1",
    }
    assert request.status.code == Status.STATUS_CODE_UNSET
    assert (call.name, call.parent_span_id, call.trace_id) == ("predict echo", request.span_id, request.trace_id)
    assert attributes(call) == {"slipway.batch.requests": 1, "slipway.batch.rows": 1}
    assert request.start_time_unix_nano <= call.start_time_unix_nano
    assert call.end_time_unix_nano <= request.end_time_unix_nano
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    assert answer.json()["outputs"][0]["data"] == [f"{TRACE}-{call.span_id.hex()}"]


async def test_an_asynchronous_model_has_the_requests_span(python_model):
    with collector() as sink:
        async with watched(python_model(CURRENT_SPAN % "async def"), otlp_endpoint=sink.url) as client:
            answer = await client.post(INFER, json=BODY)
    (request,) = spans(sink)
    assert answer.json()["outputs"][0]["data"] == [f"{request.trace_id.hex()}-{request.span_id.hex()}"]


async def are_queued(client, number: int) -> bool:
    text = (await client.get("/metrics")).text
    return counted(text, 'slipway_serving_queue_depth{model="echo",version=""}') == number


async def test_requests_that_share_a_call_each_have_its_span_and_the_models_is_linked_to_the_others(python_model):
    directory = python_model(GATED, "batching: {maxSize: 8}\nwarmUp: false")
    with collector() as sink:
        async with watched(directory, otlp_endpoint=sink.url) as client:
            first = asyncio.create_task(client.post(INFER, json=BODY))
            await until_there(directory / "entered")
            others = [asyncio.create_task(client.post(INFER, json=BODY)) for _ in range(3)]
            await until(lambda: are_queued(client, 3))
            (directory / "go").touch()
            answers = [await task for task in (first, *others)]
    calls = [span for span in spans(sink) if span.name == "predict echo"]
    requests = {span.span_id: span for span in spans(sink) if span.name.startswith("POST")}
    assert {call.parent_span_id for call in calls} == set(requests)
    shared = [call for call in calls if attributes(call)["slipway.batch.requests"] == 3]
    assert [attributes(call)["slipway.batch.rows"] for call in shared] == [3, 3, 3]
    (running,) = [call for call in shared if call.links]
    linked = {link.span_id for link in running.links}
    assert linked == {call.parent_span_id for call in shared if call is not running}
    seen = {answer.json()["outputs"][0]["data"][0] for answer in answers[1:]}
    assert seen == {f"{running.trace_id.hex()}-{running.span_id.hex()}"}


async def test_errors_are_of_the_server_only_where_it_is_at_fault(python_model):
    source = """
        class Model:
            def predict(self, inputs):
                raise KeyError("no")
    """
    with collector() as sink:
        async with watched(python_model(source), otlp_endpoint=sink.url) as client:
            assert (await client.post(INFER, json=BODY)).status_code == 500
            assert (await client.post(INFER, content=b"{")).status_code == 400
            assert (await client.get("/some/secret/place")).status_code == 404
            assert (await client.request("BREW", "/v2")).status_code in (400, 405)
    failed, call, bad, nowhere, *_ = spans(sink)
    assert failed.status.code == call.status.code == Status.STATUS_CODE_ERROR
    assert attributes(failed)["error.type"] == "500"
    assert attributes(call)["error.type"] == "KeyError"
    assert bad.status.code == Status.STATUS_CODE_UNSET
    assert "error.type" not in attributes(bad)
    assert nowhere.name == "GET"
    assert "http.route" not in attributes(nowhere)


@pytest.mark.parametrize(
    ("sampler", "argument", "flag", "expected"),
    [
        ("parentbased_traceidratio", "0", "01", 2),
        ("parentbased_traceidratio", "0", "00", 0),
        ("traceidratio", "0", "01", 0),
        ("always_on", "", "00", 2),
    ],
)
async def test_sampling_follows_the_usual_variables(python_model, monkeypatch, sampler, argument, flag, expected):  # noqa: PLR0917  # one row a case
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with collector() as sink:
        async with watched(python_model(), otlp_endpoint=sink.url) as client:
            answer = await client.post(INFER, json=BODY, headers={"traceparent": f"00-{TRACE}-{CALLER}-{flag}"})
    assert answer.status_code == 200
    assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-")
    assert len(spans(sink)) == expected


async def test_the_access_log_and_the_payload_log_name_the_trace(python_model, tmp_path):
    log = tmp_path / "access.log"
    with collector() as sink, collector() as payloads:
        options = {"otlp_endpoint": sink.url, "access_log_file": log, "payload_log_url": payloads.url}
        async with watched(python_model(), **options) as client:
            await client.post(INFER, json=BODY, headers=PARENT)
    request, _ = spans(sink)
    assert f'"trace_id":"{TRACE}","span_id":"{request.span_id.hex()}"' in log.read_text()
    assert payloads.received[0].headers["ce-traceparent"] == f"00-{TRACE}-{request.span_id.hex()}-01"


async def test_a_collector_that_is_down_fails_no_request_and_is_counted(python_model, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    metrics = Metrics()
    with collector(400) as sink:
        tracing = Tracing(provider(sink.url, metrics.registry))
        exchange = Exchange("GET", "/v2", status=200)
        tracing.begin(exchange)
        tracing.end(exchange)
        await asyncio.to_thread(tracing.close, 5)
    assert counted(metrics.render().decode(), "slipway_serving_trace_spans_lost_total") == 1


@pytest.mark.parametrize(("status", "failed"), [("INVALID_ARGUMENT", False), ("INTERNAL", True), ("OK", False)])
def test_a_span_of_grpc_has_its_own_conventions(status, failed):
    with collector() as sink:
        tracing = Tracing(provider(sink.url, Metrics().registry))
        method = "inference.GRPCInferenceService/ModelInfer"
        exchange = Exchange("POST", f"/{method}", protocol="grpc", rpc_method=method, status=200, grpc_status=status)
        tracing.begin(exchange)
        tracing.end(exchange)
        tracing.close(5)
    (span,) = spans(sink)
    assert span.name == "inference.GRPCInferenceService/ModelInfer"
    found = attributes(span)
    assert (found["rpc.system.name"], found["rpc.method"]) == ("grpc", span.name)
    assert (found["rpc.response.status_code"], span.status.code == Status.STATUS_CODE_ERROR) == (status, failed)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/iris/infer", "/v2/models/{model}/infer"),
        ("/v2/models/iris/versions/3/infer", "/v2/models/{model}/versions/{version}/infer"),
        ("/v1/models/iris:predict", "/v1/models/{model}:predict"),
        ("/v2/repository/models/iris/load", "/v2/repository/models/{model}/load"),
        ("/predict/iris", "/predict/{model}"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/metrics", "/metrics"),
    ],
)
def test_a_route_has_no_name_of_a_model_in_it(path, route):
    assert route_of(path) == route


def test_the_service_is_named_by_the_usual_variables(monkeypatch):
    def named():
        made = provider("http://127.0.0.1:1", Metrics().registry)
        made.shutdown()
        return made.resource.attributes["service.name"]

    assert named() == "slipway-serving"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "iris")
    assert named() == "iris"


def test_traces_without_the_extra_are_a_sentence(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "slipway_serving.middleware.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelLoadError, match="needs the package 'opentelemetry'") as caught:
        middleware_of(Options(tmp_path), Metrics().registry)
    assert caught.value.hint == "install it with: pip install 'slipway-serving[otel]'"
