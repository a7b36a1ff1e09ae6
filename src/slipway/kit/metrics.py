"""What the toolkit counts, under controller-runtime's names, so that its dashboards and alerts work unchanged."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_QUEUE_BUCKETS = tuple(10.0**power for power in range(-8, 4))
_RECONCILE_BUCKETS: tuple[float, ...] = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
)
_RECONCILE_BUCKETS += (1.0, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60)


class Metrics:
    """One set of metrics in one registry; a process has one. A registry of its own has the process's metrics too."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        if registry is None:
            ProcessCollector(registry=self.registry)
        self._queue_families()
        self._controller_families()
        self.leader = self._gauge("leader_election_master_status", "1 while this process leads.", "name")
        self.requests = self._counter("rest_client_requests_total", "Requests by answer.", "code", "method", "host")
        self.cached = self._gauge("slipway_kit_cached_objects", "Objects in a store.", "kind")
        self.relists = self._counter("slipway_kit_relists_total", "Lists after the first one.", "kind")
        self.watch_failures = self._counter(
            "slipway_kit_watch_failures_total", "Lists and watches that failed.", "kind"
        )

    def _queue_families(self) -> None:
        labels = ("name", "controller")
        self.depth = self._gauge("workqueue_depth", "Keys that wait.", *labels)
        self.adds = self._counter("workqueue_adds_total", "Keys added.", *labels)
        self.retries = self._counter("workqueue_retries_total", "Keys added again after a failure.", *labels)
        self.queue_time = self._histogram(
            "workqueue_queue_duration_seconds", "How long keys wait.", _QUEUE_BUCKETS, *labels
        )
        self.work_time = self._histogram(
            "workqueue_work_duration_seconds", "How long keys are worked on.", _QUEUE_BUCKETS, *labels
        )
        self.unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Seconds of work in progress, of all workers.", *labels
        )
        self.longest = self._gauge(
            "workqueue_longest_running_processor_seconds", "Seconds of the oldest work in progress.", *labels
        )

    def _controller_families(self) -> None:
        prefix = "controller_runtime"
        self.reconciles = self._counter(f"{prefix}_reconcile_total", "Reconciles by result.", "controller", "result")
        self.errors = self._counter(f"{prefix}_reconcile_errors_total", "Reconciles that failed.", "controller")
        self.terminal_errors = self._counter(
            f"{prefix}_terminal_reconcile_errors_total", "Reconciles that failed for good.", "controller"
        )
        self.panics = self._counter(
            f"{prefix}_reconcile_panics_total",
            "Reconciles that failed with an error that only a bug explains.",
            "controller",
        )
        self.timeouts = self._counter(
            f"{prefix}_reconcile_timeouts_total", "Reconciles that were cut off.", "controller"
        )
        self.reconcile_time = self._histogram(
            f"{prefix}_reconcile_time_seconds", "How long a reconcile takes.", _RECONCILE_BUCKETS, "controller"
        )
        self.workers = self._gauge(f"{prefix}_max_concurrent_reconciles", "Workers of a controller.", "controller")
        self.active_workers = self._gauge(f"{prefix}_active_workers", "Workers that are busy.", "controller")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
