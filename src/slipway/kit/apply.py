"""Children of an object: applied where they differ, refused where they are somebody else's, pruned where unwanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from slipway.kit.client import Client, Conflict, Invalid, NotFound
from slipway.kit.compare import covers, fingerprint, without_nulls
from slipway.kit.consistency import wrote
from slipway.kit.controller import TerminalError
from slipway.kit.objects import Key, Kind, Manifest, key_of
from slipway.kit.store import Store

MANAGED_BY = "app.kubernetes.io/managed-by"

REMEMBERED = 4096  # children that read back differently from how they were applied

NO_OBJECTS = "1"
"""A version that no object has: etcd counts from one, and the first write is the second."""

StoreLookup = Callable[[str, str], Store]
"""The store of an `apiVersion` and `kind`: `Manager.find_store`, or one that knows narrower stores."""


class OwnedByAnother(TerminalError):  # noqa: N818  # a finding, to be told in a condition
    """Objects that we would have to write are somebody else's. Nothing has been written."""

    def __init__(self, objects: tuple[tuple[str, str], ...]) -> None:
        self.objects = objects
        """What is in the way, and whose it is: `("Deployment default/iris", "not managed by slipway")`."""
        told = "; ".join(f"{name} is {whose}" for name, whose in objects)
        super().__init__(f"{told}. Delete or rename it, or choose another name.")


@dataclass(slots=True)
class Applied:
    """What `apply_children` wrote: `Kind namespace/name` each. All empty when everything was as it should be.

    `answers` are the objects as they are after it, by kind and key, of those that were written.
    """

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    answers: dict[tuple[Kind, Key], Manifest] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)


@dataclass(slots=True)
class _Child:
    kind: Kind
    desired: Manifest
    live: Manifest | None
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.kind.kind} {key_of(self.desired)}"


