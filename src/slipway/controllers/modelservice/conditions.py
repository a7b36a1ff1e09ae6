"""Each condition of a ModelService: one function, from facts to a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipway.api import reasons
from slipway.controllers.modelservice.children.deployment import revision_of
from slipway.controllers.modelservice.decide import Decision
from slipway.controllers.modelservice.observe import Observed, read_rollout
from slipway.kit.objects import key_of
from slipway.policies.rollout import Rollout
from slipway.policies.routing import internal_url
from slipway.policies.scaling import Autoscaled, FixedReplicas
from slipway.views.conditions import condition, pick, read_conditions
from slipway.views.pods import PodView, worst

_INSIDE = "requests reach the service inside the cluster only"
_INSIDE_ONLY = frozenset({reasons.NO_GATEWAY_API, reasons.NO_GATEWAY, reasons.NO_HOSTNAMES})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a condition holds, and why."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing, or not everything, could be applied."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the verdicts are about. `revision` is the newest one; `decision` is None where the spec is invalid."""

    observed: Observed
    revision: str
    url: str
    decision: Decision | None = None
    failure: Failure | None = None

    @property
    def rollout(self) -> Rollout | None:
        """The counts of the Deployment."""
        return read_rollout(self.observed.deployment)

    @property
    def newest(self) -> list[PodView]:
        """The pods of the newest revision."""
        return [pod for pod in self.observed.pods if pod.revision == self.revision]

    @property
    def applied(self) -> bool:
        """Whether the Deployment as we know it is of the newest revision."""
        deployment = self.observed.deployment
        return deployment is not None and revision_of(deployment) == self.revision


def progressing(facts: Facts) -> Verdict:
    """True while replicas are on their way; False when all are there, or when something keeps them."""
    rollout = facts.rollout
    if facts.failure:
        return Verdict("False", facts.failure.reason, facts.failure.message)
    if rollout is None or not facts.applied:
        return Verdict("True", reasons.ROLLING_OUT, f"revision {facts.revision} is being applied")
    if rollout.complete:
        message = f"revision {facts.revision} is complete: {rollout.available} replicas"
        return Verdict("False", reasons.ROLLOUT_COMPLETE, message)
    trouble = _trouble(facts)
    if trouble:
        return trouble
    reason = reasons.ROLLING_OUT if rollout.updated < rollout.existing or not rollout.available else reasons.SCALING
    counts = f"{min(rollout.updated, rollout.wanted)} of {rollout.wanted} replicas are of revision {facts.revision}"
    return Verdict("True", reason, f"{counts}, {rollout.available} take requests")


def model_loaded(facts: Facts) -> Verdict:
    """True when a replica of the newest revision is ready, which it is only with the model loaded."""
    ready = sum(pod.ready for pod in facts.newest)
    if ready:
        return Verdict("True", reasons.LOADED, f"loaded by {ready} replicas of revision {facts.revision}")
    trouble = worst(facts.newest)
    if trouble:
        return Verdict("False", trouble.reason, _pod_message(trouble))
    return Verdict("False", reasons.LOADING, f"no replica of revision {facts.revision} has loaded the model yet")


def scaled(facts: Facts) -> Verdict:
    """True when the number of replicas is what was asked for, or what the autoscaler holds it at."""
    rollout, decision = facts.rollout, facts.decision
    if decision is None:
        return Verdict("Unknown", reasons.INVALID_SPEC, "what is asked for cannot be read")
    available = rollout.available if rollout else 0
    if isinstance(decision.scaling, FixedReplicas):
        wanted = decision.scaling.replicas
        message = f"{available} of {wanted} replicas take requests; the number is fixed"
        if available < wanted:
            return Verdict("False", reasons.REPLICAS_MISSING, message)
        return Verdict("True", reasons.FIXED_REPLICAS, message)
    return _autoscaled(facts, decision.scaling, available)


def routed(facts: Facts) -> Verdict:
    """True when the gateway sends the requests of this route to the service."""
    decision, observed = facts.decision, facts.observed
    if decision is None:
        if observed.route and observed.gateway:  # what was there before the spec was spoilt
            return _accepted(observed, key_of(observed.gateway), facts.url)
        return Verdict("Unknown", reasons.INVALID_SPEC, "what is asked for cannot be read")
    wanted = decision.settings.gateway
    if wanted is None:
        return _by_ingress(decision, observed, facts.url)
    if not observed.can_route:
        return Verdict("False", reasons.NO_GATEWAY_API, f"the cluster has no Gateway API: {_INSIDE}")
    if observed.gateway is None:
        message = f"the operator routes through Gateway {'/'.join(wanted)}, which is not there"
        return Verdict("False", reasons.GATEWAY_NOT_FOUND, message)
    return _accepted(observed, wanted, facts.url)


