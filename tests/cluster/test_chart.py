"""What Helm renders from the chart, and the rights of the operator against what it asks for."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from slipway.cluster.audit import rights
from slipway.controllers.modelservice.stores import CHILD_KINDS
from slipway.kit.metrics import Metrics
from slipway.kit.objects import (
    DEPLOYMENT,
    EVENT,
    GATEWAY,
    MODEL_SERVICE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)

from .chart import CHART, GATEWAY_APIS, MONITORING, NAMESPACE, OPTIONAL_APIS, done, helm, pod_of, rendered, template

ALWAYS = (SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, NETWORK_POLICY)
"""Made for every ModelService: a changed spec takes none of them away, the garbage collector does."""
REGISTRY = "registry.slipway-system.svc:5000"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def test_the_chart_is_clean() -> None:
    ran = helm("lint", "--strict", str(CHART))
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("gatway.create=true", "'gatway' not allowed"),
        ("image.digest=latest", "does not match pattern"),
        ("replicas=0", "/replicas"),
        ("test.name=Slipway", "/test/name"),
        ("monitoring.podMonitor.interval=soon", "/monitoring/podMonitor/interval"),
        ("networkPolicy.egressPorts={0}", "/networkPolicy/egressPorts/0"),
        ("gateway.create=true,gateway.reference=a/b", "exclude each other"),
        ("ingress.className=nginx,gateway.reference=a/b", "exclude each other"),
        ("fetcher.nodeCache=var/cache", "/fetcher/nodeCache"),
        ("monitoring.serviceMonitor.enabled=true,metrics.service=false", "needs metrics.service=true"),
    ],
)
def test_wrong_values_are_refused_by_name(values: str, said: str) -> None:
    ran = template(f"--set={values}")
    assert ran.returncode != 0
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("values", "lacking", "said"),
    [
        ("gateway.create=true", GATEWAY_APIS[0], f"needs the API {GATEWAY_APIS[0]}, which this cluster does not have"),
        ("gateway.create=true", GATEWAY_APIS[1], "Install Envoy Gateway first (`slipway up"),
        ("metricsServer.required=true", "metrics.k8s.io/v1beta1", "Install metrics-server, or set metricsServer.req"),
        ("monitoring.serviceMonitor.enabled=true", MONITORING[0], "asks for a ServiceMonitor, which this cluster"),
        ("monitoring.podMonitor.enabled=true", MONITORING[1], "asks for a PodMonitor, which this cluster"),
        ("monitoring.rules.enabled=true", MONITORING[2], "Install the Prometheus Operator, or set monitoring.service"),
    ],
)
def test_what_is_asked_for_and_missing_is_said_with_the_remedy(values: str, lacking: str, said: str) -> None:
    ran = template(f"--set={values}", apis=tuple(api for api in OPTIONAL_APIS if api != lacking))
    assert ran.returncode != 0
    assert said in ran.stderr
    assert template(f"--set={values}").returncode == 0


def test_nothing_optional_is_needed_by_default() -> None:
    assert template(apis=()).returncode == 0


def test_what_only_makes_it_smaller_is_in_the_notes() -> None:
    def notes(*flags):
        words = ("install", "slipway", str(CHART), "--dry-run=client", "--kubeconfig=/dev/null")
        return " ".join(done(*words, *flags).partition("NOTES:")[2].split())

    plain = notes()
    assert "No gateway is set, so models are reached from inside of the cluster only." in plain
    assert "This cluster has no metrics API: ModelServices that scale on cpu or memory stay at scaling.min." in plain
    assert "helm test slipway" in plain
    assert "This cluster has no Gateway API yet." in notes("--set=gateway.reference=a/b")
    assert "helm test" not in notes("--set=test.enabled=false")


def test_an_old_cluster_is_refused_by_its_version(tmp_path) -> None:
    assert "chart requires kubeVersion: >=1.30.0-0" in template("--kube-version=1.29.4").stderr
    shutil.copytree(CHART, tmp_path / "charts" / "slipway")  # Helm does not ask for the version of a part
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: whole\nversion: 1.0.0\n")
    said = template("--kube-version=1.29.4", chart=tmp_path).stderr
    assert "runs Kubernetes v1.29.4, and Slipway 0.1.0 needs >=1.30.0. Upgrade the cluster" in said
    assert template("--kube-version=1.30.0", chart=tmp_path).returncode == 0


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_the_values_of_each_stage_render(stage: str) -> None:
    found = rendered(f"--values={CHART / f'values-{stage}.yaml'}")
    replicas = found["Deployment", "slipway-operator"]["spec"]["replicas"]
    kinds = {kind for kind, _ in found}
    assert (replicas > 1) == ("PodDisruptionBudget" in kinds) == ("NetworkPolicy" in kinds) == (stage != "dev")
    assert kinds >= {"ServiceMonitor", "PodMonitor", "PrometheusRule"} or stage == "dev"


def test_the_operator_may_do_what_its_code_does_and_no_more() -> None:
    allowed = {
        (right.group, right.resource, right.verb)
        for right in rights(rendered().values(), NAMESPACE, "slipway-operator")
        if not right.namespace
    }
    follows, makes = ("list", "watch"), ("get", "list", "watch", "create", "patch")
    needed = {
        (kind.api_version.rpartition("/")[0], kind.plural, verb)
        for kinds, verbs in [
            (ALWAYS, makes),
            (set(CHILD_KINDS) - set(ALWAYS), (*makes, "delete")),
            ((MODEL_SERVICE, GATEWAY, POD), follows),
            ((SECRET,), ("get", "list", "watch")),
            ((EVENT,), ("create", "patch")),
        ]
        for kind in kinds
        for verb in verbs
    }
    group = MODEL_SERVICE.api_version.partition("/")[0]
    assert allowed == needed | {
        (group, "modelservices/status", "patch"),
        (group, "modelservices/finalizers", "update"),
    }


def test_all_pods_pass_the_strictest_pod_security() -> None:
    found = rendered()
    for pod in (pod_of(found), found["Pod", "slipway-selftest"]["spec"]):
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == RESTRICTED
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def test_tokens_are_short_and_mounted_only_where_they_are_used() -> None:
    found = rendered()
    for pod in (pod_of(found), found["Pod", "slipway-selftest"]["spec"]):
        assert pod["automountServiceAccountToken"] is False
        sources = pod["volumes"][0]["projected"]["sources"]
        assert sources[0] == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    accounts = [document for (kind, _), document in found.items() if kind == "ServiceAccount"]
    assert [account["automountServiceAccountToken"] for account in accounts] == [False, False]


def test_replicas_are_spread_over_nodes_and_zones() -> None:
    spread = pod_of(rendered())["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def test_the_network_policy_lets_in_metrics_and_out_what_is_needed() -> None:
    assert "NetworkPolicy" not in {kind for kind, _ in rendered()}
    peers = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    found = rendered(networkPolicy__enabled=True, networkPolicy__metricsFrom=peers)
    policy = found["NetworkPolicy", "slipway-operator"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert (
        policy["podSelector"]["matchLabels"]
        == found["Deployment", "slipway-operator"]["spec"]["selector"]["matchLabels"]
    )
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}], "from": peers}]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [443, 6443, 5000]]
    assert not any("to" in rule for rule in policy["egress"])
    narrow = rendered(networkPolicy__enabled=True, networkPolicy__egressCidrs=["10.0.0.0/8"])
    assert narrow["NetworkPolicy", "slipway-operator"]["spec"]["egress"][1]["to"] == [
        {"ipBlock": {"cidr": "10.0.0.0/8"}}
    ]


def test_every_metric_of_an_alert_exists() -> None:
    rules = rendered(monitoring__rules__enabled=True)["PrometheusRule", "slipway-operator"]["spec"]["groups"][0]
    used = {name for rule in rules["rules"] for name in re.findall(r"(\w+)\{", rule["expr"])}
    families = {sample.name for family in _described() for sample in family.samples} | {
        family.name for family in _described()
    }
    assert len(used) == 4
    assert {re.sub("_(total|bucket)$", "", name) for name in used} <= families
    for rule in rules["rules"]:
        assert f'namespace="{NAMESPACE}"' in rule["expr"]
        assert {"summary", "description"} <= rule["annotations"].keys()


def _described():
    return list(Metrics().registry.collect())


@pytest.mark.parametrize(
    ("value", "kind", "endpoints"),
    [
        ("serviceMonitor", "ServiceMonitor", "endpoints"),
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
        ("rules", "PrometheusRule", ""),
    ],
)
def test_monitors_have_the_labels_and_times_that_were_given(value: str, kind: str, endpoints: str) -> None:
    given = {"enabled": True, "labels": {"release": "prometheus"}} | ({"interval": "7s"} if endpoints else {})
    found = rendered(**{f"monitoring__{value}": given})
    ((name, monitor),) = ((name, document) for (made, name), document in found.items() if made == kind)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert [endpoint["interval"] for endpoint in monitor["spec"].get(endpoints, [])] == ["7s"] * bool(endpoints), name


def test_models_are_scraped_in_all_namespaces_by_the_label_of_their_pods() -> None:
    spec = rendered(monitoring__podMonitor__enabled=True)["PodMonitor", "slipway-models"]["spec"]
    assert spec["selector"] == {"matchExpressions": [{"key": "slipway.dev/modelservice", "operator": "Exists"}]}
    assert spec["namespaceSelector"] == {"any": True}


def test_without_a_gateway_there_is_no_object_of_the_gateway_api_and_no_flag() -> None:
    found = rendered()
    assert not {kind for kind, _ in found} & {"Gateway", "GatewayClass", "EnvoyProxy"}
    (container,) = pod_of(found)["containers"]
    assert not [argument for argument in container["args"] if "gateway" in argument]


def test_a_created_gateway_is_the_operators_and_has_its_port() -> None:
    found = rendered(gateway__create=True, gateway__service={"type": "NodePort", "nodePort": 30080})
    (container,) = pod_of(found)["containers"]
    assert "--gateway=slipway-system/slipway" in container["args"]
    service = found["EnvoyProxy", "slipway"]["spec"]["provider"]["kubernetes"]["envoyService"]
    assert service["patch"]["value"]["spec"]["ports"] == [{"port": 80, "nodePort": 30080}]
    assert found["GatewayClass", "slipway"]["spec"]["parametersRef"]["name"] == "slipway"


def test_the_operator_is_told_how_models_are_fetched_and_routed() -> None:
    def arguments(**values):
        return {word for word in pod_of(rendered(**values))["containers"][0]["args"] if "serving" not in word}

    plain = arguments()
    assert plain == {"--namespace=slipway-system", f"--fetcher-image={REGISTRY}/slipway/fetcher:0.1.0"}
    given = arguments(ingress__className="nginx", fetcher={"image": "a/b:1", "nodeCache": "/var/cache/slipway"})
    assert given - plain == {"--ingress-class=nginx", "--fetcher-image=a/b:1", "--node-cache=/var/cache/slipway"}
    assert "--proxy-namespace=envoys" in arguments(gateway__reference="a/b", gateway__proxyNamespace="envoys")


def test_one_operator_has_no_disruption_budget() -> None:
    assert ("PodDisruptionBudget", "slipway-operator") in rendered()
    assert ("PodDisruptionBudget", "slipway-operator") not in rendered(replicas=1)


def test_the_test_may_do_what_it_does_in_its_namespace_and_no_more() -> None:
    found = rendered(test__name="probe")
    granted = {str(right) for right in rights(found.values(), NAMESPACE, "slipway-selftest")}
    assert granted == {
        f"create modelservices.slipway.dev in {NAMESPACE}",
        f"get modelservices.slipway.dev probe in {NAMESPACE}",
        f"delete modelservices.slipway.dev probe in {NAMESPACE}",
    }


def test_the_test_deploys_the_model_servers_own_image_or_the_model_that_is_named() -> None:
    def spec(**values):
        arguments = rendered(**values)["Pod", "slipway-selftest"]["spec"]["containers"][0]["args"]
        return json.loads(next(word for word in arguments if word.startswith("--spec=")).removeprefix("--spec="))

    digest = "registry.example/slipway/serving:1@sha256:" + "0" * 64
    assert spec(serving__image=digest) == {"model": {"uri": f"oci://{digest}"}, "server": {}}
    server = {"env": [{"name": "A", "value": "<&>\"'"}]}
    assert spec(test__modelUri="pvc://models/iris", test__format="onnx", test__server=server) == {
        "model": {"uri": "pvc://models/iris", "format": "onnx"},
        "server": server,
    }


def test_the_test_is_run_on_demand_only_and_can_be_left_out() -> None:
    kinds = ("ServiceAccount", "Role", "RoleBinding", "Pod")
    for kind in kinds:
        annotations = rendered()[kind, "slipway-selftest"]["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "test"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert not [name for _, name in rendered(test__enabled=False) if name == "slipway-selftest"]
