"""A local copy of all objects of one kind, kept by a reflector, read by controllers."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any

from slipway.kit.consistency import newer
from slipway.kit.objects import Key, Kind, Manifest, key_of

log = logging.getLogger(__name__)

Manifests = list[Manifest]

Projection = Callable[[Manifest], Manifest]
"""What is kept of an object. It may change and return its argument."""

Handler = Callable[[Manifest | None, Manifest | None], None]
"""Told of each change: the object before and after; None stands for absent."""

IndexFunction = Callable[[Manifest], Iterable[str]]

_ALWAYS_KEPT = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)
_UNIQUE = {"name", "uid", "resourceVersion"}
_SHORT = 64  # characters; longer ones are rarely said twice


def drop_managed_fields(manifest: Manifest) -> Manifest:
    """The default projection: all but `metadata.managedFields`, a fifth to a quarter of most objects."""
    manifest["metadata"].pop("managedFields", None)
    return manifest


def keep(*paths: str) -> Projection:
    """A projection to a few fields, for kinds with many large objects: `keep("spec.nodeName", "status.phase")`.

    Identity, labels, owners and times of the metadata are always kept.
    """
    split = [tuple(path.split(".")) for path in paths]

    def project(manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        kept: Manifest = {
            "apiVersion": intern(manifest["apiVersion"]),
            "kind": intern(manifest["kind"]),
            "metadata": {key: _shared(metadata[key], key) for key in _ALWAYS_KEPT if key in metadata},
        }
        for path in split:
            _copy(manifest, kept, path)
        return kept

    return project


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: tuple[str, ...]) -> None:
    head, *rest = path
    if head not in source:
        return
    if rest and isinstance(source[head], dict):
        _copy(source[head], target.setdefault(head, {}), tuple(rest))
    else:
        target[head] = _shared(source[head])


def _shared(value: Any, name: str = "") -> Any:
    """The value with its strings in memory once, however many objects have them: names of nodes, labels, reasons."""
    if isinstance(value, str):
        return intern(value) if len(value) <= _SHORT and name not in _UNIQUE else value
    if isinstance(value, list):
        return [_shared(item) for item in value]
    if isinstance(value, dict):
        return {key: _shared(item) for key, item in value.items()}
    return value


class Store:
    """Read-only to all but its reflector: what it returns is shared, so copy before you change.

    `available` says whether the API server has the kind at all; a store of a missing kind is empty.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        projection: Projection | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        optional: bool = False,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.labels = labels
        self.optional = optional
        self.available = True
        self.synced = asyncio.Event()
        self.resource_version = ""
        self.projection = projection or drop_managed_fields
        self._objects: dict[Key, Manifest] = {}
        self._handlers: list[Handler] = []
        self._functions: dict[str, IndexFunction] = {}
        self._indices: dict[str, dict[str, dict[Key, None]]] = {}
        self.index("owner", _owner_uids)

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Manifest | None:
        """The object, or None."""
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> Manifests:
        """All objects, or those of one namespace."""
        if namespace is None:
            return [*self._objects.values()]
        return [manifest for key, manifest in self._objects.items() if key.namespace == namespace]

    def by_owner(self, uid: str) -> Manifests:
        """The objects that have an owner reference to `uid`."""
        return self.by_index("owner", uid)

    def index(self, name: str, function: IndexFunction) -> None:
        """Adds an index: `function` gives the values that an object is found by. ValueError when `name` is taken.

        An object on which it raises is logged, and found by no value.
        """
        if name in self._functions:
            raise ValueError(f"The store of {self.kind.plural} has an index {name!r} already.")
        self._functions[name] = function
        self._indices[name] = defaultdict(dict)
        for key, manifest in self._objects.items():
            for value in self._values(name, manifest):
                self._indices[name][value][key] = None

    def by_index(self, name: str, value: str) -> Manifests:
        """The objects with this value in the index `name`."""
        return [self._objects[key] for key in self._indices[name].get(value, ())]

    def subscribe(self, handler: Handler) -> None:
        """Calls `handler` on each change from now on. What it raises is logged and harms nobody else."""
        self._handlers.append(handler)

    def behind(self, resource_version: str) -> bool:
        """Whether the store has not yet seen this resource version of its kind."""
        return self.available and newer(resource_version, self.resource_version)

    # What follows is for the reflector.

    def project(self, manifest: Manifest) -> Manifest:
        """What the store would keep of an object."""
        return self.projection(manifest)

    def put(self, manifest: Manifest) -> None:
        """Takes an object over. One that is known in this or a newer version already changes nothing."""
        self._advance(manifest["metadata"].get("resourceVersion", ""))
        self._put(self.project(manifest))

    def remove(self, manifest: Manifest) -> None:
        """Forgets an object."""
        self._advance(manifest["metadata"].get("resourceVersion", ""))
        self._remove(key_of(manifest))

    def replace(self, manifests: Iterable[Manifest], resource_version: str) -> None:
        """Makes the projected objects of a list the only ones; handlers hear of the differences, deletions included."""
        listed = {key_of(manifest): manifest for manifest in manifests}
        self.resource_version = resource_version
        self.available = True
        for key in [key for key in self._objects if key not in listed]:
            self._remove(key)
        for key, manifest in listed.items():
            old = self._objects.get(key)
            if old is None or _identity(old) != _identity(manifest):  # an older version counts too: the list is newer
                self._set(key, old, manifest)
        self.synced.set()

    def missing(self) -> None:
        """The API server does not have the kind."""
        for key in [*self._objects]:
            self._remove(key)
        self.available = False
        self.resource_version = ""
        if self.optional:
            self.synced.set()

    def reached(self, resource_version: str) -> None:
        """A bookmark: everything up to this version has been seen."""
        self._advance(resource_version)

    def _advance(self, resource_version: str) -> None:
        if newer(resource_version, self.resource_version):
            self.resource_version = resource_version

    def _put(self, manifest: Manifest) -> None:
        key = key_of(manifest)
        old = self._objects.get(key)
        if old is None or _changed(old, manifest):
            self._set(key, old, manifest)

    def _set(self, key: Key, old: Manifest | None, new: Manifest) -> None:
        self._objects[key] = new
        self._reindex(key, old, new)
        self._tell(old, new)

    def _remove(self, key: Key) -> None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._reindex(key, old, None)
            self._tell(old, None)

    def _reindex(self, key: Key, old: Manifest | None, new: Manifest | None) -> None:
        for name, index in self._indices.items():
            before = self._values(name, old) if old is not None else set()
            after = self._values(name, new) if new is not None else set()
            if before == after:
                continue
            for value in before - after:
                index[value].pop(key, None)
                if not index[value]:
                    del index[value]
            for value in after - before:
                index[value][key] = None

    def _values(self, name: str, manifest: Manifest) -> set[str]:
        try:
            return set(self._functions[name](manifest))
        except Exception:
            log.exception("The index %s of %s cannot read %s", name, self.kind.plural, key_of(manifest))
            return set()

    def _tell(self, old: Manifest | None, new: Manifest | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                log.exception("A handler of %s failed on %s", self.kind.plural, key_of(new or old or {}))


def _identity(manifest: Manifest) -> tuple[str | None, str | None]:
    metadata = manifest["metadata"]
    return metadata.get("uid"), metadata.get("resourceVersion")


def _changed(old: Manifest, new: Manifest) -> bool:
    """Not so when `new` is an event delivered twice, or late."""
    before, after = old["metadata"], new["metadata"]
    if before.get("uid") != after.get("uid"):
        return True
    was, now = before.get("resourceVersion", ""), after.get("resourceVersion", "")
    return bool(was != now and (not was.isdecimal() or newer(now, was)))


def _owner_uids(manifest: Manifest) -> list[str]:
    return [owner["uid"] for owner in manifest["metadata"].get("ownerReferences", ())]
