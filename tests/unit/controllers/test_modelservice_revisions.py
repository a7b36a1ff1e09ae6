"""Revisions: recorded, numbered, forgotten, gone back to; and what makes a new one."""

from __future__ import annotations

from typing import Any

from slipway.api.modelservice import Model
from slipway.controllers.modelservice.stores import fingerprinted
from slipway.kit.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    INGRESS,
    MODEL_SERVICE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    Key,
    Kind,
)
from slipway.kit.testing import ApiServer, virtual_time

from .test_modelservice_controller import (
    FIXED,
    KEY,
    SETTINGS,
    Settings,
    child,
    cluster,
    model_service,
    operator,
    play_cluster,
    respec,
    settled,
    told,
)

DIGEST = f"sha256:{'a' * 64}"


def image(tag: str) -> dict[str, Any]:
    return FIXED | {"model": {"uri": f"oci://registry.example/models/iris:{tag}"}}


def records(server: ApiServer) -> list[dict[str, Any]]:
    return sorted(server.objects(CONTROLLER_REVISION).values(), key=lambda record: record["revision"])


def template(server: ApiServer) -> dict[str, Any]:
    return dict(child(server, DEPLOYMENT)["spec"]["template"])


class Registry:
    """A resolver that counts."""

    def __init__(self, digest: str | None) -> None:
        self.answer = digest
        self.asked: list[str] = []

    async def digest(self, namespace: str, model: Model) -> str | None:
        self.asked.append(f"{namespace} {model.uri}")
        return self.answer


