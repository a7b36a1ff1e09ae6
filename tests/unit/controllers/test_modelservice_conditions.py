"""Conditions, one verdict at a time, from facts that are made here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api.modelservice import parse_spec
from slipway.controllers.modelservice.conditions import (
    Facts,
    Failure,
    model_loaded,
    progressing,
    ready,
    routed,
    scaled,
)
from slipway.controllers.modelservice.decide import decide
from slipway.controllers.modelservice.observe import Observed, gateway_url
from slipway.controllers.modelservice.settings import Settings
from slipway.controllers.modelservice.status import build_status, happenings, service_url
from slipway.views.pods import PodView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings("image", ("slipway-system", "slipway"))
DIGEST = "sha256:" + "a" * 64
SPEC = {"model": {"uri": f"oci://r/iris@{DIGEST}"}, "scaling": {"min": 3}}
GATEWAY = {
    "metadata": {"name": "slipway", "namespace": "slipway-system"},
    "spec": {"listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]},
    "status": {"addresses": [{"type": "IPAddress", "value": "10.0.0.1"}]},
}
FINE = {"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}


def service(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "iris", "namespace": "team", "generation": 4}, "spec": SPEC, "status": status}


def deployment(
    *, updated: int = 3, existing: int = 3, available: int = 3, revision: str = "new", observed: int = 2, **status: Any
) -> dict[str, Any]:
    template = {"metadata": {"labels": {"slipway.dev/revision": revision}}}
    counts = {"replicas": existing, "updatedReplicas": updated, "availableReplicas": available}
    return {
        "metadata": {"name": "iris", "generation": 2},
        "spec": {"replicas": 3, "template": template},
        "status": {**counts, "readyReplicas": available, "observedGeneration": observed, **status},
    }


def route(*conditions: dict[str, Any], parent: str = "slipway", generation: int = 1) -> dict[str, Any]:
    made = [{"observedGeneration": 1, **condition} for condition in conditions]
    reference = {"namespace": "slipway-system", "name": parent}
    return {
        "metadata": {"name": "iris", "generation": generation},
        "status": {"parents": [{"parentRef": reference, "conditions": made}]},
    }


def autoscaler(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    made = [{"type": kind, "status": value, "reason": reason, "message": "why"} for kind, value, reason in conditions]
    return {"metadata": {"name": "iris"}, "status": {"conditions": made}}


def pod(revision: str = "new", *, reason: str = "", ready: bool = False) -> PodView:
    return PodView(f"iris-{revision}", revision, reason or "Running", ready=ready, reason=reason, message="words")


UP = Observed(
    service(), deployment(), route=route(*FINE), gateway=GATEWAY, pods=tuple(pod(ready=True) for _ in range(3))
)


def facts(observed: Observed = UP, spec: dict[str, Any] = SPEC, settings: Settings = SETTINGS, **changes: Any) -> Facts:
    decision = decide("team", "iris", parse_spec({"spec": spec}), settings, can_route=observed.can_route)
    made = Facts(observed, "new", service_url(observed, decision, settings), decision)
    return replace(made, **changes)


def test_everything_is_there() -> None:
    verdicts = [judge(facts()) for judge in (ready, progressing, model_loaded, scaled, routed)]
    assert [(verdict.status, verdict.reason) for verdict in verdicts] == [
        ("True", "Serving"),
        ("False", "RolloutComplete"),
        ("True", "Loaded"),
        ("True", "FixedReplicas"),
        ("True", "Accepted"),
    ]
    assert verdicts[0].message == "http://10.0.0.1/team/iris answers"


OLD = (pod("old", ready=True), pod("old", ready=True))
FAILED = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]}
LATE = {
    "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]
}


@pytest.mark.parametrize(
    ("observed", "status", "reason", "words"),
    [
        (replace(UP, deployment=None), "True", "RollingOut", "being applied"),
        (replace(UP, deployment=deployment(revision="old")), "True", "RollingOut", "being applied"),
        (replace(UP, deployment=deployment(observed=1)), "True", "Scaling", "3 of 3 replicas"),
        (replace(UP, deployment=deployment(updated=1)), "True", "RollingOut", "1 of 3 replicas are of revision new"),
        (replace(UP, deployment=deployment(available=2)), "True", "Scaling", "2 take requests"),
        (
            replace(
                UP, deployment=deployment(updated=1, available=3, existing=4), pods=(pod(reason="OOMKilled"), *OLD)
            ),
            "False",
            "OOMKilled",
            "pod iris-new: words",
        ),
        (
            replace(UP, deployment=deployment(updated=1), pods=(pod("old", reason="CrashLoopBackOff"),)),
            "True",
            "RollingOut",
            "1 of 3",
        ),
        (
            replace(UP, deployment=deployment(updated=0, available=0, **FAILED), pods=()),
            "False",
            "FailedCreate",
            "quota",
        ),
        (replace(UP, deployment=deployment(updated=1, **LATE), pods=()), "False", "ProgressDeadlineExceeded", "late"),
    ],
)
def test_progressing(observed: Observed, status: str, reason: str, words: str) -> None:
    verdict = progressing(facts(observed))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert words in verdict.message


def test_while_an_update_fails_the_old_revision_serves_and_the_service_stays_ready() -> None:
    trouble = pod(reason="ImagePullBackOff")
    failing = replace(UP, deployment=deployment(updated=1, existing=4, available=3), pods=(trouble, *OLD))
    assert ready(facts(failing)).status == "True"
    assert progressing(facts(failing)).reason == "ImagePullBackOff"
    assert model_loaded(facts(failing)).reason == "ImagePullBackOff"


def test_an_invalid_spec_leaves_what_serves_alone() -> None:
    failure = Failure("InvalidSpec", "spec.model.uri: …")
    broken = facts(decision=None, failure=failure)
    assert ready(broken).status == "True"
    assert (progressing(broken).status, progressing(broken).reason) == ("False", "InvalidSpec")
    assert (scaled(broken).status, routed(broken).status) == ("Unknown", "True")
    nothing = replace(broken, observed=Observed(service()))
    assert routed(nothing).status == "Unknown"
    assert (ready(nothing).status, ready(nothing).reason) == ("False", "InvalidSpec")


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (replace(UP, deployment=deployment(available=0), pods=()), "NoReplicaReady"),
        (replace(UP, deployment=None), "NoReplicaReady"),
        (replace(UP, deployment=deployment(available=0), pods=(pod(reason="Unschedulable"),)), "Unschedulable"),
        (replace(UP, route=None), "RoutePending"),
        (replace(UP, route=route()), "RoutePending"),
        (replace(UP, route=route(*FINE, generation=2)), "RoutePending"),
        (replace(UP, route=route(*FINE, parent="other")), "RoutePending"),
        (
            replace(UP, route=route({"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"})),
            "NotAllowedByListeners",
        ),
        (
            replace(UP, route=route(FINE[0], {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"})),
            "BackendNotFound",
        ),
        (replace(UP, gateway=None), "GatewayNotFound"),
    ],
)
def test_not_ready(observed: Observed, reason: str) -> None:
    verdict = ready(facts(observed))
    assert (verdict.status, verdict.reason) == ("False", reason)


@pytest.mark.parametrize(
    ("observed", "settings", "reason"),
    [
        (replace(UP, can_route=False, route=None, gateway=None), SETTINGS, "NoGatewayAPI"),
        (replace(UP, route=None, gateway=None), Settings("image"), "NoGateway"),
    ],
)
def test_without_a_gateway_the_service_is_ready_inside_the_cluster(
    observed: Observed, settings: Settings, reason: str
) -> None:
    made = facts(observed, settings=settings)
    assert routed(made).reason == reason
    assert ready(made).status == "True"
    assert made.url == "http://iris.team.svc"


@pytest.mark.parametrize(
    ("conditions", "status", "reason"),
    [
        (None, "Unknown", "AutoscalerStarting"),
        ((), "Unknown", "AutoscalerStarting"),
        ((("AbleToScale", "False", "FailedGetScale"),), "False", "FailedGetScale"),
        (
            (("AbleToScale", "True", "x"), ("ScalingActive", "False", "FailedGetResourceMetric")),
            "False",
            "FailedGetResourceMetric",
        ),
        ((("ScalingActive", "True", "ValidMetricFound"),), "True", "Autoscaled"),
    ],
)
def test_scaled_by_an_autoscaler(conditions: Any, status: str, reason: str) -> None:
    observed = replace(UP, autoscaler=None if conditions is None else autoscaler(*conditions))
    verdict = scaled(facts(observed, SPEC | {"scaling": {"min": 1, "max": 5}}))
    assert (verdict.status, verdict.reason) == (status, reason)


def test_fixed_replicas_that_are_missing() -> None:
    verdict = scaled(facts(replace(UP, deployment=deployment(available=1))))
    assert (verdict.status, verdict.reason) == ("False", "ReplicasMissing")
    assert verdict.message == "1 of 3 replicas take requests; the number is fixed"


def test_loading() -> None:
    assert model_loaded(facts(replace(UP, pods=()))).reason == "Loading"
    assert model_loaded(facts(replace(UP, pods=OLD))).reason == "Loading"


@pytest.mark.parametrize(
    ("gateway", "url"),
    [
        (GATEWAY, "http://10.0.0.1"),
        (None, None),
        (GATEWAY | {"status": {}}, None),
        (GATEWAY | {"spec": {"listeners": [{"protocol": "HTTPS", "port": 443}]}}, None),
        (GATEWAY | {"spec": {"listeners": [{"protocol": "HTTP", "port": 8080}]}}, "http://10.0.0.1:8080"),
        (GATEWAY | {"status": {"addresses": [{"value": "fd00::1"}]}}, "http://[fd00::1]"),
    ],
)
def test_the_url_that_a_gateway_says(gateway: Any, url: str | None) -> None:
    assert gateway_url(gateway) == url


def test_the_operators_own_url_goes_before_the_gateways() -> None:
    assert facts(settings=replace(SETTINGS, gateway_url="http://h:30080")).url == "http://h:30080/team/iris"
    assert facts(replace(UP, gateway=GATEWAY | {"status": {}})).url == "http://iris.team.svc"


def test_status_is_whole() -> None:
    status = build_status(facts(), NOW)
    assert [condition["type"] for condition in status["conditions"]] == [
        "Ready",
        "Progressing",
        "ModelLoaded",
        "Scaled",
        "Routed",
    ]
    assert {condition["observedGeneration"] for condition in status["conditions"]} == {4}
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "url": "http://10.0.0.1/team/iris",
        "revision": "new",
        "replicas": 3,
        "readyReplicas": 3,
        "model": {"uri": f"oci://r/iris@{DIGEST}", "digest": DIGEST},
    }


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = build_status(facts(), NOW)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    known = replace(UP, service=service(**first))
    assert build_status(facts(known), later) == first
    down = build_status(facts(replace(known, deployment=deployment(available=0))), later)
    times = {condition["type"]: condition["lastTransitionTime"] for condition in down["conditions"]}
    assert times["Ready"] == "2026-01-02T00:00:00Z"
    assert times["Routed"] == "2026-01-01T00:00:00Z"


def test_events_tell_of_changes_once() -> None:
    starting = build_status(facts(replace(UP, deployment=None)), NOW)
    assert [told.reason for told in happenings(service(), starting)] == ["RollingOut"]
    up = build_status(facts(), NOW)
    assert [(told.type, told.reason) for told in happenings(service(**starting), up)] == [
        ("Normal", "Serving"),
        ("Normal", "RolloutComplete"),
    ]
    assert not [*happenings(service(**up), up)]
    crashed = replace(UP, deployment=deployment(available=0), pods=(pod(reason="OOMKilled"),))
    down = build_status(facts(crashed), NOW)
    assert [(told.type, told.reason) for told in happenings(service(**up), down)] == [("Warning", "OOMKilled")]
    update = replace(UP, deployment=deployment(updated=1), pods=(pod(reason="ErrImagePull"), *OLD))
    failing = build_status(facts(update), NOW)
    assert [(told.type, told.reason) for told in happenings(service(**up), failing)] == [("Warning", "ErrImagePull")]
    scaling = build_status(facts(replace(UP, deployment=deployment(available=2))), NOW)
    assert not [*happenings(service(**up), scaling)]
