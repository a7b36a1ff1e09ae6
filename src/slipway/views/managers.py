"""Who manages which fields of an object, read from `metadata.managedFields`.

Format: Kubernetes documentation, "Server-Side Apply", `fieldsV1`: `f:NAME` is a field, `k:{…}` an item of a list by its
keys, `v:…` an item by its value, `.` the thing itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_GITOPS: Final = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "fleet.cattle.io/bundle-id": "Fleet",
    "objectset.rio.cattle.io/id": "Fleet",
}
"""Labels and annotations that tools leave on what they keep equal to a repository."""
_GITOPS_MANAGERS: Final = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "fleetagent": "Fleet",
}
_MISSING: Final = object()


def gitops(manifest: Mapping[str, Any]) -> str:
    """The GitOps tool that keeps an object equal to a repository, and reverts what others change; else empty."""
    metadata = manifest["metadata"]
    marks = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
    tools = [_GITOPS[mark] for mark in marks if mark in _GITOPS]
    tools += [_GITOPS_MANAGERS[name] for name, _, _ in _entries(manifest) if name in _GITOPS_MANAGERS]
    return tools[0] if tools else ""


def applied(manifest: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """The fields that `manager` has applied, with their values now: what it applies again in order to keep them."""
    for name, operation, fields in _entries(manifest):
        if name == manager and operation == "Apply":
            return dict(_pick(manifest, fields))
    return {}


def held_by_others(manifest: Mapping[str, Any], manager: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each other manager, by whatever operation, with the fields of the object that it manages."""
    for name, operation, fields in _entries(manifest):
        if (name, operation) != (manager, "Apply"):
            yield name, dict(_pick(manifest, fields))


def _entries(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Manager, operation and fields; what is written to a subresource, such as the status, is nobody's wish."""
    for entry in manifest["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1")
        if isinstance(fields, dict) and not entry.get("subresource"):
            yield str(entry.get("manager", "")), str(entry.get("operation", "")), fields


def _pick(value: Any, fields: Mapping[str, Any]) -> Any:
    """The part of a value that a set of fields names."""
    if not fields:
        return value
    if isinstance(value, dict):
        named = {key[2:]: sub for key, sub in fields.items() if key.startswith("f:") and key[2:] in value}
        return {key: _pick(value[key], sub) for key, sub in named.items()}
    if isinstance(value, list):
        return [picked for item in value if (picked := _pick_item(item, fields)) is not _MISSING]
    return value


def _pick_item(item: Any, fields: Mapping[str, Any]) -> Any:
    """The part of a list's item that a set of fields names; `_MISSING` where it names none of it."""
    for key, sub in fields.items():
        kind, _, text = key.partition(":")
        if kind == "v" and json.loads(text) == item:
            return item
        if kind == "k" and isinstance(item, dict):
            keys = json.loads(text)
            if all(item.get(name) == wanted for name, wanted in keys.items()):
                return keys | _pick(item, sub)
    return _MISSING
