"""What is there: the object and all that belongs to it, as the stores know them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slipway.api.duration import parse_duration
from slipway.api.names import ANNOTATION_RESTARTED_AT
from slipway.controllers.modelservice.children.revision import read_revision
from slipway.controllers.modelservice.stores import Stores, content_of
from slipway.kit.apply import Applied
from slipway.kit.objects import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    HPA,
    HTTP_ROUTE,
    INGRESS,
    SERVICE,
    Key,
    Kind,
    Manifest,
    key_of,
)
from slipway.policies.revisions import Revision
from slipway.policies.rollout import Rollout
from slipway.views.pods import PodView, pod_view


@dataclass(frozen=True, slots=True)
class Observed:
    """One ModelService and its surroundings at one moment. `entrance` is its Service."""

    service: Manifest
    deployment: Manifest | None = None
    autoscaler: Manifest | None = None
    route: Manifest | None = None
    gateway: Manifest | None = None
    ingress: Manifest | None = None
    entrance: Manifest | None = None
    pods: tuple[PodView, ...] = ()
    revisions: tuple[Revision, ...] = ()
    content: str = ""
    can_route: bool = True

    @property
    def load_seconds(self) -> int | None:
        """How long the last revision that was measured took to load."""
        found = self.service.get("status", {}).get("model", {}).get("loadTime")
        return int(parse_duration(found)) if found else None

    @property
    def restarted_at(self) -> str | None:
        """When somebody last asked for a restart."""
        annotations: dict[str, str] = self.service["metadata"].get("annotations", {})
        return annotations.get(ANNOTATION_RESTARTED_AT)


def read_rollout(deployment: Manifest | None) -> Rollout | None:
    """What the Deployment controller counted, None before there is a Deployment."""
    if deployment is None:
        return None
    status = deployment.get("status", {})
    return Rollout(
        wanted=deployment["spec"].get("replicas", 1),
        existing=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        ready=status.get("readyReplicas", 0),
        observed=status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0),
    )


def gateway_url(gateway: Manifest | None) -> str | None:
    """The URL of a Gateway by its own status: its first address and the port of its first HTTP listener."""
    if gateway is None:
        return None
    addresses = gateway.get("status", {}).get("addresses") or []
    ports = [
        listener["port"] for listener in gateway["spec"].get("listeners", []) if listener.get("protocol") == "HTTP"
    ]
    if not addresses or not ports:
        return None
    value = addresses[0]["value"]
    host = f"[{value}]" if ":" in value else value
    return f"http://{host}" if ports[0] == 80 else f"http://{host}:{ports[0]}"  # noqa: PLR2004  # HTTP's own port


def observe(stores: Stores, service: Manifest, gateway: tuple[str, str] | None) -> Observed:
    """All of one ModelService, from the stores. Children are those that it owns: one of its name may be another's."""
    key = key_of(service)

    def owned(kind: Kind) -> Manifest | None:
        found = stores.children[kind.kind].by_owner(service["metadata"]["uid"])
        return next((manifest for manifest in found if key_of(manifest) == key), None)

    return Observed(
        service=service,
        deployment=owned(DEPLOYMENT),
        autoscaler=owned(HPA),
        route=owned(HTTP_ROUTE),
        ingress=owned(INGRESS),
        entrance=owned(SERVICE),
        revisions=tuple(
            read_revision(manifest)
            for manifest in stores.children[CONTROLLER_REVISION.kind].by_owner(service["metadata"]["uid"])
        ),
        content=content_of(stores, service),
        gateway=stores.gateways.get(Key(*gateway)) if gateway else None,
        pods=tuple(pod_view(pod) for pod in stores.pods.by_index("service", str(key))),
        can_route=stores.routes.available,
    )


def after(observed: Observed, applied: Applied) -> Observed:
    """The same with what was just written: the stores do not know it yet, and the status is of its generation."""
    key = key_of(observed.service)

    def now(kind: Kind, before: Manifest | None) -> Manifest | None:
        return applied.answers.get((kind, key), before)

    return replace(
        observed,
        deployment=now(DEPLOYMENT, observed.deployment),
        autoscaler=now(HPA, observed.autoscaler),
        route=now(HTTP_ROUTE, observed.route),
        ingress=now(INGRESS, observed.ingress),
        entrance=now(SERVICE, observed.entrance),
    )
