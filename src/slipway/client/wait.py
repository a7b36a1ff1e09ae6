"""Waiting until a model service answers, or until it is known that it will not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from slipway.client.connection import Connection, Snapshot
from slipway.client.errors import FailedError, PausedError, UnreachableError, WaitTimeoutError
from slipway.kit.objects import Manifest
from slipway.views.modelservice import has_last_words, outcome, waits_for, why
from slipway.views.pods import pod_view

T = TypeVar("T")
REPEAT = 30.0
PATIENCE = 60.0
"""Seconds after which a rollout that waits for something counts as paused: a new node takes about as long."""
_RECONNECT = 1.0
Report = Callable[[str], None]


async def wait_ready(
    client: Connection,
    name: str,
    seconds: float,
    report: Report,
    *,
    beyond: str = "",
    patience: float | None = None,
) -> Manifest:
    """The service, once it is Ready at its newest generation; `report` gets a sentence at each change, and each 30 s.

    `FailedError` carries the kubelet's words when waiting cannot help; `WaitTimeoutError` comes after `seconds`, and
    `PausedError` once it has waited `patience` seconds for something that is not ours to give. Nothing counts before
    the operator has gone beyond the revision `beyond`.
    """
    said, told = "nothing is known of it yet", 0.0
    now = asyncio.get_running_loop().time

    def tell(text: str) -> None:
        nonlocal said, told
        if text != said or now() > told + REPEAT:
            said, told = text, now()
            report(text)

    try:
        async with asyncio.timeout(seconds):
            return await _settled(client, name, tell, _Bounds(beyond, patience))
    except TimeoutError:
        raise WaitTimeoutError(
            f"{name} is not ready after {seconds:.0f} s: {said}.",
            f"It goes on without us. Return with `slipway describe {name}`, or wait longer with `--timeout`.",
        ) from None


@dataclass(slots=True)
class _Bounds:
    """What has to be passed before anything counts, and how long a pause may last; `paused` is since when it does."""

    beyond: str
    patience: float | None
    paused: float | None = None

    def outlasted(self, snapshot: Snapshot) -> bool:
        """Whether it has waited for something for longer than that."""
        now = asyncio.get_running_loop().time()
        if not waits_for(snapshot.service):
            self.paused = None
        elif self.paused is None:
            self.paused = now
        return self.patience is not None and self.paused is not None and now - self.paused >= self.patience


async def _settled(client: Connection, name: str, tell: Report, bounds: _Bounds) -> Manifest:
    """The service at the end of its way; an API server that does not answer for a while does not end it."""
    watch = resumed(lambda: client.watch(name), lambda error: tell(error.message.rstrip(".")))
    async with aclosing(watch) as snapshots:
        async for snapshot in snapshots:
            tell(sentence(snapshot))
            if bounds.beyond and snapshot.service.get("status", {}).get("revision") == bounds.beyond:
                continue
            match outcome(snapshot.service):
                case "ready":
                    return snapshot.service
                case "failed":
                    raise _failure(name, snapshot)
            if bounds.outlasted(snapshot):
                raise _pause(name, snapshot)
    raise AssertionError("a watch has no end")


def _pause(name: str, snapshot: Snapshot) -> PausedError:
    return PausedError(
        f"{name} waits: {waits_for(snapshot.service)}",
        f"It goes on by itself when that is there. Follow it with `slipway rollout status {name}`.",
    )


async def resumed(
    watch: Callable[[], AsyncGenerator[T]], lost: Callable[[UnreachableError], None]
) -> AsyncGenerator[T]:
    """A watch that outlives an API server that does not answer for a while; `lost` is told each time it does not."""
    while True:
        try:
            async with aclosing(watch()) as found:
                async for item in found:
                    yield item
        except UnreachableError as error:
            lost(error)
        else:
            return
        await asyncio.sleep(_RECONNECT)


def sentence(snapshot: Snapshot) -> str:
    """What a model service is at: how many replicas are ready, and why the others are not."""
    pods = [pod_view(pod) for pod in snapshot.pods]
    states = sorted({pod.state for pod in pods if not pod.ready})
    others = f", others {' and '.join(states)}" if states else ""
    count = f"{sum(pod.ready for pod in pods)} of {len(pods)} ready{others}"
    return f"{count}; {why(snapshot.service)}".rstrip(".") if pods else why(snapshot.service).rstrip(".")


def _failure(name: str, snapshot: Snapshot) -> FailedError:
    see = f"`slipway describe {name}`" + (f" and `slipway logs {name}`" if has_last_words(snapshot.pods) else "")
    return FailedError(
        f"{name} cannot become ready: {why(snapshot.service)}",
        f"See {see}; deploy again when it is corrected.",
    )
