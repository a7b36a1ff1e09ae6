"""The controller of ModelServices: observe, decide, build children, apply, one status write, events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from slipway.api import reasons
from slipway.api.modelservice import RESOURCE, ModelServiceSpec, parse_spec
from slipway.api.validation import problems_of
from slipway.controllers.modelservice.children import build_children
from slipway.controllers.modelservice.children.deployment import revision_of
from slipway.controllers.modelservice.conditions import Facts, Failure
from slipway.controllers.modelservice.decide import Decision, Known, decide, inputs_of
from slipway.controllers.modelservice.observe import Observed, after, observe
from slipway.controllers.modelservice.resolve import NoResolver, Resolver
from slipway.controllers.modelservice.settings import Settings
from slipway.controllers.modelservice.status import build_status, happenings, service_url
from slipway.controllers.modelservice.stores import (
    PRUNED_KINDS,
    Stores,
    make_stores,
    services_of_pod,
    services_that_read,
)
from slipway.kit.apply import Applied, Applier, OwnedByAnother, apply_to
from slipway.kit.client import ApiError, Client, Conflict, Forbidden, Invalid, NotFound
from slipway.kit.consistency import wrote
from slipway.kit.controller import Controller, Result
from slipway.kit.events import EventRecorder
from slipway.kit.manager import Manager
from slipway.kit.objects import CONTROLLER_REVISION, DEPLOYMENT, MODEL_SERVICE, Key, Manifest, key_of
from slipway.kit.status import write_status
from slipway.policies.model_source import FetchedModel
from slipway.policies.revisions import forgettable, recall
from slipway.policies.scaling import handover

HANDOVER_MANAGER: Final = "slipway-handover"
"""The field manager that holds `replicas` between the operator and an autoscaler."""

_LOOK_AGAIN: Final = 30.0  # seconds, where what is in the way can go away without telling us
_ASK_AGAIN: Final = 300.0  # seconds, where the API server said no: an admission webhook may be put right one day
_MOST_PROBLEMS: Final = 3


_DONE: Final = Result()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of an attempt to make the children. `error` is to be told, and then tried again with back-off."""

    facts: Facts
    result: Result
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """What is there after an attempt, and what was in its way."""

    observed: Observed
    failure: Failure | None = None
    result: Result = _DONE
    error: ApiError | None = None


