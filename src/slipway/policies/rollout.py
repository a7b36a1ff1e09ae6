"""How long a pod may take, and how far a rollout of a Deployment is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.api.duration import parse_duration

PRE_STOP_SECONDS: Final = 5
"""Endpoints are withdrawn while the pod is told to stop; it keeps serving for as long as the news travels."""
SETTLE_SECONDS: Final = 2
"""A new pod counts as available that much later than it is ready: the news reaches every node's proxy meanwhile."""
GRACE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Rollout:
    """The numbers of a Deployment, as its controller last counted them."""

    wanted: int
    existing: int
    updated: int
    available: int
    ready: int
    observed: bool
    """Whether the count is of the Deployment as it is written now."""

    @property
    def complete(self) -> bool:
        """All replicas are of the newest revision and take requests."""
        return self.observed and self.updated == self.existing == self.wanted and self.available >= self.wanted

    @property
    def serving(self) -> bool:
        """At least one replica takes requests, of whichever revision."""
        return self.available > 0


def grace_seconds(timeout: str) -> int:
    """How long a pod may take to stop: no request that the gateway still waits for is cut off."""
    seconds = parse_duration(timeout)
    return GRACE_SECONDS if seconds <= GRACE_SECONDS else int(seconds) + 2 * PRE_STOP_SECONDS
