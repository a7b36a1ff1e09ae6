"""Keeps a store equal to what the API server has."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from slipway.kit.client import ApiError, Client, Expired, Invalid, NotFound, Unreachable, WatchEvent
from slipway.kit.consistency import newer
from slipway.kit.metrics import Metrics
from slipway.kit.objects import Key, Manifest, key_of
from slipway.kit.store import Store

log = logging.getLogger(__name__)

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
PAGE_SIZE = 500
SHORTEST_WATCH = 1.0  # seconds: one that ends sooner without an event has failed
MOST_FAILURES = 3  # of a watch, until its resource version is given up
WATCH_TIMEOUT = (300.0, 600.0)  # seconds, drawn for each watch so that they do not all end at once (client-go's)
BACKOFF = (0.8, 30.0)  # seconds: first and longest (client-go's)


class Reflector:
    """Lists, then watches, for as long as it runs.

    `inactivity`: seconds of silence after which a watch is taken for dead and opened again; bookmarks come about once a
    minute. `recheck`: seconds between looks for a kind that the API server does not have. `page_size`: objects that are
    asked for at once where the list cannot be streamed.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        inactivity: float = 100.0,
        recheck: float = 30.0,
        page_size: int = PAGE_SIZE,
        metrics: Metrics | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.store = store
        self._client = client
        self._inactivity = inactivity
        self._recheck = recheck
        self._page_size = page_size
        self._jitter = jitter or random.Random()  # noqa: S311  # spreads load, hides nothing
        self._version: str | None = None  # None: list first
        self._streams = True  # whether the next list is a streaming one: the API server may refuse it
        self._failures = 0
        self._active_at = asyncio.get_running_loop().time()
        metrics = metrics or Metrics()
        self._relists = metrics.relists.labels(store.kind.plural)
        self._failed = metrics.watch_failures.labels(store.kind.plural)
        metrics.cached.labels(store.kind.plural).set_function(store.__len__)

    def alive(self) -> bool:
        """Whether it did anything within the time that silence, back-off and slow answers can explain."""
        return asyncio.get_running_loop().time() - self._active_at < 2 * self._inactivity + 60.0

    async def run(self) -> None:
        """Runs until cancelled. Failures of the API server are retried; anything else is a bug, and raised."""
        while True:
            self._active()
            pause = await self._once()
            if pause:
                await asyncio.sleep(pause)

    async def _once(self) -> float:
        """One list or watch; the seconds to wait before the next."""
        try:
            if self._version is None and not self._streams:
                await self._list_pages()
            else:
                await self._watch()
        except Expired:
            self._version = None
            return self._failure("its resource version is gone")
        except NotFound:
            return self._missing()
        except Invalid as error:
            if self._version is None and self._streams:
                self._streams = False
                return 0.0
            return self._failure(error)
        except (ApiError, Unreachable, TimeoutError) as error:
            return self._failure(error or "no answer in time")
        return 0.0

    async def _list_pages(self) -> None:
        try:
            found, version = await self._pages(self._page_size)
        except Expired:  # the pages took longer than the API server keeps their version: one answer cannot expire
            found, version = await self._pages(None)
        self._listed(found, version)

    async def _pages(self, size: int | None) -> tuple[list[Manifest], str]:
        store, found, token = self.store, list[Manifest](), None
        while True:
            async with asyncio.timeout(self._inactivity):
                page = await self._client.list(
                    store.kind, store.namespace, labels=store.labels, limit=size, continue_=token
                )
            self._active()
            found.extend(map(store.project, page.items))
            token = page.continue_
            if not token:
                return found, page.resource_version

    async def _watch(self) -> None:
        started, seen = asyncio.get_running_loop().time(), False
        renewed = started  # when the time-out was last moved: not for each of a thousand events a second
        initial: dict[Key, Manifest] | None = {} if self._version is None else None
        try:
            async with asyncio.timeout(self._inactivity) as silence, aclosing(self._open()) as events:
                async for event in events:
                    seen = True
                    if self._active() > renewed + self._inactivity / 20:
                        renewed = self._active_at
                        silence.reschedule(renewed + self._inactivity)
                    initial = self._take(event, initial)
        except TimeoutError:
            log.debug("The watch of %s was silent for %.0f s", self.store.kind.plural, self._inactivity)
            self._streams = initial is None
            return
        if initial is not None:
            self._streams = False
            raise Unreachable("the streaming list ended early")
        if not seen and asyncio.get_running_loop().time() - started < SHORTEST_WATCH:
            raise Unreachable("the watch ended early")
        self._failures = 0

    def _open(self) -> AsyncGenerator[WatchEvent]:
        return self._client.watch(
            self.store.kind,
            self.store.namespace,
            resource_version=self._version,
            labels=self.store.labels,
            initial_events=self._version is None,
            timeout=self._jitter.uniform(*WATCH_TIMEOUT),
        )

    def _take(self, event: WatchEvent, initial: dict[Key, Manifest] | None) -> dict[Key, Manifest] | None:
        """One event. Until the initial ones are complete they are collected and returned; the store stays as it was."""
        manifest = event.object
        metadata = manifest["metadata"]
        if initial is None:
            self._follow(event)
        elif event.type == "BOOKMARK":
            if (metadata.get("annotations") or {}).get(INITIAL_EVENTS_END) == "true":
                self._listed([*initial.values()], metadata["resourceVersion"])
                return None
        elif event.type == "DELETED":
            initial.pop(key_of(manifest), None)
        else:
            initial[key_of(manifest)] = self.store.project(manifest)
        return initial

    def _follow(self, event: WatchEvent) -> None:
        self._failures = 0
        version = event.object["metadata"]["resourceVersion"]
        if version.isdecimal() and not newer(version, self._version or ""):
            return  # delivered before
        if event.type == "BOOKMARK":
            self.store.reached(version)
        elif event.type == "DELETED":
            self.store.remove(event.object)
        else:
            self.store.put(event.object)
        self._version = version

    def _listed(self, found: list[Manifest], version: str) -> None:
        if self.store.synced.is_set():
            self._relists.inc()
        self.store.replace(found, version)
        self._version = version
        self._streams = True
        self._failures = 0

    def _active(self) -> float:
        self._active_at = asyncio.get_running_loop().time()
        return self._active_at

    def _missing(self) -> float:
        if self.store.available:
            level = logging.INFO if self.store.optional else logging.WARNING
            log.log(level, "The API server has no %s (%s)", self.store.kind.plural, self.store.kind.api_version)
        self.store.missing()
        self._version = None
        return self._recheck * self._jitter.uniform(0.8, 1.2)

    def _failure(self, why: object) -> float:
        self._failures += 1
        self._failed.inc()
        if self._failures >= MOST_FAILURES and not isinstance(why, Unreachable):
            self._version = None  # an API server restored from a backup refuses versions of its future
        first, longest = BACKOFF
        pause = min(first * 2.0 ** min(self._failures - 1, 10), longest) * self._jitter.uniform(0.5, 1.0)
        log.info("The watch of %s failed: %s; again in %.1f s", self.store.kind.plural, why, pause)
        return pause
