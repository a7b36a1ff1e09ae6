"""One request from its arrival to its end, as those who watch it see it: the same for HTTP and gRPC."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from slipway_serving.middleware.authentication import Identity

OTHER = "_OTHER"
"""What OpenTelemetry calls a method that the server does not know."""
CLIENT_GONE = 499
"""The status of a request whose client did not wait for its answer, as nginx has it."""
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""The kubelet cannot authenticate."""
GRPC_OPEN_PATHS = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    }
)
"""Health over gRPC."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and, when it has ended, its answer."""

    method: str
    """GET, POST, …"""
    path: str
    """As it was sent, without the query: that may hold secrets. For gRPC `/package.Service/Method`."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """HTTP headers, or gRPC metadata, by lower-case name."""
    peer: str = ""
    started: float = field(default_factory=time.perf_counter)
    """On the clock of `time.perf_counter`."""
    protocol: str = "http"
    """http, or grpc."""
    rpc_method: str = ""
    """`package.Service/Method` of gRPC; _OTHER where there is no such method."""
    body: bytes | bytearray | memoryview = b""
    """Of HTTP."""
    received: int = 0
    """Bytes of the messages that a gRPC call has brought."""
    id: str = ""
    """The request's id; empty where nobody wants one."""
    identity: Identity | None = None
    model: Any = None
    """The ServedModel that answered, where one did."""
    status: int = 0
    """The HTTP status, also for gRPC: the one that the error has over REST."""
    grpc_status: str = ""
    """The gRPC status by name, such as INVALID_ARGUMENT."""
    answer: bytes = b""
    answer_type: bytes = b""
    answer_headers: Mapping[bytes, bytes] = field(default_factory=dict)
    answer_size: int = 0
    seconds: float = 0.0
    trace_id: str = ""
    """In hexadecimal; empty where there is no trace."""
    span_id: str = ""
    traceparent: str = ""
    span: Any = None
    context: Any = None
    """What `opentelemetry.context` has for it."""
    payload: bytes | None = None
    """The body, where the payload log has chosen this request."""

    @property
    def model_name(self) -> str:
        return self.model.name if self.model is not None else ""

    @property
    def model_version(self) -> str:
        return self.model.version if self.model is not None else ""


class Observer(Protocol):
    """Sees every request that was let in, at its start and at its end. Neither method blocks or raises."""

    def begin(self, exchange: Exchange) -> None:
        """The request has arrived."""

    def end(self, exchange: Exchange) -> None:
        """The answer is on its way, or nobody waits for it any more."""

    def close(self, seconds: float) -> None:
        """Hands over what it still holds, in at most so many seconds. May block."""
