"""The processes of a node: which there are, with which arguments, and what each waits for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from slipway.cluster import audit
from slipway.cluster.config import local_api_url
from slipway.cluster.layout import API_PORT, SERVICE_NETWORK, Layout, Node


class After(Enum):
    """What a component waits for."""

    NODE = "the node's namespaces"
    API = "an API server that answers"
    ADDONS = "its objects in the API"


@dataclass(frozen=True, slots=True)
class Component:
    """One process: `arguments` start with the name of its binary."""

    name: str
    arguments: tuple[str, ...]
    after: After
    environment: tuple[tuple[str, str], ...] = ()


def components(layout: Layout, node: Node, etc: Path) -> list[Component]:
    """All processes of a node, in the order of their start."""
    workers = [_containerd(etc), _kubelet(node, etc), _kube_proxy(etc)]
    if not node.control_plane:
        return workers
    return [
        _etcd(etc),
        _api_server(layout, node, etc),
        _registry(etc),
        *workers,
        *_managers(layout, etc),
        *_addons(node, etc),
    ]


def _component(name: str, after: After, *flags: str, environment: tuple[tuple[str, str], ...] = ()) -> Component:
    return Component(name, (name, *flags), after, environment)


def _containerd(etc: Path) -> Component:
    return _component("containerd", After.NODE, f"--config={etc}/containerd.toml", "--log-level=warn")


def _registry(etc: Path) -> Component:
    return _component(
        "registry", After.NODE, "serve", f"{etc}/registry.yaml", environment=(("OTEL_TRACES_EXPORTER", "none"),)
    )


def _etcd(etc: Path) -> Component:
    """One member, on loopback, behind client certificates; not synced to disk, like every throw-away cluster's."""
    return _component(
        "etcd",
        After.NODE,
        "--name=slipway",
        "--data-dir=/var/lib/etcd",
        "--unsafe-no-fsync",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        "--initial-cluster=slipway=https://127.0.0.1:2380",
        *[
            flag
            for scope in ("", "peer-")
            for flag in (
                f"--{scope}cert-file={etc}/etcd-server.crt",
                f"--{scope}key-file={etc}/etcd-server.key",
                f"--{scope}trusted-ca-file={etc}/etcd-ca.crt",
                f"--{scope}client-cert-auth",
            )
        ],
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    )


def _api_server(layout: Layout, node: Node, etc: Path) -> Component:
    return _component(
        "kube-apiserver",
        After.NODE,
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--advertise-address={node.address}",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={etc}/etcd-ca.crt",
        f"--etcd-certfile={etc}/etcd-client.crt",
        f"--etcd-keyfile={etc}/etcd-client.key",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={etc}/ca.crt",
        "--anonymous-auth=false",
        "--cert-dir=/run/slipway/apiserver",
        f"--tls-cert-file={etc}/apiserver.crt",
        f"--tls-private-key-file={etc}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={etc}/sa.crt",
        f"--service-account-signing-key-file={etc}/sa.key",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={etc}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={etc}/apiserver-kubelet-client.key",
        f"--kubelet-certificate-authority={etc}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--requestheader-client-ca-file={etc}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={etc}/front-proxy-client.crt",
        f"--proxy-client-key-file={etc}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
        "--default-not-ready-toleration-seconds=20",
        "--default-unreachable-toleration-seconds=20",
        "--allow-privileged=true",
        *(_audit(etc) if layout.audit else []),
    )


def _audit(etc: Path) -> list[str]:
    """Written before the answer is sent, so that the log is never behind what was done."""
    return [
        f"--audit-policy-file={etc}/{audit.POLICY_FILE}",
        f"--audit-log-path=/var/log/{audit.LOG}",
        "--audit-log-mode=blocking",
        f"--audit-log-maxsize={audit.MEGABYTES}",
        f"--audit-log-maxbackup={audit.FULL_ONES}",
    ]


def _managers(layout: Layout, etc: Path) -> list[Component]:
    """Both without leader election: there is one of each, and PID 1 restarts it."""
    return [
        _component(
            "kube-controller-manager",
            After.API,
            *_identity(etc, "controller-manager"),
            "--cert-dir=/run/slipway/controller-manager",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={etc}/sa.key",
            f"--root-ca-file={etc}/ca.crt",
            f"--cluster-signing-cert-file={etc}/ca.crt",
            f"--cluster-signing-key-file={etc}/ca.key",
            "--controllers=*",
            "--allocate-node-cidrs=false",
            f"--cluster-cidr={layout.pod_network}",
            "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--node-monitor-period=2s",
            "--node-monitor-grace-period=20s",
        ),
        _component("kube-scheduler", After.API, *_identity(etc, "scheduler"), "--cert-dir=/run/slipway/scheduler"),
    ]


def _identity(etc: Path, name: str) -> list[str]:
    kubeconfig = f"{etc}/{name}.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _kubelet(node: Node, etc: Path) -> Component:
    return _component(
        "kubelet",
        After.NODE,
        f"--config={etc}/kubelet.yaml",
        f"--kubeconfig={etc}/kubelet.kubeconfig",
        f"--node-ip={node.address}",
        f"--hostname-override={node.name}",
        "--root-dir=/var/lib/kubelet",
        "--cert-dir=/run/slipway/kubelet",
    )


def _kube_proxy(etc: Path) -> Component:
    return _component("kube-proxy", After.API, f"--config={etc}/kube-proxy.yaml")


def _addons(node: Node, etc: Path) -> list[Component]:
    kubeconfig = f"{etc}/metrics-server.kubeconfig"
    return [
        _component("coredns", After.ADDONS, "-conf", f"{etc}/Corefile"),
        _component(
            "metrics-server",
            After.ADDONS,
            f"--bind-address={node.address}",
            "--secure-port=4443",
            f"--tls-cert-file={etc}/metrics-server.crt",
            f"--tls-private-key-file={etc}/metrics-server.key",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--kubelet-certificate-authority={etc}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ),
    ]


def probe_url() -> str:
    """What answers 200 when the API server of this node can be used."""
    return f"{local_api_url()}/readyz"
