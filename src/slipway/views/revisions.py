"""The revisions of a ModelService, read from its ControllerRevisions, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from slipway.api.names import LABEL_REVISION

PARTS: Final = ("model", "server")
"""What a revision keeps of `spec`, and what a rollback writes back."""
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision. `number` counts from 1; a rollback gives the old revision the next number.

    `created` and `restarted_at` are timestamps, `restarted_at` and `digest` empty where there is none; `spec` has the
    `model` and the `server` of the ModelService.
    """

    number: int
    hash: str
    created: str
    uri: str
    format: str = ""
    image: str = ""
    digest: str = ""
    restarted_at: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A field of `spec` that differs; None where it is absent."""

    path: str
    old: Any
    new: Any


def revision(manifest: Mapping[str, Any]) -> Revision:
    """What a ControllerRevision says."""
    metadata, data = manifest["metadata"], manifest.get("data") or {}
    spec = data.get("spec") or {}
    model, server = spec.get("model") or {}, spec.get("server") or {}
    return Revision(
        number=int(manifest.get("revision") or 0),
        hash=str((metadata.get("labels") or {}).get(LABEL_REVISION, "")),
        created=str(metadata.get("creationTimestamp") or ""),
        uri=str(model.get("uri") or ""),
        format=str(model.get("format") or ""),
        image=str(server.get("image") or ""),
        digest=str(data.get("digest") or ""),
        restarted_at=str(data.get("restartedAt") or ""),
        spec={part: spec[part] for part in PARTS if spec.get(part)},
    )


def revisions(manifests: list[dict[str, Any]]) -> list[Revision]:
    """All of them, oldest first."""
    return sorted(map(revision, manifests), key=lambda found: found.number)


def changes(old: Revision, new: Revision) -> list[Change]:
    """What `new` has otherwise than `old`, by path."""
    before, after = _fields(old), _fields(new)
    paths = sorted(before.keys() | after.keys())
    return [Change(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def summary(old: Revision | None, new: Revision) -> str:
    """In a few words what changed: the fields, or that it is the first one that is kept, or a restart."""
    if old is None:
        return "the oldest that is kept"
    names = [change.path for change in changes(old, new)]
    if names == ["restartedAt"]:
        return "restart"
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"{', '.join(names[:_FEW])}{more}" if names else "nothing"


def document(found: Revision, before: Revision | None, *, current: bool) -> dict[str, Any]:
    """A revision for programs."""
    return {
        "revision": found.number,
        "hash": found.hash,
        "current": current,
        "created": found.created,
        "model": found.uri,
        "image": found.image,
        "digest": found.digest,
        "change": summary(before, found),
        "spec": dict(found.spec),
    }


def _fields(found: Revision) -> dict[str, Any]:
    more = {"digest": found.digest or None, "restartedAt": found.restarted_at or None}
    spec = _flat(found.spec, "spec") if found.spec else {}
    return spec | {name: value for name, value in more.items() if value}


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Leaves by path; items of a list of named things by their name, as in `spec.server.env[HOME].value`."""
    if isinstance(value, Mapping) and value:
        return {leaf: at for key, item in value.items() for leaf, at in _flat(item, f"{path}.{key}").items()}
    if isinstance(value, list) and value:
        named = all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in value)
        places = [(item["name"] if named else index, item) for index, item in enumerate(value)]
        return {leaf: at for place, item in places for leaf, at in _flat(item, f"{path}[{place}]").items()}
    return {path: value}
