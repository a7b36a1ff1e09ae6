"""The record of a revision: what to go back to, and what was decided for it."""

from __future__ import annotations

from typing import Any

from slipway.api.names import LABEL_REVISION
from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import CONTROLLER_REVISION, Manifest
from slipway.policies.revisions import Inputs, Revision, number_of


def build_revision(decision: Decision, revision: str) -> Manifest:
    """The ControllerRevision of the revision that is rolled out. Its data never changes, its number may."""
    made = child(CONTROLLER_REVISION, decision, f"{decision.name}-{revision}")
    made["metadata"]["labels"][LABEL_REVISION] = revision
    data: dict[str, Any] = {
        "spec": {"model": decision.inputs.model, "server": decision.inputs.server},
        "digest": decision.digest,
        "startupSeconds": decision.startup.seconds,
        "restartedAt": decision.inputs.restarted_at,
    }
    made["data"] = {key: value for key, value in data.items() if value is not None}
    made["revision"] = number_of(revision, decision.known.revisions)
    return made


def read_revision(manifest: Manifest) -> Revision:
    """What a ControllerRevision of ours says."""
    data = manifest.get("data") or {}
    spec = data.get("spec") or {}
    return Revision(
        name=manifest["metadata"].get("labels", {}).get(LABEL_REVISION, ""),
        number=manifest.get("revision", 0),
        inputs=Inputs(spec.get("model") or {}, spec.get("server") or {}, data.get("restartedAt")),
        digest=data.get("digest"),
        startup_seconds=data.get("startupSeconds"),
    )
