"""The status of a ModelService, computed whole from facts, and the events that tell of its changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from slipway.api import reasons
from slipway.controllers.modelservice.conditions import (
    Facts,
    model_loaded,
    progressing,
    ready,
    routed,
    scaled,
)
from slipway.controllers.modelservice.decide import Decision
from slipway.controllers.modelservice.observe import Observed, gateway_url
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.objects import Manifest
from slipway.kit.status import set_condition
from slipway.policies.model_source import ImageModel, read_model_uri
from slipway.policies.routing import external_url, ingress_url, internal_url
from slipway.views.conditions import condition, conditions
from slipway.views.pods import PodView

_CONDITIONS: Final = {
    reasons.READY: ready,
    reasons.PROGRESSING: progressing,
    reasons.MODEL_LOADED: model_loaded,
    reasons.SCALED: scaled,
    reasons.ROUTED: routed,
}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that changed, for an event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def build_status(facts: Facts, now: datetime) -> dict[str, Any]:
    """The whole status. A condition's time only moves when its status does."""
    rollout = facts.rollout
    status: dict[str, Any] = {
        "conditions": _conditions(facts, now),
        "url": facts.url,
        "revision": facts.revision,
        "replicas": rollout.existing if rollout else 0,
        "readyReplicas": rollout.ready if rollout else 0,
    }
    model = _model(facts)
    return {key: value for key, value in (status | ({"model": model} if model else {})).items() if value != ""}


def _model(facts: Facts) -> dict[str, Any]:
    """The model of the newest revision; how long it took to load stays known until a replica tells anew."""
    decision = facts.decision
    if decision is None:
        return dict(facts.observed.service.get("status", {}).get("model", {}))
    seconds = max(_measured(facts.newest, decision.startup.seconds), default=facts.observed.load_seconds)
    source = read_model_uri(decision.spec.model.uri)
    named = source.digest if isinstance(source, ImageModel) else None
    model = {
        "uri": decision.spec.model.uri,
        "digest": named or decision.digest,
        "loadTime": None if seconds is None else f"{seconds}s",
    }
    return {key: value for key, value in model.items() if value is not None}


def _measured(pods: list[PodView], most: int) -> list[int]:
    """How long they took to load. More than the kubelet waits is a replica that was not ready for a while."""
    return [pod.load_seconds for pod in pods if pod.load_seconds is not None and pod.load_seconds <= most]


def service_url(observed: Observed, decision: Decision | None, settings: Settings) -> str:
    """Where requests go: through the gateway where there is a route and an address, else inside the cluster."""
    metadata = observed.service["metadata"]
    inside = internal_url(metadata["namespace"], metadata["name"])
    if decision is None:
        return str(observed.service.get("status", {}).get("url", inside))
    if decision.ingress:
        return ingress_url(decision.ingress) or inside
    if decision.route is None:
        return inside
    return external_url(decision.route, settings.gateway_url or gateway_url(observed.gateway)) or inside


def happenings(service: Manifest, status: dict[str, Any]) -> Iterator[Happening]:
    """What a person would want to hear of between the status that the object has and the one that it gets."""
    after = {"status": status}
    for view in conditions(after):
        before = condition(service, view.type)
        if (view.type, view.reason) == (reasons.PROGRESSING, reasons.SCALING) or view.reason == before.reason:
            continue
        if view.type == reasons.READY and (before.reason or view.reason != reasons.NO_REPLICA_READY):
            yield Happening("Normal" if view.holds else "Warning", view.reason, view.message)
        elif view.type == reasons.PROGRESSING and view.reason != condition(after, reasons.READY).reason:
            fine = view.holds or view.reason == reasons.ROLLOUT_COMPLETE
            yield Happening("Normal" if fine else "Warning", view.reason, view.message)


def _conditions(facts: Facts, now: datetime) -> list[Manifest]:
    service = facts.observed.service
    generation = service["metadata"].get("generation", 0)
    before = service.get("status", {}).get("conditions") or []
    found = [item for item in before if item.get("type") in _CONDITIONS]
    for type_, judge in _CONDITIONS.items():
        verdict = judge(facts)
        found = set_condition(found, type_, verdict.status, verdict.reason, verdict.message, generation, now)
    return found