@virtual_time
async def test_each_revision_is_recorded_with_what_it_was_made_from() -> None:
    server = cluster(image("1"))
    async with operator(server):
        respec(server, image("2"))
        await settled()
        one, two = records(server)
        assert (one["revision"], two["revision"]) == (1, 2)
        assert two["data"]["spec"]["model"] == {"uri": "oci://registry.example/models/iris:2"}
        assert two["metadata"]["name"] == f"iris-{told_revision(server)}"
        owner = two["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["controller"]) == ("ModelService", True)


def told_revision(server: ApiServer) -> str:
    return str(server.objects(MODEL_SERVICE)[KEY]["status"]["revision"])


@virtual_time
async def test_going_back_takes_the_old_record_up_again() -> None:
    server = cluster(image("1"))
    async with operator(server):
        before = template(server)
        respec(server, image("2"))
        await settled()
        respec(server, image("1"))
        await settled()
        assert template(server) == before
        assert [record["revision"] for record in records(server)] == [2, 3]
        assert records(server)[-1]["data"]["spec"]["model"]["uri"].endswith(":1")


@virtual_time
async def test_too_many_records_are_forgotten_the_oldest_first() -> None:
    server = cluster(image("0") | {"rollout": {"historyLimit": 2}})
    async with operator(server):
        for tag in range(1, 6):
            respec(server, image(str(tag)) | {"rollout": {"historyLimit": 2}})
            await settled()
        assert [record["revision"] for record in records(server)] == [4, 5, 6]


@virtual_time
async def test_a_tag_is_resolved_once_for_each_revision() -> None:
    server, registry = cluster(image("1")), Registry(DIGEST)
    async with operator(server, resolver=registry):
        registry.answer = f"sha256:{'b' * 64}"  # the tag moves on
        play_cluster(server)
        await settled()
        assert registry.asked == ["team oci://registry.example/models/iris:1"]
        (volume,) = [found for found in template(server)["spec"]["volumes"] if "image" in found]
        assert volume["image"]["reference"].endswith(f":1@{DIGEST}")
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["model"]["digest"] == DIGEST
    async with operator(server, resolver=registry):
        assert len(registry.asked) == 1


@virtual_time
async def test_a_restart_that_is_asked_for_resolves_the_tag_again_and_rolls() -> None:
    server, registry = cluster(image("1")), Registry(DIGEST)
    async with operator(server, resolver=registry):
        before = template(server)
        registry.answer = f"sha256:{'b' * 64}"
        live = server.objects(MODEL_SERVICE)[KEY]
        live["metadata"]["annotations"] = {"slipway.dev/restarted-at": "2026-01-01T00:00:00Z"}
        server.put(MODEL_SERVICE, live)
        await settled()
        after = template(server)
        assert after["metadata"]["annotations"]["slipway.dev/restarted-at"] == "2026-01-01T00:00:00Z"
        assert after["spec"] != before["spec"]


READS = FIXED | {
    "server": {
        "envFrom": [{"configMapRef": {"name": "app"}}],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
    }
}


def content(kind: Kind, name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team"}
    return {"apiVersion": "v1", "kind": kind.kind, "metadata": metadata, "data": data}


@virtual_time
async def test_a_changed_config_map_or_secret_rolls_the_pods_and_another_does_not() -> None:
    server = cluster(READS)
    server.put(CONFIG_MAP, content(CONFIG_MAP, "app", threads="1"))
    server.put(SECRET, content(SECRET, "hub", token="MQ=="))
    async with operator(server):
        seen = [template(server)]
        for kind, changed in (
            (CONFIG_MAP, content(CONFIG_MAP, "app", threads="2")),
            (SECRET, content(SECRET, "hub", token="Mg==")),
        ):
            server.put(kind, changed)
            await settled()
            seen.append(template(server))
        assert len({str(one) for one in seen}) == 3
        server.put(CONFIG_MAP, content(CONFIG_MAP, "other", threads="3"))
        live = server.objects(SECRET)[Key("team", "hub")]
        live["metadata"]["labels"] = {"touched": "yes"}
        server.put(SECRET, live)
        await settled()
        assert template(server) == seen[-1]


def test_no_store_keeps_the_content_of_a_secret() -> None:
    secret = content(SECRET, "hub", token="c2VjcmV0") | {"stringData": {"token": "secret"}}
    secret["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0"}
    assert "c2VjcmV0" not in str(fingerprinted(secret))
    assert "secret" not in str(fingerprinted(secret))


@virtual_time
async def test_files_of_the_server_become_a_config_map_and_go_with_them() -> None:
    server = cluster(FIXED | {"server": {"files": {"a.yaml": "x: 1"}}})
    async with operator(server):
        before = template(server)
        assert server.objects(CONFIG_MAP)[Key("team", "iris-files")]["data"] == {"a.yaml": "x: 1"}
        respec(server, FIXED | {"server": {"files": {"a.yaml": "x: 2"}}})
        await settled()
        assert template(server) != before
        respec(server, FIXED)
        await settled()
        assert server.objects(CONFIG_MAP) == {}


@virtual_time
async def test_how_long_a_model_took_to_load_is_told_and_stays_known() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        for key, pod in server.objects(POD).items():
            conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:10Z"}]
            running = {"name": "model", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
            server.put(POD, pod | {"status": {"conditions": conditions, "containerStatuses": [running]}})
            assert key.namespace == "team"
        await settled()
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["model"]["loadTime"] == "70s"
        respec(server, image("2"))
        await settled()
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["model"]["loadTime"] == "70s"
        assert records(server)[-1]["data"]["startupSeconds"] == 600


@virtual_time
async def test_without_a_gateway_an_ingress_class_routes_hosts() -> None:
    settings = Settings("image", ingress_class="nginx")
    spec = FIXED | {"routing": {"hostnames": ["iris.example.com"], "tls": {"secretRef": {"name": "cert"}}}}
    server = cluster(spec)
    async with operator(server, settings):
        assert told(server, "Routed").reason == "RoutePending"
        made = child(server, INGRESS)
        assert made["spec"]["tls"] == [{"hosts": ["iris.example.com"], "secretName": "cert"}]
        server.put(INGRESS, made | {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}})
        await settled()
        assert told(server, "Routed").holds
        assert server.objects(MODEL_SERVICE)[KEY]["status"]["url"] == "https://iris.example.com"
        respec(server, FIXED)
        await settled()
        assert told(server, "Routed").reason == "NoHostnames"
        assert server.objects(INGRESS) == {}


@virtual_time
async def test_a_model_that_has_to_be_fetched_needs_the_fetcher() -> None:
    spec = {"model": {"uri": "s3://bucket/iris"}}
    server = cluster(spec)
    async with operator(server):
        assert told(server).reason == "NoFetcher"
        assert server.objects(DEPLOYMENT) == {}
    async with operator(server, Settings("image", SETTINGS.gateway, fetcher_image="fetcher")):
        assert template(server)["spec"]["initContainers"][0]["image"] == "fetcher"


@virtual_time
async def test_pods_are_reached_on_the_servers_ports_only() -> None:
    server = cluster(FIXED)
    server.put(MODEL_SERVICE, model_service(FIXED | {"routing": {"access": "Gateway"}}, "inner"))
    async with operator(server):
        open_to_all = child(server, NETWORK_POLICY)["spec"]["ingress"]
        (gateway_only,) = server.objects(NETWORK_POLICY)[Key("team", "inner")]["spec"]["ingress"]
        assert open_to_all == [{"ports": [{"port": port, "protocol": "TCP"} for port in ("http", 9000)]}]
        assert gateway_only["ports"] == open_to_all[0]["ports"]
        namespaces = [peer["namespaceSelector"]["matchLabels"] for peer in gateway_only["from"]]
        assert namespaces == [{"kubernetes.io/metadata.name": "slipway-system"}]


@virtual_time
async def test_an_earlier_operators_service_gets_grpc_and_no_pod_rolls() -> None:
    server = cluster(FIXED)
    async with operator(server):
        play_cluster(server)
        await settled()
    service, policy = child(server, SERVICE), child(server, NETWORK_POLICY)
    del service["spec"]["ports"][1], policy["spec"]["ingress"][0]["ports"][1]
    server.put(SERVICE, service)
    server.put(NETWORK_POLICY, policy)
    before = len(server.writes)
    async with operator(server):
        await settled()
        assert [port["name"] for port in child(server, SERVICE)["spec"]["ports"]] == ["http", "grpc"]
        assert [port["port"] for port in child(server, NETWORK_POLICY)["spec"]["ingress"][0]["ports"]] == ["http", 9000]
    assert [call.kind for call in server.writes[before:]] == [NETWORK_POLICY, SERVICE]
