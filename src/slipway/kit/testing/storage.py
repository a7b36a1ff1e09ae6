"""What the API server in memory keeps: objects, their history, and who applied which of their fields."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from slipway.kit.client import EventType, NotFound
from slipway.kit.objects import Key, Kind, Manifest, key_of
from slipway.kit.testing.fields import Path

_EPOCH = "2026-01-01T00:00:00Z"  # one time for all: nothing here depends on it
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion")

GARBAGE_DELAY = 0.5  # seconds until an object goes that was made for an owner that is gone

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object."""

    version: int
    kind: Kind
    type: EventType
    object: Manifest
    before: Manifest | None


class Storage:
    """Objects by kind and key. Each change has a version of its own."""

    def __init__(self) -> None:
        self.version = 1
        self.compacted = 0
        self.history: list[Change] = []
        self.default: Callable[[Kind, Manifest], None] = lambda *_: None
        self.changed = asyncio.Event()
        self.owners: dict[tuple[str, str], dict[Path, Any]] = {}  # by uid and manager
        self._objects: dict[Kind, dict[Key, Manifest]] = {}
        self._numbers = itertools.count(1)
        self._gone: set[str] = set()  # uids

    def all(self, kind: Kind) -> dict[Key, Manifest]:
        """The objects of a kind, not copied."""
        return self._objects.setdefault(kind, {})

    def find(self, kind: Kind, key: Key) -> Manifest:
        """One object, not copied; `NotFound` as the API server says it."""
        if key not in self.all(kind):
            raise NotFound(404, "NotFound", f'{kind.plural} "{key.name}" not found')
        return self.all(kind)[key]

    def write(self, kind: Kind, live: Manifest | None, new: Manifest, *, with_status: bool = True) -> Manifest:
        """Writes an object in the place of `live`; one that would not change keeps its version."""
        if live is not None and not with_status:
            new = {key: value for key, value in new.items() if key != "status"}
            new |= {"status": live["status"]} if "status" in live else {}
        self.default(kind, new)
        metadata = new["metadata"] = {**new["metadata"], **self._identity(live)}
        if live == new:
            return new
        metadata["generation"] = _generation(live, new)
        metadata["resourceVersion"] = self._next()
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._drop(kind, new)
            return new
        self.all(kind)[key_of(new)] = new
        self._record(kind, "ADDED" if live is None else "MODIFIED", new, live)
        owners = metadata.get("ownerReferences")
        if owners and all(owner["uid"] in self._gone for owner in owners):
            asyncio.get_running_loop().call_later(GARBAGE_DELAY, self._delete_garbage, kind, new)
        return new

    def delete(self, kind: Kind, live: Manifest, *, orphan: bool = False) -> None:
        """Deletes an object, or marks it when it has finalizers; what it alone owns goes with it."""
        gone = copied(live)
        if not gone["metadata"].get("finalizers"):
            gone["metadata"]["resourceVersion"] = self._next()
            self._drop(kind, gone, orphan=orphan)
        elif "deletionTimestamp" not in gone["metadata"]:
            gone["metadata"] |= {"deletionTimestamp": _EPOCH, "resourceVersion": self._next()}
            self.all(kind)[key_of(gone)] = gone
            self._record(kind, "MODIFIED", gone, live)

    def own(self, uid: str, manager: str, fields: dict[Path, Any]) -> None:
        """The manager owns these fields now, and shares those that others applied with the same value."""
        for place, theirs in self.owners.items():
            if place[0] == uid and place[1] != manager:
                for path in [path for path, value in theirs.items() if path in fields and fields[path] != value]:
                    del theirs[path]
        self.owners[uid, manager] = fields

    def since(self, version: int) -> list[Change]:
        """The changes after a version that are not forgotten."""
        return self.history[bisect_right(self.history, version, key=lambda change: change.version) :]

    def compact(self) -> None:
        """Forgets the history."""
        self.compacted = self.version
        self.history.clear()

    def wake(self) -> None:
        """Lets all who wait for a change look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def _delete_garbage(self, kind: Kind, manifest: Manifest) -> None:
        if self.all(kind).get(key_of(manifest)) is manifest:
            self.delete(kind, manifest)

    def _next(self) -> str:
        self.version += 1
        return str(self.version)

    def _identity(self, live: Manifest | None) -> Manifest:
        if live is None:
            return {"uid": f"uid-{next(self._numbers)}", "creationTimestamp": _EPOCH}
        return {name: live["metadata"][name] for name in _KEPT if name in live["metadata"]}

    def _drop(self, kind: Kind, gone: Manifest, *, orphan: bool = False) -> None:
        del self.all(kind)[key_of(gone)]
        uid = gone["metadata"]["uid"]
        self._gone.add(uid)
        for place in [place for place in self.owners if place[0] == uid]:
            del self.owners[place]
        self._record(kind, "DELETED", gone, gone)
        self._collect(uid, orphan=orphan)

    def _collect(self, uid: str, *, orphan: bool) -> None:
        """Garbage collection: what has only this owner goes with it, or stays without it."""
        for kind, objects in [*self._objects.items()]:
            for child in [*objects.values()]:
                owners = child["metadata"].get("ownerReferences", [])
                left = [owner for owner in owners if owner["uid"] != uid]
                if len(left) == len(owners):
                    continue
                if left or orphan:
                    self.write(kind, child, {**child, "metadata": {**child["metadata"], "ownerReferences": left}})
                else:
                    self.delete(kind, child)

    def _record(self, kind: Kind, event: EventType, manifest: Manifest, before: Manifest | None) -> None:
        self.history.append(Change(self.version, kind, event, manifest, before))
        self.wake()


def copied(value: T) -> T:
    """A copy, as if it had travelled."""
    result: T = msgspec.json.decode(msgspec.json.encode(value))
    return result


def _generation(live: Manifest | None, new: Manifest) -> int:
    if live is None:
        return 1
    return int(live["metadata"]["generation"]) + (_desired(new) != _desired(live))


def _desired(manifest: Manifest) -> Manifest:
    return {key: value for key, value in manifest.items() if key not in {"metadata", "status"}}
