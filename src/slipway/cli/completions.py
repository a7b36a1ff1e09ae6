"""What a shell may complete on the command line: names of model services, contexts and namespaces.

A shell waits for the answer with the person's hands on the keys. So it is quick or it is nothing, and never a message.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client.client import AsyncClient

PATIENCE = "SLIPWAY_COMPLETION_TIMEOUT"
"""Seconds that a shell waits for the cluster; 1.5 without it."""


def services(ctx: Any, incomplete: str) -> list[str]:
    """The model services of the namespace that the command line has so far."""

    async def names(client: AsyncClient) -> list[str]:
        return [item["metadata"]["name"] for item in await client.list()]

    return _asked(ctx, incomplete, names)


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """The namespaces of the cluster that the command line has so far."""

    async def names(client: AsyncClient) -> list[str]:
        return await client.namespaces()

    return _asked(ctx, incomplete, names)


def contexts(incomplete: str) -> list[str]:
    """The contexts of local clusters and of the user's kubeconfig files."""
    from slipway.client.target import known_contexts  # noqa: PLC0415  # only a shell asks

    try:
        return [name for name in known_contexts() if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001  # see above
        return []


def _asked(ctx: Any, incomplete: str, names: Callable[[AsyncClient], Awaitable[list[str]]]) -> list[str]:
    import asyncio  # noqa: PLC0415  # only a shell asks

    from slipway.client.client import AsyncClient  # noqa: PLC0415  # as above

    said = ctx.params

    async def ask() -> list[str]:
        async with asyncio.timeout(float(os.environ.get(PATIENCE, "1.5"))):
            async with AsyncClient.connect(
                said.get("context"), said.get("namespace"), kubeconfig=said.get("kubeconfig")
            ) as client:
                return await names(client)

    try:
        found = asyncio.run(ask())
    except Exception:  # noqa: BLE001  # see above
        return []
    return [name for name in found if name.startswith(incomplete)]
