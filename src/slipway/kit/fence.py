"""No write by a process that does not lead any more, however it came to be late.

A worker that was stopped for longer than the Lease lasts (SIGSTOP, a starved machine) would go on where it was, before
any timer of its process fires. So each write asks once more, as the last thing before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from slipway.kit.lease import LeaseLost

_may_write: ContextVar[Callable[[], bool] | None] = ContextVar("slipway_kit_may_write", default=None)


@contextmanager
def fenced(may_write: Callable[[], bool]) -> Iterator[None]:
    """Within the block, and in tasks that it starts, `check_fence` asks `may_write`."""
    token = _may_write.set(may_write)
    try:
        yield
    finally:
        _may_write.reset(token)


def check_fence() -> None:
    """Raises `LeaseLost` where a write is not allowed any more; clients call it before they send one."""
    may_write = _may_write.get()
    if may_write is not None and not may_write():
        raise LeaseLost("This process does not lead any more: nothing is written.")
