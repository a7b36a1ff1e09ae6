"""The access log: a JSON object a line for every request. Names are those of OpenTelemetry's semantic conventions.

What a client sends in a query or a body is never in it, nor is a key; health probes that went well are left out.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from prometheus_client import CollectorRegistry, Counter

from slipway_serving.errors import ModelLoadError
from slipway_serving.middleware.background import Background
from slipway_serving.middleware.exchange import GRPC_OPEN_PATHS, OPEN_PATHS, Exchange

_CAPACITY = 10_000
_BATCH = 1000
_LONGEST = 1024
_HEALTH = OPEN_PATHS | GRPC_OPEN_PATHS
_FAILED = 400
Record = dict[str, Any]


class AccessLog:
    """Writes to a file, else to standard output, in a thread of its own; drops lines rather than hold up requests."""

    def __init__(self, path: Path | None, registry: CollectorRegistry) -> None:
        """Raises ModelLoadError where the file cannot be opened."""
        self._dropped = Counter(
            "slipway_serving_access_log_dropped",
            "Lines that the access log lost, because writing was too slow or failed.",
            registry=registry,
        )
        self._output = _Output(path)
        self._background: Background[Record] = Background(
            "access-log", self._write, capacity=_CAPACITY, batch=_BATCH, finish=self._output.close
        )

    def begin(self, exchange: Exchange) -> None:
        pass

    def end(self, exchange: Exchange) -> None:
        if exchange.status < _FAILED and exchange.path.rstrip("/") in _HEALTH:
            return
        if not self._background.put(_record(exchange)):
            self._dropped.inc()

    def _write(self, records: list[Record]) -> None:
        try:
            self._output.write(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records))
        except OSError:
            self._dropped.inc(len(records))

    def close(self, seconds: float) -> None:
        self._dropped.inc(self._background.close(seconds))


def _record(exchange: Exchange) -> Record:
    of_grpc = exchange.protocol == "grpc"
    record: Record = {
        "timestamp": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
        **(_rpc(exchange) if of_grpc else _http(exchange)),
        "duration": round(exchange.seconds, 6),
        "client.address": exchange.peer,
        "http.request.body.size": exchange.received if of_grpc else len(exchange.body),
        "http.response.body.size": exchange.answer_size,
        "request_id": exchange.id,
    }
    optional = {
        "user_agent.original": exchange.headers.get(b"user-agent", b"").decode("latin-1")[:_LONGEST],
        "user.name": exchange.identity.name if exchange.identity else "",
        "slipway.model.name": exchange.model_name,
        "slipway.model.version": exchange.model_version,
        "trace_id": exchange.trace_id,
        "span_id": exchange.span_id,
    }
    record.update((name, value) for name, value in optional.items() if value)
    return record


def _http(exchange: Exchange) -> Record:
    return {
        "http.request.method": exchange.method[:_LONGEST],
        "url.path": exchange.path[:_LONGEST],
        "http.response.status_code": exchange.status,
    }


def _rpc(exchange: Exchange) -> Record:
    return {
        "rpc.system.name": "grpc",
        "rpc.method": exchange.rpc_method,
        "url.path": exchange.path[:_LONGEST],
        "rpc.response.status_code": exchange.grpc_status,
    }


class _Output:
    """A file that is opened anew when somebody has moved it, as log rotation does."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO = sys.stdout.buffer
        if path is not None:
            try:
                self._file = self._open(path)
            except OSError as error:
                raise ModelLoadError(
                    f"the access log {path} cannot be opened: {error.strerror or error}",
                    "give another one with --access-log-file, or leave it out for standard output",
                ) from None

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        return path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        if self._path is not None and not self._is_still_there(self._path):
            self._file.close()
            self._file = self._open(self._path)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._file.flush()

    def close(self) -> None:
        if self._path is not None:
            self._file.close()

    def _is_still_there(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except (OSError, ValueError):
            return False
