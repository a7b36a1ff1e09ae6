"""The queue between events and workers: each key at most once in it, and at most once in work."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from slipway.kit.limits import TokenBucket
from slipway.kit.metrics import Metrics

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A de-duplicating queue for one event loop.

    A key that is added while it is in work is handed out again afterwards, never beside. Keys of low priority come
    `ageing` seconds later than those of their time: they give way and are still never starved. `add_failed` waits
    `base_delay * 2**failures` seconds, at most `max_delay`; beyond a burst of 100, failing keys come ten a second.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        base_delay: float = 0.01,
        max_delay: float = 300.0,
        ageing: float = 30.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._ageing = ageing
        self._bucket = TokenBucket(10.0, 100)
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = itertools.count()
        self._wanted: dict[K, tuple[float, float]] = {}  # the order and the time of the add; in the heap or in work
        self._processing: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._measure(name, metrics or Metrics())

    def __len__(self) -> int:
        """How many keys wait, those of `add_after` not counted."""
        return len(self._wanted.keys() - self._processing.keys())

    def in_work(self) -> int:
        """How many keys are in work."""
        return len(self._processing)

    def add(self, key: K, *, low: bool = False) -> None:
        """Adds a key; one that waits already gets the better of both priorities."""
        now = self._time()
        order = now + (self._ageing if low else 0.0)
        waiting = self._wanted.get(key)
        if waiting is not None and waiting[0] <= order:
            return
        self._wanted[key] = (order, waiting[1] if waiting else now)
        self._adds.inc()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, delay: float) -> None:
        """Adds a key in `delay` seconds; of several such calls the earliest counts. Handing the key out cancels it."""
        if delay <= 0:
            self.add(key)
            return
        when = self._time() + delay
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(when, self._due, key)

    def add_failed(self, key: K) -> float:
        """Adds a key after its back-off; returns the seconds that it waits."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._retries.inc()
        delay = min(self._base_delay * 2.0 ** min(failures, 60), self._max_delay)
        delay = max(delay, self._bucket.reserve(self._time()))
        self.add_after(key, delay)
        return delay

    def failures(self, key: K) -> int:
        """How often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Ends the back-off of a key."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, once there is one; it is in work until `done`. Others get a turn of the loop before it."""
        await asyncio.sleep(0)
        while (key := self._pop()) is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # it was our turn: now it is the next one's
                raise
        return key

    def done(self, key: K) -> None:
        """Ends the work on a key."""
        self._work_time.observe(self._time() - self._processing.pop(key))
        if key in self._wanted:
            self._push(key)

    def close(self) -> None:
        """Cancels the timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _pop(self) -> K | None:
        while self._heap:
            order, _, key = heapq.heappop(self._heap)
            wanted = self._wanted.get(key)
            if wanted is None or wanted[0] != order or key in self._processing:
                continue  # superseded by an add of higher priority
            del self._wanted[key]
            now = self._time()
            self._processing[key] = now
            self._queue_time.observe(now - wanted[1])
            if timer := self._timers.pop(key, None):
                timer.cancel()
            return key
        return None

    def _push(self, key: K) -> None:
        heapq.heappush(self._heap, (self._wanted[key][0], next(self._sequence), key))
        self._wake()

    def _wake(self) -> None:
        """Lets one worker look for a key; one that is gone is passed over."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    def _measure(self, name: str, metrics: Metrics) -> None:
        self._adds = metrics.adds.labels(name, name)
        self._retries = metrics.retries.labels(name, name)
        self._queue_time = metrics.queue_time.labels(name, name)
        self._work_time = metrics.work_time.labels(name, name)
        metrics.depth.labels(name, name).set_function(self.__len__)
        metrics.unfinished.labels(name, name).set_function(lambda: sum(self._in_work()))
        metrics.longest.labels(name, name).set_function(lambda: max(self._in_work(), default=0.0))

    def _in_work(self) -> list[float]:
        now = self._time()
        return [now - since for since in self._processing.values()]
