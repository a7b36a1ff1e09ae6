"""How far a fetch is: one line each five seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TextIO

EVERY = 5.0
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Meter:
    """Counts bytes and says so on a stream. `clock`: seconds, monotonic; `pause` waits."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], pause: Callable[[float], Awaitable[None]]) -> None:
        self._stream, self._clock, self._pause = stream, clock, pause
        self._total = self._done = self._shown = 0
        self._waiting = ""
        self._at = clock()

    def begin(self, total: int) -> None:
        """A new count, to `total` bytes; 0 where nobody knows."""
        self._total, self._done, self._shown, self._at = total, 0, 0, self._clock()

    def add(self, count: int, *, resumed: bool = False) -> None:
        """More bytes are there; those resumed do not count for the rate. Negative when a file starts over."""
        self._done += count
        if resumed or count < 0:
            self._shown = max(0, self._shown + count)

    def wait_for(self, what: str) -> None:
        """What the fetch waits for, said with the next line; empty: nothing."""
        self._waiting = what

    def note(self, text: str) -> None:
        """One line at once."""
        print(f"slipway-fetch: {text}", file=self._stream, flush=True)

    async def run(self) -> None:
        """Says where the fetch is, until cancelled."""
        while True:
            await self._pause(EVERY)
            self.note(self._waiting or self._line())

    @property
    def so_far(self) -> str:
        """For example `1.2 GB of 4.0 GB`."""
        return f"{human(self._done)} of {human(self._total)}" if self._total else human(self._done)

    def _line(self) -> str:
        now = self._clock()
        rate = max(0.0, (self._done - self._shown) / (now - self._at)) if now > self._at else 0.0
        self._shown, self._at = self._done, now
        left = self._total - self._done
        ahead = f", {left / rate:.0f} s left" if rate and left > 0 else ""
        return f"{self.so_far}, {human(rate)}/s{ahead}"


def human(count: float) -> str:
    """Bytes with a decimal unit: `1.2 GB`."""
    for factor, unit in UNITS:
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
