"""What Prometheus reads on `/metrics`. All names start with `slipway_serving_`; times are in seconds."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# A time stamp beside every counter doubles what is scraped, and nothing here reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_PREFIX = "slipway_serving"


class Metrics:
    """The metrics of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        model = ("model",)
        self.requests = Counter(
            f"{_PREFIX}_requests", "Inference requests answered, by HTTP status.", (*model, "code"), registry=registry
        )
        self.duration = Histogram(
            f"{_PREFIX}_request_duration_seconds",
            "From the first byte of a request read to its answer handed over.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_time = Histogram(
            f"{_PREFIX}_queue_duration_seconds",
            "How long the oldest request of a call waited for the model.",
            model,
            buckets=_SECONDS,
            registry=registry,
        )
        self.compute_time = Histogram(
            f"{_PREFIX}_compute_duration_seconds", "Calls of the model.", model, buckets=_SECONDS, registry=registry
        )
        self.batch_rows = Histogram(
            f"{_PREFIX}_batch_rows", "Rows that one call of the model got.", model, buckets=_ROWS, registry=registry
        )
        self.in_flight = Gauge(
            f"{_PREFIX}_requests_in_flight", "Requests accepted and not answered.", model, registry=registry
        )
        self.queue_depth = Gauge(f"{_PREFIX}_queue_depth", "Requests waiting for the model.", model, registry=registry)
        self.model_ready = Gauge(f"{_PREFIX}_model_ready", "1 when the model answers.", model, registry=registry)
        self.load_time = Gauge(
            f"{_PREFIX}_model_load_seconds", "What loading and warming up took.", model, registry=registry
        )
        self.worker_restarts = Counter(
            f"{_PREFIX}_worker_restarts", "Worker processes started again after their end.", model, registry=registry
        )

    def for_model(self, name: str) -> ModelMetrics:
        return ModelMetrics(self, name)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class ModelMetrics:
    """The metrics of one model, with its label already looked up."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._name = name
        self._requests = metrics.requests
        self._by_code: dict[int, Counter] = {}
        self._duration = metrics.duration.labels(name)
        self._queue_time = metrics.queue_time.labels(name)
        self._compute_time = metrics.compute_time.labels(name)
        self._batch_rows = metrics.batch_rows.labels(name)
        self._in_flight = metrics.in_flight.labels(name)
        self._queue_depth = metrics.queue_depth.labels(name)
        self._ready = metrics.model_ready.labels(name)
        self._load_time = metrics.load_time.labels(name)
        self._worker_restarts = metrics.worker_restarts.labels(name)

    def follow(self, in_flight: Callable[[], int], queue_depth: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Reads the gauges when somebody scrapes, so that requests do not pay for them."""
        self._in_flight.set_function(in_flight)
        self._queue_depth.set_function(queue_depth)
        self._ready.set_function(ready)

    def answered(self, code: int, seconds: float) -> None:
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(self._name, str(code))
        counter.inc()
        self._duration.observe(seconds)

    def computed(self, waited: float, computed: float, rows: int) -> None:
        self._queue_time.observe(waited)
        self._compute_time.observe(computed)
        self._batch_rows.observe(rows)

    def loaded(self, seconds: float) -> None:
        self._load_time.set(seconds)

    def worker_restarted(self) -> None:
        """From any thread."""
        self._worker_restarts.inc()