class Applier:
    """Writes children by server-side apply as `manager`, which is also their managed-by label.

    `annotation` keeps the hash of what was applied, so that a field that we no longer set is noticed.
    """

    def __init__(
        self,
        client: Client,
        lookup: StoreLookup,
        *,
        manager: str = "slipway",
        annotation: str = "slipway.dev/applied-hash",
    ) -> None:
        self._client = client
        self._lookup = lookup
        self._manager = manager
        self._annotation = annotation
        self._settled: OrderedDict[tuple[Kind, Key], tuple[str, str]] = OrderedDict()  # hash and version after an apply

    async def apply_children(
        self, owner: Manifest, children: Iterable[Manifest], *, prune_kinds: Iterable[Kind] = ()
    ) -> Applied:
        """Makes the objects of `owner` be `children`, in that order, then deletes its others of `prune_kinds`.

        Each child gets our label, and `owner` as its controller. Written is only what differs from the live object in a
        field that we set, or set before; fields of others stay. Raises `OwnedByAnother` before anything is written when
        a child's name is taken, `Conflict` when the store is behind and another object has the name by now, and the
        client's errors. Does nothing for an owner that is being deleted.
        """
        applied = Applied()
        if "deletionTimestamp" in owner["metadata"]:
            return applied
        prepared = [await self._prepare(owner, child) for child in children]
        taken = [(str(child), whose) for child in prepared if (whose := self._whose(owner, child.live))]
        if taken:
            raise OwnedByAnother(tuple(taken))
        for child in prepared:
            await self._apply(child, applied)
        wanted = {(child.kind, key_of(child.desired)) for child in prepared}
        for kind in prune_kinds:
            await self._prune(owner, kind, wanted, applied)
        return applied

    async def _prepare(self, owner: Manifest, child: Manifest) -> _Child:
        store = self._lookup(child["apiVersion"], child["kind"])
        desired = without_nulls(child)
        metadata = desired["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), MANAGED_BY: self._manager}
        metadata["ownerReferences"] = [owner_reference(owner)]
        digest = fingerprint(desired)
        metadata["annotations"] = {**metadata.get("annotations", {}), self._annotation: digest}
        key = key_of(desired)
        live = store.get(key)
        if live is None:  # a store may be narrower than the cluster, and late: a name can be taken all the same
            live = await self._read(store.kind, key)
        return _Child(store.kind, desired, live, digest)

    async def _read(self, kind: Kind, key: Key) -> Manifest | None:
        try:
            return await self._client.get(kind, key.name, key.namespace or None)
        except NotFound:
            return None

    def _whose(self, owner: Manifest, live: Manifest | None) -> str | None:
        """Whose a live object is, when it is not ours to write."""
        if live is None:
            return None
        metadata = live["metadata"]
        controllers = [reference for reference in metadata.get("ownerReferences", ()) if reference.get("controller")]
        for reference in controllers:
            if reference["uid"] != owner["metadata"]["uid"]:
                return f"owned by {reference['kind']} {reference['name']}"
        if not controllers and self._annotation not in metadata.get("annotations", {}):
            return f"not managed by {self._manager}"
        return None

    async def _apply(self, child: _Child, applied: Applied) -> None:
        key = key_of(child.desired)
        place = (child.kind, key)
        if child.live is not None and self._is_settled(place, child, child.live):
            return
        answer = await self._write(child)
        wrote(child.kind, answer)
        applied.answers[place] = answer
        version = answer["metadata"]["resourceVersion"]
        self._settle(place, child, answer)
        if child.live is None:
            applied.created.append(str(child))
        elif version != child.live["metadata"]["resourceVersion"]:
            applied.updated.append(str(child))

    async def _write(self, child: _Child) -> Manifest:
        """A create must not take over what somebody made a moment ago: one that names a version is refused then."""
        if child.live is None:
            body = {**child.desired, "metadata": {**child.desired["metadata"], "resourceVersion": NO_OBJECTS}}
            return await self._client.apply(child.kind, body, manager=self._manager)
        return await apply_to(self._client, child.kind, child.desired, child.live, manager=self._manager)

    def _settle(self, place: tuple[Kind, Key], child: _Child, answer: Manifest) -> None:
        """Remembers a child that the API server rewrote, so that it is not applied again and again."""
        self._settled.pop(place, None)
        if not covers(answer, child.desired):
            self._settled[place] = (child.fingerprint, answer["metadata"]["resourceVersion"])
            if len(self._settled) > REMEMBERED:
                self._settled.popitem(last=False)

    def _is_settled(self, place: tuple[Kind, Key], child: _Child, live: Manifest) -> bool:
        metadata = live["metadata"]
        if self._settled.get(place) == (child.fingerprint, metadata["resourceVersion"]):
            return True  # applied as it is, whatever the API server made of it
        return metadata.get("annotations", {}).get(self._annotation) == child.fingerprint and covers(
            live, child.desired
        )

    async def _prune(self, owner: Manifest, kind: Kind, wanted: set[tuple[Kind, Key]], applied: Applied) -> None:
        for live in self._lookup(kind.api_version, kind.kind).by_owner(owner["metadata"]["uid"]):
            metadata, key = live["metadata"], key_of(live)
            ours = metadata.get("labels", {}).get(MANAGED_BY) == self._manager
            if (kind, key) in wanted or not ours or "deletionTimestamp" in metadata or self._whose(owner, live):
                continue
            self._settled.pop((kind, key), None)
            try:
                await self._client.delete(kind, key.name, key.namespace or None, uid=metadata["uid"])
            except (NotFound, Conflict):  # it is gone, whoever has its name by now
                continue
            applied.deleted.append(f"{kind.kind} {key}")


async def apply_to(client: Client, kind: Kind, manifest: Manifest, live: Manifest, *, manager: str) -> Manifest:
    """Applies, with force, to the object `live` and to none that took its place: that, or none, is a `Conflict`."""
    body = {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}
    try:
        return await client.apply(kind, body, manager=manager, force=True)
    except Invalid as error:
        if any(field == "metadata.uid" for field, _ in error.causes):
            name = f"{kind.kind} {key_of(manifest)}"
            raise Conflict(409, "Conflict", f"{name} is not the object that it was") from error
        raise


def owner_reference(owner: Manifest) -> Manifest:
    """The reference that makes `owner` the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
