"""Controllers: they turn events of several kinds into keys of one kind, and reconcile each key."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from slipway.kit.client import ApiError, Conflict, NotFound, Unreachable
from slipway.kit.consistency import Writes, track
from slipway.kit.fence import check_fence, fenced
from slipway.kit.lease import LeaseLost
from slipway.kit.metrics import Metrics
from slipway.kit.objects import Key, Kind, Manifest, key_of
from slipway.kit.queue import WorkQueue
from slipway.kit.store import Store
from slipway.kit.tasks import until_first

log = logging.getLogger(__name__)

CACHE_PATIENCE = 10.0  # seconds after a write; a store that has not seen it by then is taken as it is
CACHE_RECHECK = 0.5  # seconds
RECONCILE_TIMEOUT = 300.0  # seconds

RESULTS = ("success", "requeue_after", "error")

MapFunction = Callable[[Manifest], Iterable[Key]]
"""The keys to reconcile when an object has changed."""

Aspect = Callable[[Manifest], object]
"""What of an object matters."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a reconcile; `requeue_after` asks for another one in so many seconds, 0 for at once."""

    requeue_after: float | None = None

    def __post_init__(self) -> None:
        if self.requeue_after is not None and not 0 <= self.requeue_after < math.inf:
            raise ValueError(f"requeue_after is {self.requeue_after}: a number of seconds, or None, is expected.")


class TerminalError(Exception):
    """Trying again would not help: somebody has to change something. The next event of the object tries again."""


class Reconciler(Protocol):
    """Makes the world be what one object says."""

    async def reconcile(self, key: Key) -> Result:
        """Called for one key at a time, never twice at once for the same key, also when the object is gone.

        What it raises is retried with back-off, `TerminalError` excepted.
        """
        ...


class Stores(Protocol):
    """Where a controller gets its stores from: the manager."""

    def store(self, kind: Kind) -> Store:
        """The store of a kind."""
        ...


@dataclass(slots=True)
class _Pending:
    """What the last reconcile of a key wrote, and until when to wait for it."""

    writes: Writes
    until: float


