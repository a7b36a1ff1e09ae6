"""A bound on how often something is done."""

from __future__ import annotations

import asyncio


class TokenBucket:
    """Lets `burst` through at once, and `rate` a second over time."""

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._capacity = burst * self._interval
        self._next = float("-inf")  # when the last token taken is there: one number is the whole state

    def reserve(self, now: float) -> float:
        """Takes one token at the time `now` (seconds); returns the seconds to wait until it is there."""
        self._next = self._after(now)
        return max(0.0, self._next - now)

    def try_take(self, now: float) -> bool:
        """Takes one token if there is one at the time `now` (seconds)."""
        following = self._after(now)
        if following > now:
            return False
        self._next = following
        return True

    async def take(self) -> None:
        """Waits until there is a token, and takes it. First come, first served."""
        wait = self.reserve(asyncio.get_running_loop().time())
        if wait:
            await asyncio.sleep(wait)

    def _after(self, now: float) -> float:
        return max(self._next, now - self._capacity) + self._interval
