"""Tasks that live and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_first(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Runs all until one ends, cancels the others, waits for them, and raises what the first died of.

    RuntimeError when it ended because something within it was cancelled.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        if task.cancelled():
            raise RuntimeError("A part of the process was cancelled from within.")
        task.result()
