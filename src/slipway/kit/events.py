"""Events that people read with `kubectl describe`: repeated ones are counted, floods are cut."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from slipway.kit.client import ApiError, Client, NotFound, Unreachable
from slipway.kit.limits import TokenBucket
from slipway.kit.objects import EVENT, Manifest
from slipway.kit.status import timestamp

log = logging.getLogger(__name__)

EventLevel = Literal["Normal", "Warning"]
LONGEST_MESSAGE = 1024  # characters; the API server refuses longer ones
REMEMBERED = 4096  # events and objects; what client-go remembers
COUNTED_FOR = 600.0  # seconds after which the same thing is a new event (client-go's)
RATE, BURST = 1 / 300.0, 25  # events a second of one object, and at once (client-go's)


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class EventRecorder:
    """Writes core/v1 Events as `component`. It never fails a reconcile: what cannot be written is logged."""

    def __init__(
        self, client: Client, component: str = "slipway", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._component = component
        self._now = now
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    async def emit(self, about: Manifest, level: EventLevel, reason: str, message: str) -> None:
        """Records an event of an object; the same one again within ten minutes only raises its count."""
        uid = about["metadata"]["uid"]
        message = message[:LONGEST_MESSAGE]
        now = asyncio.get_running_loop().time()
        if not self._bucket(uid).try_take(now):
            log.debug("Too many events of %s: %s dropped", about["metadata"]["name"], reason)
            return
        place = (uid, level, reason, message)
        try:
            if not await self._count(place, about, now):
                await self._create(place, about, now)
        except (ApiError, Unreachable) as error:
            log.warning("The event %s of %s is not recorded: %s", reason, about["metadata"]["name"], error)

    async def _count(self, place: tuple[str, ...], about: Manifest, now: float) -> bool:
        series = self._series.get(place)
        if series is None or now - series.last > COUNTED_FOR:
            return False
        body = {"count": series.count + 1, "lastTimestamp": timestamp(self._now())}
        try:
            await self._client.patch(EVENT, series.name, _namespace(about), body)
        except NotFound:
            return False
        series.count += 1
        series.last = now
        self._series.move_to_end(place)
        return True

    async def _create(self, place: tuple[str, ...], about: Manifest, now: float) -> None:
        name = f"{about['metadata']['name'][:200]}.{uuid.uuid4().hex[:16]}"
        self._series[place] = _Series(name, 1, now)
        _forget_oldest(self._series)
        await self._client.create(EVENT, self._event(name, place, about))

    def _event(self, name: str, place: tuple[str, ...], about: Manifest) -> Manifest:
        metadata, time = about["metadata"], timestamp(self._now())
        _, level, reason, message = place
        involved = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata}
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": _namespace(about)},
            "involvedObject": {"apiVersion": about["apiVersion"], "kind": about["kind"], **involved},
            "type": level,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }

    def _bucket(self, uid: str) -> TokenBucket:
        bucket = self._buckets.setdefault(uid, TokenBucket(RATE, BURST))
        self._buckets.move_to_end(uid)
        _forget_oldest(self._buckets)
        return bucket


def _namespace(about: Manifest) -> str:
    """Events of cluster-scoped objects live in `default`."""
    return str(about["metadata"].get("namespace") or "default")


def _forget_oldest(known: OrderedDict[Any, Any]) -> None:
    while len(known) > REMEMBERED:
        known.popitem(last=False)
