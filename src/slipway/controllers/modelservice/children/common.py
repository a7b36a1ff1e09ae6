"""Names and labels that all children share."""

from __future__ import annotations

from slipway.api.names import FIELD_MANAGER, LABEL_FORMAT, LABEL_MANAGED_BY, LABEL_MODEL_SERVICE, LABEL_NAME
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import Kind, Manifest


def child(kind: Kind, decision: Decision, name: str = "", **body: object) -> Manifest:
    """A manifest of `kind`, with the name of its ModelService where it has no other."""
    metadata = {"name": name or decision.name, "namespace": decision.namespace, "labels": labels(decision)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def selector(decision: Decision) -> dict[str, str]:
    """The labels that select the pods. A Deployment's selector can never change: neither may this."""
    return {LABEL_MODEL_SERVICE: decision.name}


def labels(decision: Decision) -> dict[str, str]:
    """The labels of every child."""
    made = {LABEL_MANAGED_BY: FIELD_MANAGER, LABEL_NAME: decision.name, **selector(decision)}
    return made | ({LABEL_FORMAT: decision.spec.model.format} if decision.spec.model.format else {})