class ModelServiceReconciler:
    """Makes one ModelService be what it says. `clock` is the time of conditions."""

    def __init__(
        self,
        client: Client,
        stores: Stores,
        applier: Applier,
        events: EventRecorder,
        settings: Settings,
        *,
        resolver: Resolver | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._stores = stores
        self._applier = applier
        self._events = events
        self._settings = settings
        self._resolver = resolver or NoResolver()
        self._clock = clock

    async def reconcile(self, key: Key) -> Result:
        """One pass. Objects that are being deleted are left to the garbage collector."""
        service = self._stores.services.get(key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return Result()
        attempt = await self._attempt(observe(self._stores, service, self._settings.gateway))
        await self._report(attempt.facts)
        if attempt.error:
            raise attempt.error
        return attempt.result

    async def _attempt(self, observed: Observed) -> _Attempt:
        try:
            spec = parse_spec(observed.service)
        except ValidationError as error:
            problems = problems_of(error, RESOURCE, root=("spec",))[:_MOST_PROBLEMS]
            invalid = Failure(reasons.INVALID_SPEC, ". ".join(map(str, problems)))
            return _Attempt(self._facts(observed, _revision_now(observed), None, invalid), Result())
        key = key_of(observed.service)
        known = await self._known(observed, spec)
        decision = decide(key.namespace, key.name, spec, self._settings, can_route=observed.can_route, known=known)
        children = build_children(decision)
        revision = next(revision_of(child) for child in children if child["kind"] == DEPLOYMENT.kind)
        failure = _unable(decision)
        made = _Made(observed, failure) if failure else await self._make(observed, decision, children)
        if made.failure is None:
            await self._forget(observed, decision, revision)
        return _Attempt(self._facts(made.observed, revision, decision, made.failure), made.result, made.error)

    async def _known(self, observed: Observed, spec: ModelServiceSpec) -> Known:
        """What the decision needs besides the spec. A registry is asked only for a revision that is not there yet."""
        before = recall(observed.revisions, inputs_of(spec, observed.restarted_at))
        namespace = observed.service["metadata"]["namespace"]
        digest = None if before else await self._resolver.digest(namespace, spec.model)
        return Known(observed.revisions, before, digest, observed.load_seconds, observed.content, observed.restarted_at)

    async def _make(self, observed: Observed, decision: Decision, children: list[Manifest]) -> _Made:
        try:
            observed = after(observed, await self._apply(observed, decision, children))
        except OwnedByAnother as error:
            return _Made(observed, Failure(reasons.NAME_TAKEN, str(error)), Result(requeue_after=_LOOK_AGAIN))
        except Invalid as error:
            return _Made(observed, Failure(reasons.REJECTED, error.message), Result(requeue_after=_ASK_AGAIN))
        except Forbidden as error:
            return _Made(observed, Failure(reasons.APPLY_FAILED, error.message), Result(requeue_after=_LOOK_AGAIN))
        except (Conflict, NotFound):  # somebody was faster: an event of it is on its way
            raise
        except ApiError as error:
            return _Made(observed, Failure(reasons.APPLY_FAILED, error.message), error=error)
        waits_for_gateway = self._settings.gateway is not None and not observed.can_route
        return _Made(observed, result=Result(requeue_after=_LOOK_AGAIN if waits_for_gateway else None))

    async def _apply(self, observed: Observed, decision: Decision, children: list[Manifest]) -> Applied:
        """Children in order. `replicas` is handed over first where there is a Deployment that would lose it."""
        deployment = observed.deployment
        current = deployment["spec"].get("replicas") if deployment else None
        replicas = handover(decision.scaling, current, autoscaler_exists=observed.autoscaler is not None)
        if deployment is not None and replicas is not None:
            await self._hand_over(deployment, replicas)
        applied = await self._applier.apply_children(observed.service, children, prune_kinds=PRUNED_KINDS)
        made = applied.answers.get((DEPLOYMENT, Key(decision.namespace, decision.name)))
        if deployment is None and made is not None and replicas is not None:
            await self._hand_over(made, replicas)
        return applied

    async def _forget(self, observed: Observed, decision: Decision, revision: str) -> None:
        """Deletes the records of revisions that are too many."""
        for old in forgettable(observed.revisions, revision, decision.spec.rollout.history_limit):
            with suppress(NotFound):
                await self._client.delete(CONTROLLER_REVISION, f"{decision.name}-{old.name}", decision.namespace)

    async def _hand_over(self, deployment: Manifest, replicas: int) -> None:
        key = key_of(deployment)
        body = {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {"replicas": replicas},
        }
        wrote(DEPLOYMENT, await apply_to(self._client, DEPLOYMENT, body, deployment, manager=HANDOVER_MANAGER))

    def _facts(self, observed: Observed, revision: str, decision: Decision | None, failure: Failure | None) -> Facts:
        return Facts(observed, revision, service_url(observed, decision, self._settings), decision, failure)

    async def _report(self, facts: Facts) -> None:
        service = facts.observed.service
        status = build_status(facts, self._clock())
        if not await write_status(self._client, MODEL_SERVICE, service, status):
            return
        for happening in happenings(service, status):
            await self._events.emit(service, happening.type, happening.reason, happening.message)


def add_controller(manager: Manager, settings: Settings, *, resolver: Resolver | None = None, workers: int = 4) -> None:
    """Adds the controller of ModelServices to a manager."""
    stores = make_stores(manager)
    reconciler = ModelServiceReconciler(
        manager.client,
        stores,
        Applier(manager.client, stores.of_child),
        EventRecorder(manager.client, "slipway-operator"),
        settings,
        resolver=resolver,
    )

    def of_interest(gateway: Manifest) -> object:
        """Not how many routes it has, which changes with each of them."""
        return gateway["spec"], gateway.get("status", {}).get("addresses")

    def all_services(gateway: Manifest) -> Iterable[Key]:
        if settings.gateway and key_of(gateway) == Key(*settings.gateway):
            return [key_of(service) for service in stores.services.list()]
        return ()

    controller = Controller(MODEL_SERVICE, reconciler, workers=workers)
    controller.owns(*stores.children.values())
    for contents in stores.contents.values():
        controller.watches(contents, lambda manifest: services_that_read(stores, manifest))
    controller.watches(stores.pods, services_of_pod)
    controller.watches(stores.gateways, all_services, aspect=of_interest)
    manager.add(controller)


def _unable(decision: Decision) -> Failure | None:
    """What the platform was not told that this model needs."""
    if isinstance(decision.source, FetchedModel) and not decision.settings.fetcher_image:
        message = f"{decision.spec.model.uri} has to be fetched, and the operator runs without --fetcher-image"
        return Failure(reasons.NO_FETCHER, message)
    return None


def _revision_now(observed: Observed) -> str:
    return revision_of(observed.deployment) if observed.deployment else ""
