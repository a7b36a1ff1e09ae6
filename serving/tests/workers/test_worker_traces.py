"""What a model traces belongs to the request, in threads and in worker processes."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import INFER, TENSOR, ready, until
from watched import collector, watched
from worker_tools import EMPTY, PATIENCE, only

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
CURRENT_SPAN = """
    from opentelemetry import trace

    def current():
        span = trace.get_current_span().get_span_context()
        return f"{span.trace_id:032x}-{span.span_id:016x}-{span.trace_state.to_header()}"

    class Model:
        inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
        outputs = [{"name": "span", "datatype": "BYTES", "shape": [-1]}]

        ASYNC def predict(self, inputs):
            yield [current()]

        ASYNC def chat_completions(self, request):
            return current()

        ASYNC def completions(self, request):
            yield current()
"""
OWN_SPAN = """
    import time
    from opentelemetry import trace

    tracer = trace.get_tracer("model")

    class Model:
        def predict(self, inputs):
            with tracer.start_as_current_span("own"):
                return inputs

        def __del__(self):
            time.sleep(1)
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def spans(sink):
    requests = [ExportTraceServiceRequest.FromString(received.body) for received in sink.received]
    resources = [spans for request in requests for spans in request.resource_spans]
    return [span for spans in resources for scope in spans.scope_spans for span in scope.spans]


ASKED = {
    "/v2/models/echo/generate_stream": {"x": [1]},
    "/v1/chat/completions": {"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "echo", "prompt": "hi", "stream": True},
}


@pytest.mark.parametrize("execution", ["thread", "process"])
@pytest.mark.parametrize("kind", ["", "async "])
async def test_every_operation_sees_the_span_of_its_request(python_model, execution, kind):
    directory = python_model(CURRENT_SPAN.replace("ASYNC ", kind), f"execution: {execution}")
    with collector() as sink:
        async with watched(directory, otlp_endpoint=sink.url) as client:
            answers = [await client.post(path, json=body, headers=PARENT) for path, body in ASKED.items()]
            once = await client.post("/v2/models/echo/infer", json={"inputs": TENSOR["inputs"]}, headers=PARENT)
    found = {span.name: span for span in spans(sink)}
    for (path, _), answer in zip(ASKED.items(), answers, strict=True):
        request = found[f"POST {path.replace('echo', '{model}')}"]
        assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
        assert f"{TRACE}-{request.span_id.hex()}-vendor=1" in answer.text
    innermost = found.get("predict echo", found["POST /v2/models/{model}/infer"])
    assert once.json()["outputs"][0]["data"] == [f"{TRACE}-{innermost.span_id.hex()}-vendor=1"]


async def test_a_models_own_span_in_a_worker_is_the_child_of_its_call(python_model):
    with collector() as sink:
        async with watched(python_model(OWN_SPAN, "execution: process"), otlp_endpoint=sink.url) as client:
            assert (await client.post(INFER, json=TENSOR, headers=PARENT)).status_code == 200

        async def all_there() -> bool:
            return len(spans(sink)) == 3

        await until(all_there, PATIENCE)  # the worker hands over at its end
    found = {span.name: span for span in spans(sink)}
    request, call, own = (found[name] for name in ("POST /v2/models/{model}/infer", "predict echo", "own"))
    assert call.parent_span_id == request.span_id
    assert (own.trace_id.hex(), own.parent_span_id) == (TRACE, call.span_id)
    assert own.trace_state == "vendor=1"


async def test_a_caller_that_is_not_sampled_has_no_spans_in_a_worker_either(python_model):
    unsampled = {"traceparent": PARENT["traceparent"][:-2] + "00"}
    with collector() as sink:
        async with watched(python_model(OWN_SPAN, "execution: process"), otlp_endpoint=sink.url) as client:
            await client.post(INFER, json=TENSOR, headers=unsampled)
            await client.post(INFER, json=TENSOR, headers=PARENT)

        async def all_there() -> bool:
            return "own" in {span.name for span in spans(sink)}

        await until(all_there, PATIENCE)
    assert sorted(span.name for span in spans(sink)) == ["POST /v2/models/{model}/infer", "own", "predict echo"]


async def test_the_spans_of_a_worker_are_handed_over_before_the_server_ends(python_model, start):
    with collector() as sink:
        process = start(python_model(OWN_SPAN), "--workers", "2", "--otlp-endpoint", sink.url)
        async with ready(process) as client:
            assert (await client.post(INFER, json=TENSOR)).status_code == 200
        process.popen.terminate()
        assert process.end()[0] == 0
        assert {span.name for span in spans(sink)} >= {"own", "predict echo"}


def test_without_traces_a_worker_imports_nothing_for_them(workers):
    runtime = workers("""
        import sys, numpy as np

        class Model:
            def predict(self, inputs):
                return np.array([name.startswith("opentelemetry") for name in sys.modules])
    """)
    assert not any(only(runtime.infer(EMPTY)))