def ready(facts: Facts) -> Verdict:
    """True when a request would succeed: a replica takes requests, and the route to it is open where there is one.

    While an update fails, the old revision still serves: that is `Progressing`, and no reason to send nobody here.
    """
    rollout, route = facts.rollout, routed(facts)
    if rollout is None or not rollout.serving:
        progress = progressing(facts)
        if progress.status == "False" and progress.reason != reasons.ROLLOUT_COMPLETE:
            return Verdict("False", progress.reason, progress.message)
        return Verdict("False", reasons.NO_REPLICA_READY, progress.message or "no replica takes requests")
    if facts.failure and facts.failure.reason == reasons.NAME_TAKEN and facts.observed.entrance is None:
        return Verdict("False", facts.failure.reason, facts.failure.message)
    if route.status == "False" and route.reason not in _INSIDE_ONLY:
        return Verdict("False", route.reason, route.message)
    return Verdict("True", reasons.SERVING, f"{facts.url} answers")


def _trouble(facts: Facts) -> Verdict | None:
    """What keeps the newest revision from starting: a pod's own words first, else those of the Deployment."""
    pod = worst(facts.newest)
    if pod:
        return Verdict("False", pod.reason, _pod_message(pod))
    found = read_conditions((facts.observed.deployment or {}).get("status", {}).get("conditions"))
    failed, progress = pick(found, "ReplicaFailure"), pick(found, "Progressing")
    if failed.holds:
        return Verdict("False", failed.reason, failed.message)
    if progress.status == "False":
        return Verdict("False", progress.reason, progress.message)
    return None


def _pod_message(pod: PodView) -> str:
    return f"pod {pod.name}: {pod.message or pod.reason}"


def _autoscaled(facts: Facts, plan: Autoscaled, available: int) -> Verdict:
    autoscaler = facts.observed.autoscaler
    if autoscaler is None:
        return Verdict("Unknown", reasons.AUTOSCALER_STARTING, "the autoscaler is being made")
    active, able = condition(autoscaler, "ScalingActive"), condition(autoscaler, "AbleToScale")
    for check in (able, active):
        if check.status == "False":
            return Verdict("False", check.reason, check.message)
    if active.status == "Unknown":
        return Verdict("Unknown", reasons.AUTOSCALER_STARTING, "the autoscaler has not measured anything yet")
    message = f"{available} replicas take requests, between {plan.minimum} and {plan.maximum} by {plan.target.metric}"
    return Verdict("True", reasons.AUTOSCALED, message)


def _by_ingress(decision: Decision, observed: Observed, url: str) -> Verdict:
    """Ingress controllers report an address and nothing else: without one, nobody has taken the Ingress up."""
    name = decision.settings.ingress_class
    if name is None:
        return Verdict("False", reasons.NO_GATEWAY, f"the operator has neither gateway nor Ingress class: {_INSIDE}")
    if decision.ingress is None:
        message = f"an Ingress needs spec.routing.hostnames: {_INSIDE}"
        return Verdict("False", reasons.NO_HOSTNAMES, message)
    if decision.access != "Cluster" and decision.settings.proxy_namespace is None:
        message = f"spec.routing.access is {decision.access}, and the operator runs without --proxy-namespace"
        return Verdict("False", reasons.NO_PROXY_NAMESPACE, f"{message}: its controllers are kept out")
    if not (observed.ingress or {}).get("status", {}).get("loadBalancer", {}).get("ingress"):
        return Verdict("False", reasons.ROUTE_PENDING, f"no controller of Ingress class {name} has taken the route up")
    return Verdict("True", reasons.ACCEPTED, f"Ingress class {name} sends requests for {url}")


def _accepted(observed: Observed, wanted: tuple[str, str], url: str) -> Verdict:
    gateway = "/".join(wanted)
    pending = Verdict("False", reasons.ROUTE_PENDING, f"Gateway {gateway} has not looked at the route yet")
    if observed.route is None:
        return pending
    generation = observed.route["metadata"].get("generation", 0)
    for parent in observed.route.get("status", {}).get("parents") or []:
        reference = parent.get("parentRef", {})
        if (reference.get("namespace"), reference.get("name")) != wanted:
            continue
        found = read_conditions(parent.get("conditions"))
        for check in (pick(found, "Accepted"), pick(found, "ResolvedRefs")):
            if check.status == "Unknown" or check.generation < generation:
                return pending
            if not check.holds:
                return Verdict("False", check.reason, check.message)
        if url == internal_url(*key_of(observed.service)):
            message = f"Gateway {gateway} has taken the route up; under which address it is called is not known"
            return Verdict("True", reasons.ACCEPTED, message)
        return Verdict("True", reasons.ACCEPTED, f"Gateway {gateway} sends requests for {url}")
    return pending
