"""The logs of a model service: all replicas, across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from slipway.api.names import MODEL_CONTAINER
from slipway.client.connection import Connection
from slipway.client.errors import UnreachableError
from slipway.kit.client import ApiError, Forbidden
from slipway.kit.objects import POD

_INTERVAL = 1.0  # seconds between two looks at the logs that are followed


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one replica; `previous` is a container's that has been restarted since."""

    pod: str
    text: str
    previous: bool = False


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines: `tail` is the number of last ones of each container, None is all."""

    previous: bool = False
    tail: int | None = None


async def logs(client: Connection, name: str, query: LogQuery) -> AsyncGenerator[Line]:
    """What is there now, pod by pod; the last words of a restarted container come first."""
    for pod in await client.pods(name):
        if _restarts(pod):
            for _, text in await _fetch(client, pod, {"tailLines": query.tail, "previous": "true"}):
                yield Line(_name(pod), text, previous=True)
        if not query.previous:
            for _, text in await _fetch(client, pod, {"tailLines": query.tail}):
                yield Line(_name(pod), text)


@dataclass(slots=True)
class _Seen:
    """How far a pod's log has been shown."""

    restarts: int = 0
    stamp: str = ""


async def follow(client: Connection, name: str, query: LogQuery) -> AsyncGenerator[Line]:
    """What is there now and what comes, of pods that come, too, without end. A lost connection loses no line."""
    seen: dict[str, _Seen] = {}
    while True:
        with suppress(UnreachableError):  # the next look shows what this one missed
            for pod in await client.pods(name):
                async for line in _news(client, pod, query, seen.setdefault(pod["metadata"]["uid"], _Seen())):
                    yield line
        await asyncio.sleep(_INTERVAL)


async def _news(client: Connection, pod: dict[str, Any], query: LogQuery, seen: _Seen) -> AsyncGenerator[Line]:
    """The lines of a pod that were not shown yet: the rest of a container that was restarted, then its successor's."""
    wanted: dict[str, Any] = {"sinceTime": seen.stamp} if seen.stamp else {"tailLines": query.tail}
    restarted = _restarts(pod) > seen.restarts
    seen.restarts = _restarts(pod)
    for previous in [True, False] if restarted else [False]:
        extra = {"previous": "true"} if previous else {}
        for stamp, text in await _fetch(client, pod, wanted | extra):
            if stamp > seen.stamp:
                seen.stamp = stamp
                yield Line(_name(pod), text, previous=previous)


async def _fetch(client: Connection, pod: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[str, str]]:
    """Timestamps and lines of one container; none while it has no log, as before its start or after its clean-up."""
    query = {"container": MODEL_CONTAINER, "timestamps": "true"} | {
        key: value for key, value in wanted.items() if value is not None
    }
    path = POD.url(pod["metadata"]["namespace"], _name(pod), "log") + f"?{urlencode(query)}"
    with client.errors():
        try:
            text = (await client.api.raw("GET", path)).decode("utf-8", "replace")
        except Forbidden:
            raise
        except ApiError:
            return []
    # The kubelet ends lines with \n alone: what else ends lines elsewhere, such as a progress bar's \r, is within one.
    stamped = [line.partition(" ") for line in text.split("\n") if line]
    return [(stamp, rest) for stamp, _, rest in stamped]


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _restarts(pod: dict[str, Any]) -> int:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return next((int(status["restartCount"]) for status in statuses if status.get("name") == MODEL_CONTAINER), 0)
