"""Processes and their configuration: every listener is authenticated, or on loopback, or a unix socket."""

import json
from pathlib import Path

from slipway.cluster import config
from slipway.cluster.addons import addons
from slipway.cluster.components import After, components
from slipway.cluster.layout import plan

LAYOUT = plan("dev", [1, 2], "172.30.0.0/24")
CONTROL, WORKER = LAYOUT.nodes
ETC = Path("/etc/slipway")


def flags(name):
    component = next(item for item in components(LAYOUT, CONTROL, ETC) if item.name == name)
    return dict(flag.removeprefix("--").partition("=")[::2] for flag in component.arguments[1:])


def test_a_worker_runs_only_what_pods_need():
    assert [item.name for item in components(LAYOUT, WORKER, ETC)] == ["containerd", "kubelet", "kube-proxy"]


def test_nothing_that_asks_the_api_starts_before_it_answers():
    early = {item.name for item in components(LAYOUT, CONTROL, ETC) if item.after is After.NODE}
    assert early == {"etcd", "kube-apiserver", "registry", "containerd", "kubelet"}


def test_etcd_asks_for_certificates_on_loopback():
    etcd = flags("etcd")
    assert etcd["listen-client-urls"] == "https://127.0.0.1:2379"
    assert {"client-cert-auth", "peer-client-cert-auth", "trusted-ca-file", "peer-trusted-ca-file"} <= set(etcd)


def test_the_api_server_knows_everyone_who_asks():
    server = flags("kube-apiserver")
    assert server["anonymous-auth"] == "false"
    assert server["authorization-mode"] == "Node,RBAC"
    assert "NodeRestriction" in server["enable-admission-plugins"]


def test_the_api_server_keeps_an_audit_log_where_that_was_asked_for():
    assert not [flag for flag in flags("kube-apiserver") if "audit" in flag]
    audited = plan("dev", [1], "172.30.0.0/24", audit=True)
    node = audited.control_plane
    server = next(item for item in components(audited, node, ETC) if item.name == "kube-apiserver")
    written = config.files(audited, node, ETC, snapshotter="overlayfs", resolvers=[])
    assert "--audit-policy-file=/etc/slipway/audit.yaml" in server.arguments
    assert "--audit-log-path=/var/log/audit.jsonl" in server.arguments
    assert json.loads(written["audit.yaml"])["kind"] == "Policy"
    assert "audit.yaml" not in config.files(LAYOUT, CONTROL, ETC, snapshotter="overlayfs", resolvers=[])


def test_managers_listen_on_loopback():
    for name in ("kube-controller-manager", "kube-scheduler"):
        assert flags(name)["bind-address"] == "127.0.0.1"


def test_the_kubelet_refuses_strangers_and_evicts_nothing_for_a_full_machine():
    kubelet = config.kubelet(ETC)
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}
    assert kubelet["evictionHard"]["nodefs.available"] == "0%"


def test_the_proxy_shows_health_and_metrics_to_its_own_node_only():
    proxy = config.kube_proxy(LAYOUT, CONTROL, ETC)
    assert proxy["healthzBindAddress"].startswith("127.0.0.1:")
    assert proxy["metricsBindAddress"].startswith("127.0.0.1:")
    assert proxy["nodePortAddresses"] == [f"{CONTROL.address}/32"]


def test_the_registry_asks_for_a_client_certificate():
    tls = config.registry(CONTROL, ETC)["http"]["tls"]
    assert tls["clientcas"] == ["/etc/slipway/registry-ca.crt"]


def test_dns_forwards_only_where_there_is_somewhere_to_ask():
    assert "forward" not in config.corefile(CONTROL, ETC, [])
    assert "forward . 192.0.2.1 192.0.2.2" in config.corefile(CONTROL, ETC, ["192.0.2.1", "192.0.2.2"])


def test_every_node_gets_the_files_that_its_components_name():
    for node in LAYOUT.nodes:
        written = set(config.files(LAYOUT, node, ETC, snapshotter="overlayfs", resolvers=[]))
        named = {
            Path(word.partition("=")[2] or word).name
            for item in components(LAYOUT, node, ETC)
            for word in item.arguments
            if str(ETC) in word and Path(word).suffix in {".yaml", ".toml", ""} and "Corefile" in word
        }
        assert named <= written


def test_addons_can_be_applied_in_their_order():
    objects = addons(CONTROL, b"authority")
    assert objects[0][1]["metadata"]["name"] == "slipway-system"
    for path, manifest in objects:
        assert path.endswith(f"/{manifest['metadata']['name']}")
        if namespace := manifest["metadata"].get("namespace"):
            assert f"/namespaces/{namespace}/" in path
    assert json.dumps(objects)
