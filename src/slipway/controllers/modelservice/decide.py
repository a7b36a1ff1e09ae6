"""All decisions about one ModelService, taken before anything is made."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.modelservice import ModelServiceSpec
from slipway.controllers.modelservice.settings import Settings
from slipway.policies.disruption import needs_disruption_budget
from slipway.policies.model_source import ModelSource, read_model_uri
from slipway.policies.resources import effective_resources
from slipway.policies.rollout import grace_seconds
from slipway.policies.routing import RoutePlan, plan_route
from slipway.policies.scaling import ScalingPlan, plan_scaling


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be made. `route` is None where the cluster cannot route."""

    namespace: str
    name: str
    spec: ModelServiceSpec
    image: str
    source: ModelSource
    resources: dict[str, dict[str, str]]
    grace_seconds: int
    scaling: ScalingPlan
    disruption_budget: bool
    gateway: tuple[str, str] | None
    route: RoutePlan | None


def decide(namespace: str, name: str, spec: ModelServiceSpec, settings: Settings, *, can_route: bool) -> Decision:
    """The decisions for a valid spec. `can_route`: the cluster serves the Gateway API."""
    scaling = plan_scaling(spec.scaling)
    routed = can_route and settings.gateway is not None
    return Decision(
        namespace=namespace,
        name=name,
        spec=spec,
        image=spec.server.image or settings.serving_image,
        source=read_model_uri(spec.model.uri),
        resources=effective_resources(spec.server.resources),
        grace_seconds=grace_seconds(spec.routing.timeout),
        scaling=scaling,
        disruption_budget=needs_disruption_budget(scaling),
        gateway=settings.gateway,
        route=plan_route(spec.routing, namespace, name) if routed else None,
    )
