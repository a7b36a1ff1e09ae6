"""The controller against an API server in memory: what is there after it has had its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from slipway.controllers.modelservice.controller import add_controller
from slipway.controllers.modelservice.resolve import Resolver
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.client import ApiError, Forbidden, Invalid
from slipway.kit.manager import Manager
from slipway.kit.objects import (
    DEPLOYMENT,
    EVENT,
    GATEWAY,
    HPA,
    HTTP_ROUTE,
    MODEL_SERVICE,
    PDB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Key,
    Kind,
)
from slipway.kit.testing import ApiServer, Call, virtual_time
from slipway.views.conditions import ConditionView, condition

KEY = Key("team", "iris")
SETTINGS = Settings("registry.example/slipway/serving:0.1.0", ("slipway-system", "slipway"), "http://gw:30080")
FIXED = {"model": {"uri": "oci://registry.example/models/iris:1"}, "scaling": {"min": 3}}
SCALED = FIXED | {"scaling": {"min": 2, "max": 9}}


def model_service(spec: dict[str, Any], name: str = "iris") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team"}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def operator(
    server: ApiServer, settings: Settings = SETTINGS, resolver: Resolver | None = None
) -> AsyncIterator[None]:
    manager = Manager(server)
    add_controller(manager, settings, resolver=resolver)
    task = asyncio.create_task(manager.run())
    try:
        await settled()
        yield
    finally:
        manager.stop()
        await task


async def settled() -> None:
    """In virtual time: long enough for every back-off and look again."""
    await asyncio.sleep(120)


def cluster(*specs: dict[str, Any]) -> ApiServer:
    server = ApiServer()
    gateway = {"apiVersion": GATEWAY.api_version, "kind": "Gateway", "spec": {"listeners": []}}
    server.put(GATEWAY, gateway | {"metadata": {"name": "slipway", "namespace": "slipway-system"}})
    for spec in specs:
        server.put(MODEL_SERVICE, model_service(spec))
    return server


def kinds(server: ApiServer) -> set[str]:
    made = (SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, HPA, PDB, HTTP_ROUTE)
    return {kind.kind for kind in made if KEY in server.objects(kind)}


def child(server: ApiServer, kind: Kind) -> dict[str, Any]:
    return server.objects(kind)[KEY]


def told(server: ApiServer, type_: str = "Ready", key: Key = KEY) -> ConditionView:
    return condition(server.objects(MODEL_SERVICE)[key], type_)


def respec(server: ApiServer, spec: dict[str, Any]) -> None:
    live = server.objects(MODEL_SERVICE)[KEY]
    server.put(MODEL_SERVICE, live | {"spec": spec})


def play_cluster(server: ApiServer) -> None:
    """What the Deployment controller, the kubelet and the gateway would do: everything comes up."""
    deployment = child(server, DEPLOYMENT)
    count, metadata = deployment["spec"].get("replicas", 1), deployment["metadata"]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    server.put(DEPLOYMENT, deployment | {"status": counts | {"observedGeneration": metadata.get("generation", 0)}})
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for number in range(count):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        server.put(POD, pod | {"metadata": {"name": f"iris-{number}", "namespace": "team", "labels": labels}})
    route = child(server, HTTP_ROUTE)
    generation = route["metadata"].get("generation", 0)
    fine = [{"type": kind, "status": "True", "observedGeneration": generation} for kind in ("Accepted", "ResolvedRefs")]
    parents = [{"parentRef": route["spec"]["parentRefs"][0], "conditions": fine}]
    server.put(HTTP_ROUTE, route | {"status": {"parents": parents}})


@virtual_time
async def test_a_service_gets_its_children_and_becomes_ready() -> None:
    server = cluster(FIXED)
    async with operator(server):
        assert kinds(server) == {"ServiceAccount", "Service", "Deployment", "PodDisruptionBudget", "HTTPRoute"}
        assert told(server).reason == "NoReplicaReady"
        play_cluster(server)
        await settled()
        assert told(server).holds
        status = server.objects(MODEL_SERVICE)[KEY]["status"]
        assert (status["url"], status["readyReplicas"]) == ("http://gw:30080/team/iris", 3)
        assert [told(server, kind).status for kind in ("Progressing", "ModelLoaded", "Scaled", "Routed")] == [
            "False",
            "True",
            "True",
            "True",
        ]
    reasons = [event["reason"] for event in server.objects(EVENT).values()]
    assert sorted(reasons) == ["RollingOut", "RolloutComplete", "Serving"]


@virtual_time
async def test_children_are_owned_and_owners_are_theirs_alone() -> None:
    server = cluster(FIXED)
    async with operator(server):
        uid = server.objects(MODEL_SERVICE)[KEY]["metadata"]["uid"]
        for kind in (SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, PDB, HTTP_ROUTE):
            (owner,) = child(server, kind)["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == (uid, True)


@virtual_time
async def test_a_second_operator_writes_nothing() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        await settled()
    before = len(server.writes)
    async with operator(server):
        pass
    assert server.writes[before:] == []


@pytest.mark.parametrize("kind", [SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, PDB, HTTP_ROUTE], ids=lambda kind: kind.kind)
def test_a_deleted_child_comes_back(kind: Kind) -> None:
    @virtual_time
    async def scenario() -> None:
        server = cluster(FIXED)
        async with operator(server):
            old = child(server, kind)["metadata"]["uid"]
            server.remove(kind, KEY)
            await settled()
            assert child(server, kind)["metadata"]["uid"] != old

    scenario()


@virtual_time
async def test_a_changed_field_is_put_right_and_a_field_of_others_stays() -> None:
    server = cluster(FIXED)
    async with operator(server):
        service = child(server, SERVICE)
        service["spec"]["selector"] = {"slipway.dev/modelservice": "other"}
        service["metadata"].setdefault("annotations", {})["others"] = "stay"
        server.put(SERVICE, service)
        await settled()
        assert child(server, SERVICE)["spec"]["selector"] == {"slipway.dev/modelservice": "iris"}
        assert child(server, SERVICE)["metadata"]["annotations"]["others"] == "stay"


@virtual_time
async def test_an_object_of_somebody_else_is_refused_and_nothing_is_written() -> None:
    server = cluster()
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "iris", "namespace": "team"}, "spec": {}}
    server.put(SERVICE, foreign)
    server.put(MODEL_SERVICE, model_service(FIXED))
    async with operator(server):
        assert kinds(server) == {"Service"}
        assert child(server, SERVICE)["spec"] == {}
        assert told(server).reason == told(server, "Progressing").reason == "NameTaken"
        assert "Service team/iris" in told(server).message
        server.remove(SERVICE, KEY)
        await settled()
        assert "Deployment" in kinds(server)
        assert told(server).reason == "NoReplicaReady"


@virtual_time
async def test_an_autoscaler_takes_over_without_a_replica_lost() -> None:
    server = cluster(FIXED)
    async with operator(server):
        respec(server, SCALED)
        await settled()
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 3
        assert child(server, HPA)["spec"]["maxReplicas"] == 9
        deployment = child(server, DEPLOYMENT)
        deployment["spec"]["replicas"] = 7
        server.put(DEPLOYMENT, deployment)
        await settled()
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 7
        respec(server, FIXED)
        await settled()
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 3
        assert "HorizontalPodAutoscaler" not in kinds(server)


@virtual_time
async def test_a_new_autoscaled_service_starts_at_its_minimum() -> None:
    server = cluster(SCALED)
    async with operator(server):
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 2
        assert child(server, HPA)["spec"]["minReplicas"] == 2


@virtual_time
async def test_what_is_not_wanted_any_more_goes() -> None:
    server = cluster(FIXED)
    async with operator(server):
        respec(server, FIXED | {"scaling": {"min": 1}})
        await settled()
        assert "PodDisruptionBudget" not in kinds(server)


@virtual_time
async def test_an_invalid_spec_is_told_once_and_not_tried_again() -> None:
    server = cluster(FIXED | {"scaling": {"min": 3, "max": 2}, "sever": {}})
    async with operator(server):
        assert kinds(server) == set()
        assert told(server).reason == "InvalidSpec"
        assert told(server).message.startswith("spec.scaling: min (3) exceeds max (2)")
        assert "spec.sever: unknown field; did you mean server?" in told(server).message
        before = len(server.writes)
        await settled()
        assert server.writes[before:] == []


@virtual_time
async def test_an_invalid_update_leaves_what_serves_alone() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        respec(server, FIXED | {"model": {"uri": "ftp://host/iris"}})
        await settled()
        assert told(server).holds
        assert told(server, "Progressing").reason == "InvalidSpec"
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Invalid(422, "Invalid", "Deployment is invalid: limits.cpu"), "Rejected"),
        (Forbidden(403, "Forbidden", "exceeded quota: services"), "ApplyFailed"),
    ],
)
def test_what_the_api_server_refuses_is_told_in_its_words(error: ApiError, reason: str) -> None:
    @virtual_time
    async def scenario() -> None:
        server = cluster(FIXED)

        def refuse(call: Call) -> None:
            if call.kind == DEPLOYMENT and call.verb == "apply":
                raise error

        server.fault = refuse
        async with operator(server):
            assert (told(server).reason, told(server).message) == (reason, error.message)
            server.fault = lambda _: None
            await asyncio.sleep(300)  # no event tells that the one who said no has changed his mind
            assert "Deployment" in kinds(server)
            assert told(server).reason != reason

    scenario()


@virtual_time
async def test_a_deployment_that_goes_before_its_replicas_are_handed_over_is_made_anew() -> None:
    server = cluster(FIXED)
    async with operator(server):
        gone: list[Call] = []

        def delete_first(call: Call) -> None:
            if call.kind == DEPLOYMENT and call.verb == "apply" and not gone:
                gone.append(call)
                server.remove(DEPLOYMENT, KEY)

        server.fault = delete_first
        respec(server, SCALED)
        await asyncio.sleep(5)
        assert gone
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 2
        assert told(server).reason != "Rejected"


@virtual_time
async def test_a_cluster_without_gateway_api_gets_the_route_when_it_comes() -> None:
    server = ApiServer()
    server.missing = {GATEWAY, HTTP_ROUTE}
    server.put(MODEL_SERVICE, model_service(FIXED))
    async with operator(server):
        assert told(server, "Routed").reason == "NoGatewayAPI"
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["url"] == "http://iris.team.svc"
        server.missing = set()
        await settled()
        assert told(server, "Routed").reason == "GatewayNotFound"
        assert "HTTPRoute" in kinds(server)


@virtual_time
async def test_the_kubelets_words_come_from_the_pods() -> None:
    server = cluster(FIXED)
    async with operator(server):
        labels = child(server, DEPLOYMENT)["spec"]["template"]["metadata"]["labels"]
        waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "r/m:1": not found'}
        status = {"containerStatuses": [{"name": "model", "ready": False, "state": {"waiting": waiting}}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team", "labels": labels}}
        server.put(POD, pod | {"spec": {}, "status": status})
        await settled()
        assert told(server).reason == "ImagePullBackOff"
        assert told(server).message == 'pod p: Back-off pulling image "r/m:1": not found'


@virtual_time
async def test_a_service_that_is_being_deleted_is_left_alone() -> None:
    server = cluster()
    leaving = model_service(FIXED)
    leaving["metadata"] |= {"finalizers": ["somebody/else"]}
    server.put(MODEL_SERVICE, leaving)
    server.remove(MODEL_SERVICE, KEY)
    async with operator(server):
        assert kinds(server) == set()
        assert server.writes == []


@pytest.mark.parametrize("step", range(8))
def test_killed_after_any_write_it_ends_in_the_same_state(step: int) -> None:
    @virtual_time
    async def scenario() -> None:
        server = cluster(SCALED)

        def die(call: Call) -> None:
            if call in server.writes and len(server.writes) > step:
                raise ConnectionAbortedError("the process is gone")

        server.fault = die
        async with operator(server):
            pass
        server.fault = lambda _: None
        async with operator(server):
            assert kinds(server) >= {"ServiceAccount", "Service", "Deployment", "HorizontalPodAutoscaler", "HTTPRoute"}
            assert told(server).reason == "NoReplicaReady"
            assert (
                "replicas" not in child(server, DEPLOYMENT)["spec"]
                or child(server, DEPLOYMENT)["spec"]["replicas"] == 2
            )

    scenario()
