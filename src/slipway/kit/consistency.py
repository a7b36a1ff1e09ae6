"""Read-your-writes: a reconcile must not decide on a cache that has not seen what the last reconcile wrote.

`track` collects the writes made while a reconcile runs; the controller holds the next reconcile of the same key back
until the stores have seen them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from slipway.kit.objects import Kind, Manifest

Writes = dict[Kind, str]
"""The newest resource version written, by kind."""

_writes: ContextVar[Writes | None] = ContextVar("slipway_kit_writes", default=None)


def newer(one: str, other: str) -> bool:
    """Whether a resource version is newer than another of the same kind.

    They are decimal numbers and comparable since Kubernetes 1.35 (KEP-5504), and were before wherever etcd is behind.
    One of another form is never newer.
    """
    if not one.isdecimal():
        return False
    return not other.isdecimal() or (len(one), one) > (len(other), other)


def wrote(kind: Kind, answer: Manifest) -> None:
    """Notes a write that the running reconcile made; `answer` is what the API server returned."""
    writes = _writes.get()
    version = answer.get("metadata", {}).get("resourceVersion", "")
    if writes is not None and newer(version, writes.get(kind, "")):
        writes[kind] = version


@contextmanager
def track() -> Iterator[Writes]:
    """Collects what `wrote` is told within the block."""
    writes: Writes = {}
    token = _writes.set(writes)
    try:
        yield writes
    finally:
        _writes.reset(token)