class Controller:
    """Reconciles the objects of `kind` with `workers` workers. `name` is its label in metrics and logs.

    A kind stands for the manager's store of all its objects; give a store that is narrower itself.
    """

    def __init__(
        self, kind: Kind | Store, reconciler: Reconciler, *, workers: int = 4, name: str | None = None
    ) -> None:
        self.kind = kind.kind if isinstance(kind, Store) else kind
        self.name = name or self.kind.kind.lower()
        self.reconciler = reconciler
        self.workers = workers
        self._source = kind
        self._sources: list[tuple[Kind | Store, MapFunction, Aspect | None]] = []
        self._stores: dict[Kind, Store] = {}
        self._main: Store
        self._queue: WorkQueue[Key]
        self._pending: dict[Key, _Pending] = {}

    def owns(self, *kinds: Kind | Store) -> Self:
        """Reconciles the owner when an object of these kinds changes that has it as controller."""
        self._sources.extend((kind, self._owner, None) for kind in kinds)
        return self

    def watches(self, kind: Kind | Store, to: MapFunction, *, aspect: Aspect | None = None) -> Self:
        """Reconciles what `to` gives when an object of `kind` changes; asked with the object before and after.

        With `aspect`, a change matters that changes what it gives, and no other.
        """
        self._sources.append((kind, to, aspect))
        return self

    def bind(self, stores: Stores, metrics: Metrics) -> None:
        """Connects the controller to its stores; called by the manager."""
        self._queue = WorkQueue(self.name, metrics=metrics)
        self._measure(metrics)

        def find(source: Kind | Store) -> Store:
            return source if isinstance(source, Store) else stores.store(source)

        self._main = find(self._source)
        self._bound = [(find(source), to, aspect) for source, to, aspect in self._sources]
        for store in (self._main, *(store for store, _, _ in self._bound)):
            self._stores.setdefault(store.kind, store)

    async def run(self, may_write: Callable[[], bool] = lambda: True) -> None:
        """Works until cancelled. All present objects come first, at low priority.

        `may_write` is asked before each reconcile and each write; when it says no, this ends with `LeaseLost`.
        """
        self._main.subscribe(self._enqueue_own)
        for store, to, aspect in self._bound:
            store.subscribe(self._enqueue(to, aspect))
        for manifest in self._main.list():
            self._queue.add(key_of(manifest), low=True)
        try:
            with fenced(may_write):
                await until_first(*(self._work() for _ in range(self.workers)))
        finally:
            self._queue.close()

    def _enqueue_own(self, old: Manifest | None, new: Manifest | None) -> None:
        self._queue.add(key_of(new or old or {}))

    def _enqueue(self, to: MapFunction, aspect: Aspect | None) -> Callable[[Manifest | None, Manifest | None], None]:
        def handle(old: Manifest | None, new: Manifest | None) -> None:
            if aspect and old is not None and new is not None and aspect(old) == aspect(new):
                return
            before = self._keys(to, old) if old is not None else []
            after = self._keys(to, new) if new is not None else []
            for key in before + [key for key in after if key not in before]:
                self._queue.add(key)

        return handle

    def _keys(self, to: MapFunction, manifest: Manifest) -> list[Key]:
        try:
            return list(to(manifest))
        except Exception:
            log.exception("%s: no keys for %s %s", self.name, manifest.get("kind"), key_of(manifest))
            return []

    def _owner(self, manifest: Manifest) -> list[Key]:
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", "") if self.kind.namespaced else ""
        return [
            Key(namespace, owner["name"])
            for owner in metadata.get("ownerReferences", ())
            if owner.get("controller")
            and owner["kind"] == self.kind.kind
            and _group(owner["apiVersion"]) == self._group
        ]

    @property
    def _group(self) -> str:
        return _group(self.kind.api_version)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                check_fence()
                if self._cache_is_behind(key):
                    self._queue.add_after(key, CACHE_RECHECK)
                else:
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    def _cache_is_behind(self, key: Key) -> bool:
        pending = self._pending.get(key)
        if pending is None:
            return False
        now = asyncio.get_running_loop().time()
        if now < pending.until and any(self._stores[kind].behind(version) for kind, version in pending.writes.items()):
            return True
        del self._pending[key]
        return False

    async def _reconcile(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with track() as writes:
            outcome = await self._outcome(key)
        ended = loop.time()
        self._time.observe(ended - started)
        self._reconciles[outcome].inc()
        seen = {kind: version for kind, version in writes.items() if kind in self._stores}
        if seen:
            self._pending[key] = _Pending(seen, ended + CACHE_PATIENCE)

    async def _outcome(self, key: Key) -> str:
        """One reconcile, and what becomes of the key; the result's name in the metrics."""
        try:
            result = await self._bounded(key)
        except TerminalError as error:
            log.warning("%s %s: %s", self.name, key, error)
            self._terminal_errors.inc()
            self._errors.inc()
            self._queue.forget(key)
            return "error"
        except Exception as error:  # noqa: BLE001  # whatever a reconcile raises concerns its own object only
            self._errors.inc()
            self._log_failure(key, error, self._queue.add_failed(key))
            return "error"
        self._queue.forget(key)
        if result.requeue_after is None:
            return "success"
        self._queue.add_after(key, result.requeue_after)
        return "requeue_after"

    async def _bounded(self, key: Key) -> Result:
        try:
            async with asyncio.timeout(RECONCILE_TIMEOUT) as limit:
                result = await self.reconciler.reconcile(key)
        except TimeoutError:
            if limit.expired():
                self._timeouts.inc()
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("Something that the reconcile waited for was cancelled: CancelledError") from error
        if not isinstance(result, Result):
            raise TypeError(f"reconcile returned {result!r}, not a Result")
        return result

    def _log_failure(self, key: Key, error: Exception, delay: float) -> None:
        if isinstance(error, Conflict | NotFound):  # somebody was faster: an event of it is on its way
            log.debug("%s %s: %s; again in %.2f s", self.name, key, error, delay)
        elif isinstance(error, ApiError | Unreachable | TimeoutError | LeaseLost):
            log.warning("%s %s: %s; again in %.2f s", self.name, key, error or type(error).__name__, delay)
        else:
            self._panics.inc()
            log.error("%s %s failed; again in %.2f s", self.name, key, delay, exc_info=error)

    def _measure(self, metrics: Metrics) -> None:
        metrics.workers.labels(self.name).set(self.workers)
        metrics.active_workers.labels(self.name).set_function(self._queue.in_work)
        self._time = metrics.reconcile_time.labels(self.name)
        self._errors = metrics.errors.labels(self.name)
        self._terminal_errors = metrics.terminal_errors.labels(self.name)
        self._panics = metrics.panics.labels(self.name)
        self._timeouts = metrics.timeouts.labels(self.name)
        self._reconciles = {name: metrics.reconciles.labels(self.name, name) for name in RESULTS}


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
