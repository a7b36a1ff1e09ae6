"""OpenTelemetry traces: a span a request, a child span a call of the model. Needs the extra [otel].

Names follow the semantic conventions for HTTP and RPC spans. The context of a caller comes in as `traceparent` and
`tracestate` (https://www.w3.org/TR/trace-context/), and goes out in the header `traceresponse` of that specification's
draft for answers. How much is sampled, the headers for the collector and the name of the service are set with the
usual variables (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_BSP_…).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter

from slipway_serving import __version__
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import RequestError
from slipway_serving.middleware.exchange import OTHER, Exchange
from slipway_serving.runtimes.base import Inference, Runtime
from slipway_serving.scheduling import Scheduler

_SERVICE = "slipway-serving"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_SERVER_ERROR = 500
_NO_ROUTE = (404, 405)
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_CONTEXT_HEADERS = (b"traceparent", b"tracestate")
_LONGEST = 1024
_ROUTES = (
    (re.compile(r"(?<=^/v[12]/models/)[^/:]+"), "{model}"),
    (re.compile(r"(?<=^/v2/repository/models/)[^/]+"), "{model}"),
    (re.compile(r"(?<=^/predict/)[^/]+"), "{model}"),
    (re.compile(r"(?<=/versions/)[^/]+"), "{version}"),
)


def provider(endpoint: str, registry: CollectorRegistry) -> TracerProvider:
    """Sends spans to a collector: to `endpoint`/v1/traces, else where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    target = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({"service.version": __version__} | ({} if named else {"service.name": _SERVICE}))
    result = TracerProvider(resource=resource, shutdown_on_exit=False)
    result.add_span_processor(BatchSpanProcessor(_Counted(OTLPSpanExporter(target), registry)))
    return result


