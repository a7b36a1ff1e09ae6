"""Leader election with a Lease, as client-go does it: clocks of other machines are never compared with ours."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from slipway.kit.client import AlreadyExists, ApiError, Client, Conflict, NotFound, Unreachable
from slipway.kit.objects import LEASE, Manifest

log = logging.getLogger(__name__)


class LeaseLost(Exception):  # noqa: N818  # it is a state of the process more than an error
    """Another process may lead by now: end at once."""


def default_identity() -> str:
    """The host's name and something that no other process of that name has."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """The Lease that decides who leads, and its times in seconds (controller-runtime's defaults).

    A leader that could not renew for `renew_deadline` stops; another takes over after `duration`. The difference is
    what a write under way has to finish.
    """

    name: str
    namespace: str
    identity: str = field(default_factory=default_identity)
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry_period < self.renew_deadline < self.duration:
            raise ValueError("A Lease needs retry_period < renew_deadline < duration.")


class LeaderElector:
    """Takes a Lease, holds it, gives it back."""

    def __init__(
        self, client: Client, config: LeaseConfig, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._config = config
        self._now = now
        self._observed: tuple[object, ...] = ()
        self._observed_at = 0.0
        self._renewed = float("-inf")
        self._held: Manifest | None = None  # the Lease as we last wrote it

    def leading(self) -> bool:
        """Whether nobody else can lead at this moment."""
        return _time() < self._renewed + self._config.renew_deadline

    async def acquire(self) -> None:
        """Waits until this process leads."""
        while not await self._attempt(self._config.renew_deadline):  # noqa: ASYNC110  # it asks another machine
            await asyncio.sleep(self._config.retry_period * random.uniform(1.0, 1.2))  # noqa: S311  # jitter
        log.info("%s leads with the lease %s/%s", self._config.identity, self._config.namespace, self._config.name)

    async def hold(self) -> None:
        """Renews until that fails for too long; then raises `LeaseLost`."""
        while True:
            await asyncio.sleep(self._config.retry_period)
            left = self._renewed + self._config.renew_deadline - _time()
            if left <= 0 or (not await self._attempt(left) and not self.leading()):
                raise LeaseLost(f"The lease {self._config.namespace}/{self._config.name} is lost.")

    async def release(self) -> None:
        """Lets another process lead at once. Call it when nothing can write any more."""
        if not self.leading():
            return
        with suppress(ApiError, Unreachable, TimeoutError):
            async with asyncio.timeout(self._config.retry_period):
                lease = await self._get()
                if lease["spec"].get("holderIdentity") == self._config.identity:
                    lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
                    await self._client.replace(LEASE, lease)
        self._renewed = float("-inf")

    async def _attempt(self, limit: float) -> bool:
        """One try to take or renew, of at most `limit` seconds."""
        started = _time()
        try:
            async with asyncio.timeout(limit):
                taken = await self._take()
        except (AlreadyExists, Conflict):
            return False
        except (ApiError, Unreachable, TimeoutError) as error:
            log.warning("The lease %s cannot be read or written: %s", self._config.name, error or type(error).__name__)
            return False
        # The time before the request: the API server's answer may have been slow. Not taken: another holds it.
        self._renewed = started if taken else float("-inf")
        return taken

    async def _take(self) -> bool:
        held, self._held = self._held, None
        if held is not None:  # one request renews, as long as nobody else has written the Lease
            with suppress(Conflict, NotFound):
                self._held = await self._replace(held)
                return True
        try:
            lease = await self._get()
        except NotFound:
            self._held = await self._client.create(LEASE, self._lease({}, transitions=0))
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder and holder != self._config.identity and not self._abandoned(spec):
            return False
        self._held = await self._replace(lease)
        return True

    async def _replace(self, lease: Manifest) -> Manifest:
        """Writes a Lease as ours, where it is still the one that was read."""
        spec = lease.get("spec") or {}
        mine = spec.get("holderIdentity") == self._config.identity
        transitions = spec.get("leaseTransitions") or 0
        body = self._lease(spec if mine else {}, transitions if mine else transitions + 1)
        return await self._client.replace(LEASE, {**body, "metadata": lease["metadata"]})

    def _abandoned(self, spec: Manifest) -> bool:
        """Whether the holder has not renewed for the Lease's duration, by our clock."""
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._observed:
            self._observed, self._observed_at = record, _time()
        return _time() >= self._observed_at + float(spec.get("leaseDurationSeconds") or self._config.duration)

    def _lease(self, spec: Manifest, transitions: int) -> Manifest:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._config.name, "namespace": self._config.namespace},
            "spec": {
                "acquireTime": spec.get("acquireTime") or self._stamp(),
                "holderIdentity": self._config.identity,
                "leaseDurationSeconds": math.ceil(self._config.duration),
                "leaseTransitions": transitions,
                "renewTime": self._stamp(),
            },
        }

    async def _get(self) -> Manifest:
        return await self._client.get(LEASE, self._config.name, self._config.namespace)

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time() -> float:
    return asyncio.get_running_loop().time()
