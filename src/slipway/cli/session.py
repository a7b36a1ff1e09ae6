"""A command's connection to the cluster that it means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from slipway.cli.target import Target
from slipway.cli.terminal import say
from slipway.client.client import AsyncClient

T = TypeVar("T")


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[AsyncClient]:
    """A client of the target. A local cluster is on this machine: no proxy of the environment knows it."""
    proxies = target.cluster is None
    async with AsyncClient.connect(target.kubeconfig, target.context, target.namespace, proxies=proxies) as client:
        yield client


def announce(target: Target, verb: str, name: str) -> None:
    """Says which cluster and namespace a write goes to, before it goes."""
    say(f"{verb} {name} in namespace {target.namespace} of {target.context}")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs the asynchronous part of a command."""
    return asyncio.run(work)
