from __future__ import annotations

from typing import Any

import pytest

from slipway.cluster.readiness import Wanted, hopeless, missing

OPERATOR = Wanted("Deployment", "slipway-operator", "the operator")
GATEWAY = Wanted("Gateway", "slipway", "the gateway")


def deployment(name: str = "slipway-operator", **status: int) -> dict[str, Any]:
    rolled_out = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "generation": 2},
        "spec": {"replicas": 2},
        "status": rolled_out | status,
    }


def gateway(status: str, observed: int = 1) -> dict[str, Any]:
    condition = {"type": "Programmed", "status": status, "observedGeneration": observed}
    return {
        "kind": "Gateway",
        "metadata": {"name": "slipway", "generation": 1},
        "spec": {},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}, condition]},
    }


def pod(reason: str, restarts: int = 0, **metadata: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "said so"}}
    return {
        "kind": "Pod",
        "metadata": {"name": "slipway-operator-1", **metadata},
        "status": {"containerStatuses": [{"state": state, "restartCount": restarts}]},
    }


def test_all_that_is_wanted_is_there() -> None:
    assert missing([deployment(), gateway("True"), pod("x")], [OPERATOR, GATEWAY]) == []


@pytest.mark.parametrize(
    "found",
    [
        deployment(observedGeneration=1),
        deployment(updatedReplicas=1),
        deployment(availableReplicas=1),
        deployment(replicas=3),
        deployment(name="another"),
        {"kind": "Deployment", "metadata": {"name": "slipway-operator", "generation": 1}, "spec": {}},
    ],
)
def test_a_deployment_that_has_not_rolled_out_is_missing(found: dict[str, Any]) -> None:
    assert missing([found], [OPERATOR]) == ["the operator"]


@pytest.mark.parametrize("found", [gateway("False"), gateway("Unknown"), gateway("True", observed=0)])
def test_a_gateway_that_is_not_programmed_as_it_is_now_is_missing(found: dict[str, Any]) -> None:
    assert missing([found], [GATEWAY]) == ["the gateway"]


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"])
def test_a_pod_that_waiting_does_not_help_is_named_with_its_reason(reason: str) -> None:
    assert hopeless([deployment(), pod(reason)]) == f"Pod slipway-operator-1: {reason}. said so"


def test_starting_and_leaving_pods_are_no_problem() -> None:
    leaving = pod("ImagePullBackOff", deletionTimestamp="2026-01-01T00:00:00Z")
    trying = [pod("ContainerCreating"), pod("ErrImagePull"), pod("CrashLoopBackOff", restarts=2)]
    assert not hopeless([*trying, leaving])


def test_a_pod_that_crashes_again_and_again_is_a_problem() -> None:
    assert hopeless([pod("CrashLoopBackOff", restarts=3)]).startswith("Pod slipway-operator-1: CrashLoopBackOff")
