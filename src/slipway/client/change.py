"""The manifests that change a ModelService, as a person asked for it: pure functions of the object as it is.

Server-side apply takes away what its manager applied before and leaves out now. So each manifest here repeats what our
manager has applied, and changes what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from slipway.client.errors import InvalidInputError
from slipway.kit.objects import MODEL_SERVICE, Manifest
from slipway.views.managers import applied, held_by_others
from slipway.views.revisions import PARTS, Revision

FIELD_MANAGER: Final = "slipway-cli"
RESTARTED_AT: Final = "slipway.dev/restarted-at"
"""An annotation of a ModelService: when its pods were last told to be replaced, RFC 3339."""
RESTART_MANAGER: Final = f"{FIELD_MANAGER}-restart"
"""Of that annotation alone, so that applying it takes no other field."""
_NOT_FETCHED: Final = ("oci://", "pvc://")


@dataclass(frozen=True, slots=True)
class Scale:
    """How many replicas are asked for; None is unsaid. `N, N` fixes the number."""

    minimum: int | None
    maximum: int | None


def kept(existing: Manifest) -> Manifest:
    """What to apply so that nothing changes: all that our manager has applied."""
    mine = applied(existing, FIELD_MANAGER)
    metadata = {key: mine["metadata"][key] for key in ("labels", "annotations") if mine.get("metadata", {}).get(key)}
    return _shell(existing, metadata) | {"spec": mine.get("spec") or {}}


def deployed(existing: Manifest | None, manifest: Manifest) -> Manifest:
    """The manifest with what our manager has applied before and it leaves unsaid.

    Of the model that is how it is fetched: its Secret as long as it comes from the same place, which alone is to know
    it, and how long that may take.
    """
    if existing is None:
        return manifest
    before, said = kept(existing), manifest["spec"]
    spec = {**before["spec"], **said}
    for part in ("server", "scaling", "rollout", "routing"):
        if part in said and part in before["spec"]:
            spec[part] = {**before["spec"][part], **said[part]}
    if "model" in said:
        spec["model"] = _fetched_alike(before["spec"].get("model") or {}, said["model"])
    variables = {
        item["name"]: item for part in (before["spec"], said) for item in part.get("server", {}).get("env", [])
    }
    if variables:
        spec["server"] = {**spec["server"], "env": [*variables.values()]}
    kept_metadata = {key: value for key, value in before["metadata"].items() if key != "uid"}
    return {**manifest, "metadata": {**kept_metadata, **manifest["metadata"]}, "spec": spec}


def _fetched_alike(before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    uri = said.get("uri", "")
    keeps = {
        "secretRef": _place(before.get("uri", "")) == _place(uri),
        "fetchTimeout": not uri.startswith(_NOT_FETCHED),
    }
    return {key: before[key] for key, kept in keeps.items() if kept and key in before} | said


def _place(uri: str) -> str:
    """What a credential of a model is for: its scheme and its registry, bucket or host."""
    return "/".join(uri.split("/", 3)[:3])


def scaled(existing: Manifest, wish: Scale) -> Manifest:
    """The manifest that scales; `InvalidInputError` where the rest of `spec.scaling` contradicts."""
    manifest, now = kept(existing), existing["spec"].get("scaling") or {}
    low, high = wish.minimum, wish.maximum
    least = low if low is not None else int(now.get("min", 1))
    most = high if high is not None else int(now.get("max", least))
    if least > most:
        said = f"--min {least} is more than spec.scaling.max, {most}" if high is None else ""
        said = said or f"--max {most} is less than spec.scaling.min, {least}"
        raise InvalidInputError(f"{existing['metadata']['name']}: {said}.", "Say --min and --max. Nothing was changed.")
    wanted = {key: number for key, number in (("min", low), ("max", high)) if number is not None}
    manifest["spec"]["scaling"] = {**(manifest["spec"].get("scaling") or {}), **wanted}
    return manifest


def effect(existing: Manifest, changed: Manifest) -> str:
    """What scaling does to the autoscaler, in a sentence; empty where there is none before and after."""
    name, before, after = existing["metadata"]["name"], _range(existing), _range(changed)
    if before[0] < before[1] and after[0] == after[1]:
        return f"{name} was autoscaled between {before[0]} and {before[1]}; now {after[0]} is fixed, and its HPA goes."
    if after[0] < after[1]:
        target = (changed["spec"].get("scaling") or {}).get("target") or {}
        measured = f"{target.get('metric', 'cpu')} at {target.get('value', 80)} %"
        return f"An HPA keeps {name} between {after[0]} and {after[1]} replicas, {measured}."
    return ""


def undone(existing: Manifest, revision: Revision) -> Manifest:
    """The manifest that writes a revision's model and server back."""
    manifest = kept(existing)
    rest = {part: value for part, value in manifest["spec"].items() if part not in PARTS}
    manifest["spec"] = {**rest, **revision.spec}
    return manifest


def leftovers(existing: Manifest, revision: Revision) -> dict[str, str]:
    """Fields that the revision does not have and another manager keeps: path and manager. Applying leaves them."""
    found: dict[str, str] = {}
    for manager, fields in held_by_others(existing, FIELD_MANAGER):
        theirs = fields.get("spec") or {}
        for part in PARTS:
            for path in _extra(theirs.get(part, {}), revision.spec.get(part, {}), f"spec.{part}"):
                found[path] = manager
    return found


def removal(live: Manifest, revision: Revision) -> Manifest:
    """The merge patch (RFC 7396) that takes out of `live` what the revision does not have."""
    spec = {part: _patch(live["spec"].get(part) or {}, revision.spec.get(part) or {}) for part in PARTS}
    return {"spec": {part: patch for part, patch in spec.items() if patch}}


def restarted(existing: Manifest, at: str) -> Manifest:
    """The manifest that has the pods replaced; `at` is an RFC 3339 time."""
    return _shell(existing, {"annotations": {RESTARTED_AT: at}})


def _shell(existing: Manifest, metadata: dict[str, Any]) -> Manifest:
    """Which object is meant. The uid keeps us from making it anew when it is deleted meanwhile."""
    identity = {key: existing["metadata"][key] for key in ("name", "namespace", "uid") if key in existing["metadata"]}
    return {
        "apiVersion": MODEL_SERVICE.api_version,
        "kind": MODEL_SERVICE.kind,
        "metadata": identity | metadata,
    }


def _range(manifest: Manifest) -> tuple[int, int]:
    scaling = manifest["spec"].get("scaling") or {}
    least = int(scaling.get("min", 1))
    return least, int(scaling.get("max", least))


def _extra(theirs: Any, wanted: Any, path: str) -> list[str]:
    """Paths in `theirs` that `wanted` lacks; named items of lists by their name."""
    if isinstance(theirs, dict):
        known = wanted if isinstance(wanted, dict) else {}
        missing = [f"{path}.{key}" for key in theirs if key not in known]
        return missing + [
            at for key in theirs if key in known for at in _extra(theirs[key], known[key], f"{path}.{key}")
        ]
    if isinstance(theirs, list) and isinstance(wanted, list):
        names = {item["name"] for item in wanted if isinstance(item, dict) and "name" in item}
        own = [item["name"] for item in theirs if isinstance(item, dict) and "name" in item]
        return [f"{path}[{name}]" for name in own if name not in names]
    return []


def _patch(live: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in live if key not in wanted}
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            if inner := _patch(live[key], value):
                patch[key] = inner
        elif live.get(key) != value:
            patch[key] = value
    return patch
