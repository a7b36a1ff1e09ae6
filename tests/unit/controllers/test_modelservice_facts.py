"""What the status tells is so: found by reading the controller with an eye for what could go wrong."""

from __future__ import annotations

import asyncio

import pytest

from slipway.api.modelservice import Model
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.client import ApiError
from slipway.kit.objects import DEPLOYMENT, HTTP_ROUTE, INGRESS, MODEL_SERVICE, POD, SERVICE
from slipway.kit.testing import ApiServer, Call, virtual_time
from slipway.views.modelservice import outcome

from .test_modelservice_controller import (
    FIXED,
    KEY,
    SCALED,
    child,
    cluster,
    kinds,
    operator,
    play_cluster,
    respec,
    settled,
    told,
)


def with_pods(server: ApiServer, started: str, ready: str, status: str = "True") -> None:
    """All pods started and became ready, or not, at these times."""
    for pod in server.objects(POD).values():
        conditions = [{"type": "Ready", "status": status, "lastTransitionTime": ready}]
        running = {"name": "model", "state": {"running": {"startedAt": started}}}
        server.put(
            POD, pod | {"status": {"phase": "Running", "conditions": conditions, "containerStatuses": [running]}}
        )


@virtual_time
async def test_a_replica_that_was_not_ready_for_a_while_did_not_load_for_days() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        with_pods(server, "2026-01-01T00:00:00Z", "2026-01-01T00:01:10Z")
        await settled()
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["model"]["loadTime"] == "70s"
        with_pods(server, "2026-01-01T00:00:00Z", "2026-01-02T06:00:20Z")
        await settled()
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["model"]["loadTime"] == "70s"


@virtual_time
async def test_no_status_of_a_change_is_about_the_world_before_it() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        await settled()
        assert outcome(server.objects(MODEL_SERVICE)[KEY]) == "ready"
        outcomes: list[str] = []

        def note(call: Call) -> None:
            if call.kind == MODEL_SERVICE and call.verb == "apply":
                outcomes.append(outcome(server.objects(MODEL_SERVICE)[KEY]))

        server.fault_after = note
        respec(server, FIXED | {"scaling": {"min": 5}, "routing": {"hostnames": ["iris.example.com"]}})
        await settled()
        assert outcomes
        assert set(outcomes) == {"waiting"}


@virtual_time
async def test_an_api_error_is_told_while_it_is_tried_again() -> None:
    server = cluster(FIXED)

    def refuse(call: Call) -> None:
        if call.kind == DEPLOYMENT and call.verb == "apply":
            raise ApiError(500, "", 'duplicate entries for key [mountPath="/tmp"]')

    server.fault = refuse
    async with operator(server):
        assert (told(server).reason, told(server).message) == (
            "ApplyFailed",
            'duplicate entries for key [mountPath="/tmp"]',
        )
        server.fault = lambda _: None
        await asyncio.sleep(900)
        assert "Deployment" in kinds(server)


@virtual_time
async def test_a_route_that_is_refused_stays_so_while_the_spec_is_invalid() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        route = child(server, HTTP_ROUTE)
        accepted = route["status"]["parents"][0]["conditions"][0]
        accepted |= {"status": "False", "reason": "NotAllowedByListeners", "message": "no"}
        server.put(HTTP_ROUTE, route)
        await settled()
        assert told(server).reason == "NotAllowedByListeners"
        respec(server, FIXED | {"scaling": {"min": 3, "max": 2}})
        await settled()
        assert told(server).reason == "NotAllowedByListeners"


@virtual_time
async def test_a_service_that_became_anothers_is_not_ready() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        await settled()
        assert told(server).holds
        server.remove(SERVICE, KEY)
        foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "iris", "namespace": "team"}}
        server.put(SERVICE, foreign | {"spec": {"selector": {"app": "other"}}})
        await settled()
        made = child(server, SERVICE)["spec"]["selector"] != {"app": "other"}  # whoever was faster
        assert told(server).reason == ("Serving" if made else "NameTaken")


@virtual_time
async def test_replicas_that_somebody_took_away_come_back() -> None:
    server = cluster(SCALED)
    async with operator(server):
        play_cluster(server)
        deployment = child(server, DEPLOYMENT)
        deployment["spec"]["replicas"] = 0
        server.put(DEPLOYMENT, deployment)
        await settled()
        assert child(server, DEPLOYMENT)["spec"]["replicas"] == 2


@virtual_time
async def test_a_pod_that_is_over_is_not_the_trouble_of_a_rollout() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        labels = child(server, DEPLOYMENT)["spec"]["template"]["metadata"]["labels"]
        metadata = {"name": "iris-old", "namespace": "team", "labels": labels}
        ended = {"phase": "Failed", "reason": "Terminated", "message": "imminent node shutdown"}
        server.put(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": ended})
        respec(server, FIXED | {"scaling": {"min": 4}})
        await settled()
        assert told(server, "Progressing").status == "True"


@virtual_time
async def test_a_null_in_a_spec_is_no_reason_to_decide_again() -> None:
    asked: list[str] = []

    class Counting:
        async def digest(self, _: str, model: Model) -> str:
            asked.append(model.uri)
            return f"sha256:{len(asked):064x}"

    affinity = {"nodeAffinity": {}, "podAffinity": None}
    server = cluster(FIXED | {"server": {"podTemplate": {"affinity": affinity}}})
    async with operator(server, resolver=Counting()):
        play_cluster(server)
        await settled()
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("hostnames", "url"),
    [
        (["*.example.com"], "http://iris.team.svc"),
        (["*.example.com", "iris.example.com"], "http://iris.example.com:30080"),
    ],
)
def test_a_wildcard_is_no_place_to_call(hostnames: list[str], url: str) -> None:
    @virtual_time
    async def scenario() -> None:
        server = cluster(FIXED | {"routing": {"hostnames": hostnames}})
        async with operator(server):
            play_cluster(server)
            await settled()
            assert server.objects(MODEL_SERVICE)[KEY]["status"]["url"] == url
            assert (url in told(server, "Routed").message) == (url != "http://iris.team.svc")

    scenario()


@pytest.mark.parametrize(("namespace", "reason"), [(None, "NoProxyNamespace"), ("ingress-nginx", "Accepted")])
def test_an_ingress_controller_that_is_kept_out_is_told(namespace: str | None, reason: str) -> None:
    @virtual_time
    async def scenario() -> None:
        server = cluster(FIXED | {"routing": {"hostnames": ["iris.example.com"], "access": "Namespace"}})
        async with operator(server, Settings("image", ingress_class="nginx", proxy_namespace=namespace)):
            made = child(server, INGRESS)
            server.put(INGRESS, made | {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}})
            await settled()
            assert told(server, "Routed").reason == reason

    scenario()
