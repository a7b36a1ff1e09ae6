"""All decisions about one ModelService, taken before anything is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway.api.modelservice import Access, ModelServiceSpec
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.compare import without_nulls
from slipway.policies.disruption import needs_disruption_budget
from slipway.policies.model_source import ModelSource, plan_source
from slipway.policies.resources import effective_resources
from slipway.policies.revisions import Inputs, Revision
from slipway.policies.rollout import grace_seconds
from slipway.policies.routing import IngressPlan, RoutePlan, plan_ingress, plan_route
from slipway.policies.scaling import ScalingPlan, plan_scaling
from slipway.policies.startup import Budget, startup_budget, startup_seconds


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides the spec.

    `revisions` are those there have been, and `before` is the one of them that was made from the same inputs: what was
    decided for it stands. `digest` is what the model's tag means now, asked for only where there is no such revision,
    `load_seconds` what the last revision took to load, `content` a hash of the ConfigMaps and Secrets that the server
    reads, `restarted_at` when somebody last asked for a restart.
    """

    revisions: Sequence[Revision] = ()
    before: Revision | None = None
    digest: str | None = None
    load_seconds: int | None = None
    content: str = ""
    restarted_at: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be made. `route` and `ingress` are None where nothing routes that way."""

    namespace: str
    name: str
    spec: ModelServiceSpec
    settings: Settings
    inputs: Inputs
    known: Known
    digest: str | None
    source: ModelSource
    startup: Budget
    resources: dict[str, dict[str, str]]
    grace_seconds: int
    scaling: ScalingPlan
    disruption_budget: bool
    route: RoutePlan | None
    ingress: IngressPlan | None

    @property
    def image(self) -> str:
        """The server's image."""
        return self.spec.server.image or self.settings.serving_image

    @property
    def access(self) -> Access:
        """Who may connect to the pods."""
        return self.spec.routing.access


def inputs_of(spec: ModelServiceSpec, restarted_at: str | None) -> Inputs:
    """What makes a revision, as it is kept in one: without the nulls that an apply leaves out."""
    model = without_nulls(spec.model.model_dump(exclude_unset=True))
    server = without_nulls(spec.server.model_dump(exclude_unset=True))
    return Inputs(model, server, restarted_at)


def decide(
    namespace: str,
    name: str,
    spec: ModelServiceSpec,
    settings: Settings,
    *,
    can_route: bool,
    known: Known | None = None,
) -> Decision:
    """The decisions for a valid spec. `can_route`: the cluster serves the Gateway API."""
    known = known or Known()
    scaling = plan_scaling(spec.scaling)
    inputs = inputs_of(spec, known.restarted_at)
    before = known.before
    digest = before.digest if before else known.digest
    seconds = startup_seconds(spec.server.probes.startup.timeout, known.load_seconds)
    if before and before.startup_seconds:
        seconds = before.startup_seconds
    gateway, ingresses = settings.gateway is not None, settings.ingress_class is not None
    return Decision(
        namespace=namespace,
        name=name,
        spec=spec,
        settings=settings,
        inputs=inputs,
        known=known,
        digest=digest,
        source=plan_source(spec.model, digest, image_volumes=settings.image_volumes),
        startup=startup_budget(seconds),
        resources=effective_resources(spec.server.resources, spec.server.gpu),
        grace_seconds=grace_seconds(spec.routing.timeout),
        scaling=scaling,
        disruption_budget=needs_disruption_budget(scaling),
        route=plan_route(spec.routing, namespace, name) if can_route and gateway else None,
        ingress=plan_ingress(spec.routing) if ingresses and not gateway else None,
    )
