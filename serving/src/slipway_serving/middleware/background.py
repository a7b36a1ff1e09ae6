"""Work that must never hold up a request: a bounded queue, and a thread that empties it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("slipway_serving")
T = TypeVar("T")
_LINGER_SECONDS = 0.05
"""Items that come close together share one wake-up: the thread and the event loop need the same interpreter's lock."""


class Background(Generic[T]):
    """Hands items to `handle`, at most `batch` at a time, in a thread of its own, whose last act is `finish`."""

    def __init__(
        self,
        name: str,
        handle: Callable[[list[T]], None],
        *,
        capacity: int,
        batch: int,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._handle = handle
        self._finish = finish
        self._capacity = capacity
        self._batch = batch
        self._items: deque[T] = deque()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Never blocks; False where the queue is full, or closed, and the item is dropped."""
        if len(self._items) >= self._capacity or self._closing.is_set():
            return False
        self._items.append(item)
        if not self._wanted.is_set():
            self._wanted.set()
        return True

    def close(self, seconds: float) -> int:
        """Takes no more items, waits at most so long for those that it has; returns how many are lost."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(max(0.0, seconds))
        lost = len(self._items)
        self._items.clear()
        return lost

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._closing.wait(_LINGER_SECONDS)
            self._wanted.clear()
            while items := self._take():
                try:
                    self._handle(items)
                except Exception:
                    log.exception("a bug of the server, in the thread '%s'", self._thread.name)
            if self._closing.is_set() and not self._items:
                self._finish()
                return

    def _take(self) -> list[T]:
        items: list[T] = []
        while len(items) < self._batch:
            try:
                items.append(self._items.popleft())
            except IndexError:
                break
        return items
