"""Which models of the node's cache go. Pure: no clock, no disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the cache: bytes, and when it was last used (seconds, any epoch)."""

    key: str
    size: int
    used: float


def evict(entries: Sequence[Entry], room: int, needed: int, kept: Collection[str] = ()) -> list[str]:
    """The keys to remove, the least recently used first, so that `needed` bytes more fit into `room` bytes.

    Nothing is removed that need not be, and never one of `kept`; where that is not enough, all others go.
    """
    total = sum(entry.size for entry in entries) + needed
    going: list[str] = []
    for entry in sorted(entries, key=lambda entry: (entry.used, entry.key)):
        if total <= room:
            break
        if entry.key not in kept:
            going.append(entry.key)
            total -= entry.size
    return going
