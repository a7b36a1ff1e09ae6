"""The requests of one stream, answered side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from slipway_serving.errors import RequestError

T = TypeVar("T")
MOST: Final = 64
"""Requests of one stream that are answered at once; no more of it is read until one of them is."""


async def each(requests: AsyncIterator[T], answer: Callable[[T], Awaitable[None]]) -> None:
    """Answers all requests, at most MOST of them at once; returns once the last one is answered.

    `answer` raises nothing. A request that cannot be read ends the reading: its RequestError is raised when those
    before it are answered. Who cancels this cancels all of them.
    """
    places = asyncio.Semaphore(MOST)
    unreadable: RequestError | None = None

    async def run(request: T) -> None:
        try:
            await answer(request)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        await places.acquire()
        try:
            async for request in requests:
                group.create_task(run(request))
                await places.acquire()
        except RequestError as error:
            unreadable = error
    if unreadable is not None:
        raise unreadable
