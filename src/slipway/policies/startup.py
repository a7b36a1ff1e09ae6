"""How long a replica may take to start, and how the kubelet asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.api.duration import parse_duration

LEAST_SECONDS: Final = 600
MOST_SECONDS: Final = 7200
_FACTOR: Final = 5  # a cold node and a slow disk against the last measurement
_MOST_FAILURES: Final = 600


@dataclass(frozen=True, slots=True)
class Budget:
    """A startup probe: asked every `period` seconds, given up after `failures`."""

    period: int
    failures: int

    @property
    def seconds(self) -> int:
        """How long all of it takes."""
        return self.period * self.failures


def startup_seconds(wanted: str | None, measured: int | None) -> int:
    """The seconds that a replica may take: what its owner says, else by what the last revision took (None: unknown)."""
    if wanted is not None:
        return max(1, int(parse_duration(wanted)))
    return min(max(LEAST_SECONDS, _FACTOR * (measured or 0)), MOST_SECONDS)


def startup_budget(seconds: int) -> Budget:
    """Every second at first, so that a small model serves at once; less often where it takes long anyway."""
    period = -(-seconds // _MOST_FAILURES)
    return Budget(period, -(-seconds // period))
