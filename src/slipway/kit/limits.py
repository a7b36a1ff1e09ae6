"""A bound on how often something is done."""

from __future__ import annotations

import asyncio


class TokenBucket:
    """Lets `burst` through at once, and `rate` a second over time."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._next = float("-inf")  # when the bucket would be full, less `burst` tokens: one number is the whole state

    def reserve(self, now: float) -> float:
        """Takes one token at the time `now` (seconds); returns the seconds to wait until it is there."""
        self._next = max(self._next, now - self._burst / self._rate) + 1 / self._rate
        return max(0.0, self._next - now)

    async def take(self) -> None:
        """Waits until there is a token, and takes it. First come, first served."""
        wait = self.reserve(asyncio.get_running_loop().time())
        if wait:
            await asyncio.sleep(wait)