class _Counted(SpanExporter):
    """Counts the spans that the collector did not take."""

    def __init__(self, exporter: SpanExporter, registry: CollectorRegistry) -> None:
        self._exporter = exporter
        self._failed = Counter(
            "slipway_serving_trace_spans_lost", "Spans that the collector did not take.", registry=registry
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._failed.inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Tracing:
    """The spans of requests; `models` are those of the models' calls."""

    def __init__(self, provider: TracerProvider, collector: str = "") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("slipway_serving", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self.models = ModelTracing(self._tracer, collector)

    def begin(self, exchange: Exchange) -> None:
        carrier = {
            name.decode(): exchange.headers[name].decode("latin-1")
            for name in _CONTEXT_HEADERS
            if name in exchange.headers
        }
        parent = self._propagator.extract(carrier)
        name, attributes = _rpc(exchange) if exchange.protocol == "grpc" else _http(exchange)
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        exchange.span = span
        exchange.context = trace.set_span_in_context(span, parent)
        ids = span.get_span_context()
        exchange.trace_id, exchange.span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
        exchange.traceparent = f"00-{exchange.trace_id}-{exchange.span_id}-{ids.trace_flags:02x}"

    @contextmanager
    def active(self, exchange: Exchange) -> Iterator[None]:
        """What is started meanwhile, tasks and calls of models included, belongs to the request."""
        token = otel_context.attach(exchange.context)
        try:
            yield
        finally:
            otel_context.detach(token)

    def end(self, exchange: Exchange) -> None:
        span = exchange.span
        if span.is_recording():
            failed = exchange.status >= _SERVER_ERROR
            if exchange.protocol == "grpc":
                failed = exchange.grpc_status in _SERVER_FAULTS
                span.set_attribute("rpc.response.status_code", exchange.grpc_status)
            else:
                _set_http_result(span, exchange)
            if failed:
                span.set_attribute("error.type", exchange.grpc_status or str(exchange.status))
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(_found_out(exchange))
        span.end()

    def close(self, seconds: float) -> None:
        self._provider.force_flush(int(seconds * 1000))
        self._provider.shutdown()


def _http(exchange: Exchange) -> tuple[str, dict[str, Any]]:
    known = exchange.method in _METHODS
    attributes = {
        "http.request.method": exchange.method if known else OTHER,
        "url.path": exchange.path[:_LONGEST],
        "url.scheme": "http",
        "client.address": exchange.peer,
        "network.peer.address": exchange.peer,
    }
    if not known:
        attributes["http.request.method_original"] = exchange.method[:_LONGEST]
    agent = exchange.headers.get(b"user-agent")
    if agent is not None:
        attributes["user_agent.original"] = agent.decode("latin-1")[:_LONGEST]
    return (exchange.method if known else "HTTP"), attributes


def _rpc(exchange: Exchange) -> tuple[str, dict[str, Any]]:
    """One span for a call, however many messages it has."""
    method = exchange.rpc_method
    attributes = {"rpc.system.name": "grpc", "rpc.method": method, "client.address": exchange.peer}
    if method == OTHER:
        attributes["rpc.method_original"] = exchange.path.removeprefix("/")[:_LONGEST]
        return "grpc", attributes
    return method, attributes


def _set_http_result(span: trace.Span, exchange: Exchange) -> None:
    span.set_attribute("http.response.status_code", exchange.status)
    if exchange.status not in _NO_ROUTE:
        route = route_of(exchange.path)
        span.set_attribute("http.route", route)
        span.update_name(f"{exchange.method} {route}")


def _found_out(exchange: Exchange) -> Mapping[str, str]:
    found = {
        "slipway.model.name": exchange.model_name,
        "slipway.model.version": exchange.model_version,
        "slipway.request_id": exchange.id,
        "user.name": exchange.identity.name if exchange.identity else "",
    }
    return {name: value for name, value in found.items() if value}


def route_of(path: str) -> str:
    """The path with what differs between models taken out: /v2/models/{model}/infer."""
    for pattern, name in _ROUTES:
        path = pattern.sub(name, path, count=1)
    return path[:_LONGEST]


class ModelTracing:
    """The spans of a model's calls, and the way of a request's context to the thread or process that runs its model."""

    def __init__(self, tracer: trace.Tracer, collector: str) -> None:
        self.collector = collector
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def watch(self, runtime: Runtime, name: str) -> Runtime:
        """The runtime with a span around each call. An asynchronous one needs none: it has its caller's context."""
        return _TracedRuntime(runtime, name, self._tracer)

    def carry(self, scheduler: Scheduler) -> Scheduler:
        """The scheduler with the context of whoever submits in each request."""
        return _CarryingScheduler(scheduler)

    def headers(self) -> dict[str, str]:
        """The current context as `traceparent` and `tracestate`, for a worker process."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier


class _CarryingScheduler:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.close = scheduler.close

    @property
    def depth(self) -> int:
        return self._scheduler.depth

    def submit(self, request: Inference) -> Any:
        return self._scheduler.submit(replace(request, contexts=(otel_context.get_current(),)))


class _TracedRuntime:
    """Each request of a call gets a span of its own for it; the model itself runs in the first one's, linked to all."""

    def __init__(self, runtime: Runtime, name: str, tracer: trace.Tracer) -> None:
        self._runtime = runtime
        self._name = f"predict {name}"
        self._tracer = tracer
        self.signature = runtime.signature
        self.close = runtime.close

    def infer(self, request: Inference) -> Tensors:
        if not request.contexts:
            return self._runtime.infer(request)
        spans = self._start(request)
        token = otel_context.attach(trace.set_span_in_context(spans[0], request.contexts[0]))
        try:
            return self._runtime.infer(replace(request, contexts=()))
        except Exception as error:
            for span in spans:
                span.set_attribute("error.type", type(error).__qualname__)
                if not isinstance(error, RequestError) or error.status >= _SERVER_ERROR:
                    span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            otel_context.detach(token)
            for span in spans:
                span.end()

    def _start(self, request: Inference) -> list[trace.Span]:
        first, *others = request.contexts
        attributes = {"slipway.batch.requests": len(request.contexts), "slipway.batch.rows": _rows(request)}
        links = [trace.Link(trace.get_current_span(context).get_span_context()) for context in others]
        return [
            self._tracer.start_span(self._name, first, attributes=attributes, links=links),
            *(self._tracer.start_span(self._name, context, attributes=attributes) for context in others),
        ]


def _rows(request: Inference) -> int:
    lengths = {array.shape[0] if array.ndim else 1 for array in request.inputs.values()}
    return lengths.pop() if len(lengths) == 1 else 1
