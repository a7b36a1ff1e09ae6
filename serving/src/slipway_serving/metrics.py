"""What Prometheus reads on `/metrics`. All names start with `slipway_serving_`; times are in seconds.

Requests are counted in plain lists by the event loop's thread alone, without the locks of prometheus-client's own
metrics, and become its families when somebody scrapes.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# A time stamp beside every counter doubles what is scraped, and nothing here reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_PREFIX = "slipway_serving"
_LABELS = ("model", "version")
_NO_MODEL = ("", "")
_FAILED = 400


class Histogram:
    """Counts by bucket; a value on a bound belongs to it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as the format wants it."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


@dataclass(slots=True)
class Totals:
    """What the statistics extension tells of a model; times in seconds."""

    succeeded: int = 0
    success_seconds: float = 0.0
    failed: int = 0
    failure_seconds: float = 0.0
    calls: int = 0
    rows: int = 0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    last_milliseconds: int = 0
    batches: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Calls and seconds by number of rows."""


class ModelMetrics:
    """The metrics of one version of a model. For the event loop's thread."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.by_code: dict[int, int] = {}
        self.by_cause: dict[str, int] = {}
        self.duration = Histogram(_SECONDS)
        self.queue_time = Histogram(_SECONDS)
        self.compute_time = Histogram(_SECONDS)
        self.batch_rows = Histogram(_ROWS)
        self.load_seconds = 0.0
        self.worker_restarts = 0
        self.in_flight: Callable[[], int] = int
        self.queue_depth: Callable[[], int] = int
        self.ready: Callable[[], bool] = bool

    def follow(self, in_flight: Callable[[], int], queue_depth: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Reads the gauges when somebody scrapes, so that requests do not pay for them."""
        self.in_flight, self.queue_depth, self.ready = in_flight, queue_depth, ready

    def answered(self, code: int, seconds: float, cause: str = "") -> None:
        """An answer went out; `cause` says why it is an error, where it is one."""
        self.by_code[code] = self.by_code.get(code, 0) + 1
        self.duration.observe(seconds)
        totals = self.totals
        if code < _FAILED:
            totals.succeeded += 1
            totals.success_seconds += seconds
        else:
            self.by_cause[cause] = self.by_cause.get(cause, 0) + 1
            totals.failed += 1
            totals.failure_seconds += seconds

    def computed(self, waited: float, computed: float, rows: int) -> None:
        self.queue_time.observe(waited)
        self.compute_time.observe(computed)
        self.batch_rows.observe(rows)
        totals = self.totals
        totals.calls += 1
        totals.rows += rows
        totals.queue_seconds += waited
        totals.compute_seconds += computed
        totals.last_milliseconds = int(time.time() * 1000)
        calls, seconds = totals.batches.get(rows, (0, 0.0))
        totals.batches[rows] = (calls + 1, seconds + computed)

    def worker_restarted(self) -> None:
        self.worker_restarts += 1

    def loaded(self, seconds: float) -> None:
        self.load_seconds = seconds


class Metrics(Collector):
    """The metrics of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._models: dict[tuple[str, str], ModelMetrics] = {}
        self._refused: dict[str, int] = {}
        self.registry.register(self)

    def for_model(self, name: str, version: str = "") -> ModelMetrics:
        """The same for a model that is loaded again: counters never go back."""
        return self._models.setdefault((name, version), ModelMetrics())

    def refused(self, cause: str) -> None:
        """A request got an error before it had a model."""
        self._refused[cause] = self._refused.get(cause, 0) + 1

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        yield self._requests()
        yield self._errors()
        yield self._histogram(
            "request_duration_seconds", "From the first byte of a request read to its answer.", lambda m: m.duration
        )
        yield self._histogram(
            "queue_duration_seconds", "How long the oldest request of a call waited.", lambda m: m.queue_time
        )
        yield self._histogram("compute_duration_seconds", "Calls of the model.", lambda m: m.compute_time)
        yield self._histogram("batch_rows", "Rows that one call of the model got.", lambda m: m.batch_rows)
        yield self._gauge("requests_in_flight", "Requests accepted and not answered.", lambda m: m.in_flight())
        yield self._gauge("queue_depth", "Requests waiting for the model.", lambda m: m.queue_depth())
        yield self._gauge("model_ready", "1 when the model answers.", lambda m: m.ready())
        restarts = CounterMetricFamily(
            f"{_PREFIX}_worker_restarts", "Worker processes that ended and were started again.", labels=_LABELS
        )
        for labels, model in self._labelled():
            restarts.add_metric(labels, model.worker_restarts)
        yield restarts
        yield self._gauge("model_load_seconds", "What loading and warming up took.", lambda m: m.load_seconds)

    def _labelled(self) -> Iterator[tuple[tuple[str, str], ModelMetrics]]:
        return iter(sorted(self._models.items()))

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            f"{_PREFIX}_requests", "Inference requests answered, by HTTP status.", labels=(*_LABELS, "code")
        )
        for labels, model in self._labelled():
            for code, count in sorted(model.by_code.items()):
                family.add_metric((*labels, str(code)), count)
        return family

    def _errors(self) -> Metric:
        family = CounterMetricFamily(
            f"{_PREFIX}_request_errors",
            "Requests answered with an error, by its cause; the model is empty where the request did not get to one.",
            labels=(*_LABELS, "cause"),
        )
        counted = [(_NO_MODEL, self._refused), *((labels, model.by_cause) for labels, model in self._labelled())]
        for labels, by_cause in counted:
            for cause, count in sorted(by_cause.items()):
                family.add_metric((*labels, cause), count)
        return family

    def _histogram(self, name: str, text: str, of: Callable[[ModelMetrics], Histogram]) -> Metric:
        family = HistogramMetricFamily(f"{_PREFIX}_{name}", text, labels=_LABELS)
        for labels, model in self._labelled():
            histogram = of(model)
            family.add_metric(labels, buckets=histogram.buckets(), sum_value=histogram.total)
        return family

    def _gauge(self, name: str, text: str, of: Callable[[ModelMetrics], float]) -> Metric:
        family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=_LABELS)
        for labels, model in self._labelled():
            family.add_metric(labels, of(model))
        return family
