"""Waiting until a model service answers, or until it is known that it will not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slipway.client.client import AsyncClient, Snapshot
from slipway.client.errors import FailedError, UnreachableError, WaitTimeoutError
from slipway.kit.objects import Manifest
from slipway.views.modelservice import outcome, why
from slipway.views.pods import pod_view

REPEAT = 30.0
Report = Callable[[str], None]


async def wait_ready(client: AsyncClient, name: str, seconds: float, report: Report) -> Manifest:
    """The service, once it is Ready at its newest generation; `report` gets a sentence at each change, and each 30 s.

    `FailedError` carries the kubelet's words when waiting cannot help; `WaitTimeoutError` comes after `seconds`.
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
            return await _settled(client, name, tell)
    except TimeoutError:
        raise WaitTimeoutError(
            f"{name} is not ready after {seconds:.0f} s: {said}.",
            f"It goes on without us. Return with `slipway describe {name}`, or wait longer with `--timeout`.",
        ) from None


async def _settled(client: AsyncClient, name: str, tell: Report) -> Manifest:
    """The service at the end of its way; an API server that does not answer for a while does not end it."""
    while True:
        try:
            async for snapshot in client.watch(name):
                tell(sentence(snapshot))
                match outcome(snapshot.service):
                    case "ready":
                        return snapshot.service
                    case "failed":
                        raise _failure(name, snapshot)
        except UnreachableError as error:
            tell(error.message.rstrip("."))
            await asyncio.sleep(1)


def sentence(snapshot: Snapshot) -> str:
    """What a model service is at: how many replicas are ready, and why the others are not."""
    pods = [pod_view(pod) for pod in snapshot.pods]
    states = sorted({pod.state for pod in pods if not pod.ready})
    others = f", others {' and '.join(states)}" if states else ""
    count = f"{sum(pod.ready for pod in pods)} of {len(pods)} ready{others}"
    return f"{count}; {why(snapshot.service)}".rstrip(".") if pods else why(snapshot.service).rstrip(".")


def _failure(name: str, snapshot: Snapshot) -> FailedError:
    return FailedError(
        f"{name} cannot become ready: {why(snapshot.service)}",
        f"See `slipway describe {name}` and `slipway logs {name}`; deploy again when it is corrected.",
    )
