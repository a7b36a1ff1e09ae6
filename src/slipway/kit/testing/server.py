"""An API server in memory, as a `Client`: what controllers notice of the real one, and each way that it can fail."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal

from slipway.kit.client import AlreadyExists, Conflict, Expired, Invalid, NotFound, Page, Unreachable, WatchEvent
from slipway.kit.fence import check_fence
from slipway.kit.objects import Key, Kind, Manifest, key_of
from slipway.kit.reflector import INITIAL_EVENTS_END
from slipway.kit.testing.fields import Path, give_up, merge, merge_patch, owned
from slipway.kit.testing.selectors import matches
from slipway.kit.testing.storage import Change, Storage, copied

Verb = Literal["get", "list", "watch", "create", "apply", "patch", "replace", "delete", "raw"]
READS = {"get", "list", "watch", "raw"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    verb: Verb
    kind: Kind | None
    key: Key
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class _Selection:
    kind: Kind
    namespace: str | None
    labels: str | None
    fields: str | None

    def has(self, manifest: Manifest) -> bool:
        here = self.namespace is None or self.namespace == key_of(manifest).namespace
        return here and matches(manifest, self.labels, self.fields)

    def event(self, change: Change) -> WatchEvent | None:
        """What a watch of this selection is told of a change."""
        if change.type == "BOOKMARK":
            return WatchEvent("BOOKMARK", change.object)
        was = change.before is not None and self.has(change.before)
        if change.type != "DELETED" and self.has(change.object):
            return WatchEvent("MODIFIED" if was else "ADDED", change.object)
        return WatchEvent("DELETED", change.object) if was else None


class ApiServer:
    """Speaks list, watch, resource versions, 410, conflicts, server-side apply, finalizers and garbage collection.

    `fault` is called with each request before it is carried out, `fault_after` before it is answered, and `on_event`
    with each watch event before it is delivered, to give the events to deliver in its place; what they raise is what
    the caller sees. `streaming=False` is a server that refuses streaming lists. Kinds in `missing` are not installed.
    `default` changes an object as defaulting would, on each write. `calls` is every request so far. Watches are told of
    changes `watch_delay` seconds late.
    """

    def __init__(self, *, streaming: bool = True) -> None:
        self.streaming = streaming
        self.missing: set[Kind] = set()
        self.watch_delay = 0.0
        self.calls: list[Call] = []
        self.fault: Callable[[Call], None] = lambda _: None
        self.fault_after: Callable[[Call], None] = lambda _: None
        self.on_event: Callable[[WatchEvent], list[WatchEvent]] = lambda event: [event]
        self._storage = Storage()
        self._pages: dict[str, tuple[int, list[Manifest]]] = {}
        self._numbers = itertools.count(1)
        self._connections = 0  # raised to break those that are open
        self._bookmarks = 0

    @property
    def default(self) -> Callable[[Kind, Manifest], None]:
        """Changes an object on each write."""
        return self._storage.default

    @default.setter
    def default(self, function: Callable[[Kind, Manifest], None]) -> None:
        self._storage.default = function

    @property
    def writes(self) -> list[Call]:
        """The requests that can change something."""
        return [call for call in self.calls if call.verb not in READS]

    def objects(self, kind: Kind) -> dict[Key, Manifest]:
        """What there is of a kind; copies."""
        return {key: copied(manifest) for key, manifest in self._storage.all(kind).items()}

    def put(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Writes a whole object as somebody else would; not counted as a call."""
        live = self._storage.all(kind).get(key_of(manifest))
        return copied(self._storage.write(kind, live, copied(manifest)))

    def remove(self, kind: Kind, key: Key) -> None:
        """Deletes an object as somebody else would; not counted as a call."""
        self._storage.delete(kind, self._storage.find(kind, key))

    def compact(self) -> None:
        """Forgets the past: whoever asks for an older resource version, or the rest of a list, gets 410."""
        self._storage.compact()
        self._pages.clear()

    def disconnect(self) -> None:
        """Breaks all open watches."""
        self._connections += 1
        self._storage.wake()

    def bookmark(self) -> None:
        """Sends a bookmark to all open watches."""
        self._bookmarks += 1
        self._storage.wake()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest:
        call = await self._begin("get", kind, Key(namespace or "", name))
        return self._answer(call, self._storage.find(kind, call.key))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
        resource_version: str | None = None,  # noqa: ARG002  # the newest is not older than any
    ) -> Page:
        call = await self._begin("list", kind, Key(namespace or "", ""))
        if continue_ is None:
            version, items = self._storage.version, self._select(_Selection(kind, namespace, labels, fields))
        elif continue_ in self._pages:
            version, items = self._pages[continue_]
        else:
            raise Expired(410, "Expired", "The provided continue parameter is too old.")
        token = f"{version}-{next(self._numbers)}" if limit and items[limit:] else None
        if token:
            self._pages[token] = (version, items[limit:])
        self.fault_after(call)
        return Page(copied(items[: limit or None]), str(version), token)

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        initial_events: bool = False,
        timeout: float = 300.0,  # noqa: ASYNC109  # how long the server lets the watch live
    ) -> AsyncGenerator[WatchEvent]:
        await self._begin("watch", kind, Key(namespace or "", ""))
        if initial_events and not self.streaming:
            raise Invalid(422, "Invalid", "sendInitialEvents is forbidden for watch.")
        selection = _Selection(kind, namespace, labels, fields)
        until = asyncio.get_running_loop().time() + timeout
        position = self._storage.version if initial_events or not resource_version else int(resource_version)
        listing = self._select(selection) if initial_events else None
        async with aclosing(self._changes(kind, position, until, listing)) as changes:
            async for change in changes:
                told = selection.event(change)
                for delivered in self.on_event(told) if told else ():
                    yield copied_event(delivered)

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        call = await self._begin("create", kind, key_of(manifest))
        if call.key in self._storage.all(kind):
            raise AlreadyExists(409, "AlreadyExists", f'{kind.plural} "{call.key.name}" already exists')
        return self._answer(call, self._storage.write(kind, None, copied(manifest)))

    async def apply(
        self,
        kind: Kind,
        manifest: Manifest,
        *,
        manager: str,
        force: bool = False,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Manifest:
        call = await self._begin("apply", kind, key_of(manifest), subresource)
        live = self._storage.find(kind, call.key) if subresource else self._storage.all(kind).get(call.key)
        applied = _part(copied(manifest), subresource)
        _check_identity(live, applied)
        fields, mine = owned(applied), f"{manager}/{subresource or ''}"
        result = self._merged(live, applied, fields, mine, force=force)
        if dry_run:
            return result
        stored = self._storage.write(kind, live, result, with_status=subresource == "status")
        self._storage.own(stored["metadata"]["uid"], mine, fields)
        return self._answer(call, stored)

    async def patch(
        self, kind: Kind, name: str, namespace: str | None, body: Manifest, *, subresource: str | None = None
    ) -> Manifest:
        call = await self._begin("patch", kind, Key(namespace or "", name), subresource)
        live = self._storage.find(kind, call.key)
        _check_identity(live, body)
        result = merge_patch(copied(live), _part(body, subresource))
        return self._answer(call, self._storage.write(kind, live, result, with_status=subresource == "status"))

    async def replace(self, kind: Kind, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        call = await self._begin("replace", kind, key_of(manifest), subresource)
        live = self._storage.find(kind, call.key)
        _check_identity(live, manifest)
        kept = copied(live) if subresource else {}
        body = {**kept, **_part(copied(manifest), subresource), "metadata": (kept or copied(manifest))["metadata"]}
        return self._answer(call, self._storage.write(kind, live, body, with_status=subresource == "status"))

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        uid: str | None = None,
    ) -> None:
        call = await self._begin("delete", kind, Key(namespace or "", name))
        live = self._storage.find(kind, call.key)
        if uid and uid != live["metadata"]["uid"]:
            raise Conflict(409, "Conflict", "the UID in the precondition does not match")
        self._storage.delete(kind, live, orphan=propagation == "Orphan")
        self.fault_after(call)

    async def raw(
        self,
        method: str,  # noqa: ARG002  # there are no other paths
        path: str,
        *,
        body: bytes | None = None,  # noqa: ARG002
        headers: dict[str, str] | None = None,  # noqa: ARG002
        patience: float | None = None,  # noqa: ARG002
    ) -> bytes:
        await self._begin("raw", None, Key("", path))
        raise NotFound(404, "NotFound", f"{path} is not there")

    async def _begin(self, verb: Verb, kind: Kind | None, key: Key, subresource: str | None = None) -> Call:
        await asyncio.sleep(0)  # as a request would, it lets others run
        call = Call(verb, kind, key, subresource)
        if verb not in READS:
            check_fence()
        self.calls.append(call)
        self.fault(call)
        if kind in self.missing:
            raise NotFound(404, "NotFound", "the server could not find the requested resource")
        return call

    def _answer(self, call: Call, manifest: Manifest) -> Manifest:
        self.fault_after(call)
        return copied(manifest)

    def _select(self, selection: _Selection) -> Manifests:
        return [
            manifest for _, manifest in sorted(self._storage.all(selection.kind).items()) if selection.has(manifest)
        ]

    async def _changes(
        self, kind: Kind, position: int, until: float, listing: Manifests | None
    ) -> AsyncGenerator[Change]:
        """The changes of a kind after a version, and bookmarks; first `listing`, while others go on changing it."""
        storage, connections, bookmarks = self._storage, self._connections, self._bookmarks
        for manifest in listing or ():
            await asyncio.sleep(0)
            yield Change(position, kind, "ADDED", manifest, None)
        ended = listing is None
        while asyncio.get_running_loop().time() < until and kind not in self.missing:
            if position < storage.compacted:
                raise Expired(410, "Expired", f"too old resource version: {position} ({storage.compacted})")
            if connections != self._connections:
                raise Unreachable("The connection broke.")
            pending = storage.since(position)
            for change in pending:
                position = change.version
                if change.kind == kind:
                    await asyncio.sleep(self.watch_delay)
                    yield change
            if not ended:
                ended = True
                yield _bookmark(kind, position, {INITIAL_EVENTS_END: "true"})
            elif bookmarks != self._bookmarks:
                bookmarks = self._bookmarks
                yield _bookmark(kind, position)
            elif not pending:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await storage.changed.wait()

    def _merged(
        self, live: Manifest | None, applied: Manifest, fields: dict[Path, Any], mine: str, *, force: bool
    ) -> Manifest:
        """The object after an apply, without the fields that `mine` owned and does not apply any more."""
        uid = live["metadata"]["uid"] if live else ""
        others = [
            (place[1], theirs) for place, theirs in self._storage.owners.items() if place[0] == uid and place[1] != mine
        ]
        if not force:
            _refuse_conflicts(fields, others)
        result: Manifest = merge(copied(live) if live else {}, applied)
        unset = self._storage.owners.get((uid, mine), {}).keys() - fields.keys()
        give_up(result, [path for path in unset if not any(path in theirs for _, theirs in others)])
        return result


Manifests = list[Manifest]  # within the class, `list` is a call


def _bookmark(kind: Kind, version: int, annotations: dict[str, str] | None = None) -> Change:
    metadata = {"resourceVersion": str(version)} | ({"annotations": annotations} if annotations else {})
    return Change(version, kind, "BOOKMARK", {"metadata": metadata}, None)


def copied_event(event: WatchEvent) -> WatchEvent:
    """A copy, as if it had travelled."""
    return WatchEvent(event.type, copied(event.object))


def _part(manifest: Manifest, subresource: str | None) -> Manifest:
    """What a request may change: all but the status, or only what the subresource is."""
    if subresource is None:
        return {key: value for key, value in manifest.items() if key != "status"}
    return {key: value for key, value in manifest.items() if key in {"apiVersion", "kind", "metadata", subresource}}


def _check_identity(live: Manifest | None, body: Manifest) -> None:
    given = body.get("metadata", {})
    have = live["metadata"] if live else {}
    if live is None and "uid" in given:
        raise Conflict(409, "Conflict", f"uid mismatch: {given['uid']}, and no existing object was found")
    if live and given.get("resourceVersion", have["resourceVersion"]) != have["resourceVersion"]:
        raise Conflict(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
    if given.get("uid", have.get("uid")) != have.get("uid"):
        raise Invalid(422, "Invalid", "metadata.uid: field is immutable", (("metadata.uid", "field is immutable"),))


def _refuse_conflicts(fields: dict[Path, Any], others: list[tuple[str, dict[Path, Any]]]) -> None:
    for manager, theirs in others:
        for path, value in fields.items():
            if path in theirs and theirs[path] != value:
                name, cause = "." + ".".join(map(str, path)), f'conflict with "{manager.partition("/")[0]}"'
                raise Conflict(409, "Conflict", f"Apply failed with 1 conflict: {cause}: {name}", ((name, cause),))
