"""An event loop whose time jumps to the next timer as soon as there is nothing to do."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


ROUNDING = 1e-6  # seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Its time is `now`; `following` tells when the loop's next timer is due."""

    def __init__(self, following: Callable[[], float]) -> None:
        super().__init__()
        self.now = 0.0
        self._following = following

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Every task waits, and there is no timer: nothing can happen any more.")
            self.now = self._reached(self.now + timeout)
        return ready

    def _reached(self, moment: float) -> float:
        """The timer's own time where rounding has missed it: else whoever waits for it would wait again, for ever."""
        return following if moment < (following := self._following()) < moment + ROUNDING else moment


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at second 0. Not for anything that waits for a real socket, process or thread."""

    def __init__(self) -> None:
        self._scheduled: list[asyncio.TimerHandle]
        self._jumping = _JumpingSelector(lambda: self._scheduled[0].when() if self._scheduled else 0.0)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def stall(self, seconds: float) -> None:
        """Time passes in which nothing runs, as in a process that is stopped or starved."""
        self._jumping.now += seconds


def virtual_time(test: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Makes an asynchronous test an ordinary one that runs in a `VirtualTimeLoop` of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run
