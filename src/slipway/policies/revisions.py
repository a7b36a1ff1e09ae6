"""Revisions: what was decided for one, which number it has, and which may be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Inputs:
    """What makes a revision what it is: the parts of the spec that pods are made from, as JSON, and a restart."""

    model: dict[str, Any]
    server: dict[str, Any]
    restarted_at: str | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision that was rolled out. `name` is its hash; the highest `number` is the newest."""

    name: str
    number: int
    inputs: Inputs
    digest: str | None = None
    startup_seconds: int | None = None


def recall(revisions: Iterable[Revision], inputs: Inputs) -> Revision | None:
    """The newest revision that was made from the same inputs: what was decided for it is not decided again."""
    same = [revision for revision in revisions if revision.inputs == inputs]
    return max(same, key=lambda revision: revision.number, default=None)


def number_of(name: str, revisions: Sequence[Revision]) -> int:
    """The number of a revision that is rolled out now. Going back to an old one gives it the next number."""
    newest = max(revisions, key=lambda revision: revision.number, default=None)
    if newest is None:
        return 1
    return newest.number if newest.name == name else newest.number + 1


def forgettable(revisions: Iterable[Revision], current: str, limit: int) -> list[Revision]:
    """The oldest revisions beyond `limit` earlier ones; never the current one."""
    earlier = [revision for revision in revisions if revision.name != current]
    return sorted(earlier, key=lambda revision: -revision.number)[limit:]
