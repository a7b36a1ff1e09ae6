"""The payload log: requests and answers of models, sent as CloudEvents to whoever looks for drift or keeps records.

Types of events and the attributes `inferenceservicename`, `component` and `endpoint` are those of KServe's logger, so
that what reads that reads this too. Both events of a request have its id.
"""

from __future__ import annotations

import enum
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter

from slipway_serving.middleware.background import Background
from slipway_serving.middleware.events import Event, Sink, SinkError
from slipway_serving.middleware.exchange import Exchange

log = logging.getLogger("slipway_serving")

REQUEST_TYPE = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE = "org.kubeflow.serving.inference.response"
_CAPACITY = 1000
_CAPACITY_BYTES = 64 << 20
_COMPLAIN_SECONDS = 60.0
_OK = 200
_LENGTH, _ENCODING, _TYPE = b"inference-header-content-length", b"content-encoding", b"content-type"


class Result(enum.Enum):
    """What became of an event."""

    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"
    TOO_LARGE = "too_large"


class PayloadLog:
    """Chooses requests at random, and sends their payloads in a thread of its own.

    Args:
        url: The sink, http or https.
        sample: Which share of the requests is logged, from 0 to 1.
        mode: `all`, or only `request` or `response`. Only answers with status 200 are logged.
        max_size: Bytes of the largest payload; larger ones are counted and not sent, half a document is of no use.

    """

    def __init__(
        self,
        url: str,
        registry: CollectorRegistry,
        *,
        sample: float = 1.0,
        mode: str = "all",
        max_size: int = 1 << 20,
        choose: Callable[[], float] = random.random,
    ) -> None:
        self._sink = Sink(url)
        self._sample = sample
        self._mode = mode
        self._max_size = max_size
        self._choose = choose
        self._source = f"//{socket.gethostname()}/v2/models/"
        self._lock = threading.Lock()
        self._bytes = 0
        self._next_complaint = 0.0
        self._events = Counter(
            "slipway_serving_payload_log_events", "Payloads to be logged, by result.", ("result",), registry=registry
        )
        for result in Result:
            self._events.labels(result.value)
        self._background: Background[Event] = Background(
            "payload-log", self._send, capacity=_CAPACITY, batch=1, finish=self._sink.close
        )

    # On the event loop

    def begin(self, exchange: Exchange) -> None:
        if exchange.method == "POST" and self._choose() < self._sample:
            # Copied, because a model may write into the arrays that lie in this memory.
            exchange.payload = bytes(exchange.body) if len(exchange.body) <= self._max_size else b""

    def end(self, exchange: Exchange) -> None:
        if exchange.payload is None or exchange.model is None or not exchange.body:
            return
        if self._mode != "response":
            headers = {name: exchange.headers[name] for name in (_LENGTH, _ENCODING) if name in exchange.headers}
            kind = exchange.headers.get(
                _TYPE, b"application/octet-stream" if _LENGTH in headers else b"application/json"
            )
            self._queue(exchange, REQUEST_TYPE, len(exchange.body), exchange.payload, kind, headers)
        if self._mode != "request" and exchange.status == _OK and exchange.answer:
            headers = {name: value for name, value in exchange.answer_headers.items() if name in (_LENGTH, _ENCODING)}
            self._queue(exchange, RESPONSE_TYPE, len(exchange.answer), exchange.answer, exchange.answer_type, headers)

    def _queue(  # noqa: PLR0917  # all of it is what an event is made of
        self, exchange: Exchange, type_: str, size: int, data: bytes, kind: bytes, headers: Mapping[bytes, bytes]
    ) -> None:
        if size > self._max_size:
            self._count(Result.TOO_LARGE)
            return
        attributes = {
            "id": exchange.id,
            "type": type_,
            "source": self._source + exchange.model_name,
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "inferenceservicename": exchange.model_name,
            "modelversion": exchange.model_version,
            "component": "predictor",
            "endpoint": "default",
            "traceparent": exchange.traceparent,
        }
        event = Event(attributes, _text(kind), data, {_text(name): _text(value) for name, value in headers.items()})
        with self._lock:
            fits = self._bytes + size <= _CAPACITY_BYTES
            self._bytes += size if fits else 0
        if not fits or not self._background.put(event):
            self._release(size if fits else 0)
            self._count(Result.DROPPED)

    def _count(self, result: Result, number: int = 1) -> None:
        self._events.labels(result.value).inc(number)

    def _release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    # In the thread

    def _send(self, events: list[Event]) -> None:
        for event in events:
            try:
                self._sink.send(event)
            except SinkError as error:
                self._count(Result.FAILED)
                self._complain(error)
            else:
                self._count(Result.SENT)
            finally:
                self._release(len(event.data))

    def _complain(self, error: SinkError) -> None:
        now = time.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + _COMPLAIN_SECONDS
            log.warning("a payload could not be logged (this is said once a minute at most): %s", error)

    def close(self, seconds: float) -> None:
        lost = self._background.close(seconds)
        if lost:
            self._count(Result.DROPPED, lost)
            log.warning("%d payloads were not logged: the sink did not take them in time", lost)


def _text(value: bytes) -> str:
    """As a header: what came in as one has no line ends."""
    return value.decode("latin-1")
