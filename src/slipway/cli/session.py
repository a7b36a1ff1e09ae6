"""A command's connection to the cluster that it means."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from slipway.cli.terminal import say
from slipway.client.client import AsyncClient
from slipway.client.target import Target

T = TypeVar("T")


def connected(target: Target) -> AbstractAsyncContextManager[AsyncClient]:
    """A client of the target."""
    return AsyncClient.to(target)


def announce(target: Target, verb: str, name: str) -> None:
    """Says which cluster and namespace a write goes to, before it goes."""
    say(f"{verb} {name} in namespace {target.namespace} of {target.context}")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs the asynchronous part of a command."""
    gc.freeze()  # what the imports made stays; see slipway.cli.main
    gc.enable()
    return asyncio.run(work)
