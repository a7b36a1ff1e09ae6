"""What the control plane puts into its own API: Services of the processes beside it, and their rights."""

from __future__ import annotations

import base64
from typing import Any

from slipway.cluster.layout import DNS_ADDRESS, PLATFORM_NAMESPACE, REGISTRY_PORT, Node

Object = tuple[str, dict[str, Any]]
"""The path of an object, and the object."""

RBAC = "rbac.authorization.k8s.io"


def addons(node: Node, ca: bytes) -> list[Object]:
    """The objects, in the order in which they can be applied."""
    return [
        _core("namespaces", "", _named("Namespace", PLATFORM_NAMESPACE)),
        *_access(),
        *_service(node, "kube-system", "kube-dns", DNS_ADDRESS, [("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53)]),
        *_service(node, "kube-system", "metrics-server", None, [("https", "TCP", 443, 4443)]),
        *_service(node, PLATFORM_NAMESPACE, "registry", None, [("https", "TCP", REGISTRY_PORT, REGISTRY_PORT)]),
        _metrics_api(ca),
    ]


def _access() -> list[Object]:
    dns_rules = [
        _rule("", ["services", "pods", "namespaces"], ["list", "watch"]),
        _rule("discovery.k8s.io", ["endpointslices"], ["list", "watch"]),
    ]
    metrics_rules = [
        _rule("", ["nodes/metrics"], ["get"]),
        _rule("", ["pods", "nodes", "namespaces", "configmaps"], ["get", "list", "watch"]),
    ]
    return [
        _cluster_role("slipway:coredns", dns_rules),
        _cluster_binding("slipway:coredns", "slipway:coredns", "system:coredns"),
        _cluster_role("slipway:metrics-server", metrics_rules),
        _cluster_binding("slipway:metrics-server", "slipway:metrics-server", "system:metrics-server"),
        _cluster_binding("slipway:metrics-server-delegator", "system:auth-delegator", "system:metrics-server"),
        _role_binding("slipway:metrics-server", "extension-apiserver-authentication-reader", "system:metrics-server"),
        _cluster_binding("slipway:apiserver-kubelet", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        *_metrics_readers(),
    ]


def _metrics_readers() -> list[Object]:
    role = _cluster_role(
        "system:aggregated-metrics-reader", [_rule("metrics.k8s.io", ["pods", "nodes"], ["get", "list", "watch"])]
    )
    role[1]["metadata"]["labels"] = {f"{RBAC}/aggregate-to-{name}": "true" for name in ("view", "edit", "admin")}
    return [role]


def _service(
    node: Node, namespace: str, name: str, address: str | None, ports: list[tuple[str, str, int, int]]
) -> list[Object]:
    """A Service without a selector, and the slice that leads to a process on the node itself."""
    service = _named("Service", name, namespace=namespace)
    service["spec"] = {
        "ports": [{"name": n, "protocol": p, "port": port, "targetPort": target} for n, p, port, target in ports]
    } | ({"clusterIP": address} if address else {})
    endpoints = _named("EndpointSlice", name, api_version="discovery.k8s.io/v1", namespace=namespace)
    endpoints["metadata"]["labels"] = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "slipway.dev",
    }
    endpoints |= {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node.address], "conditions": {"ready": True}}],
        "ports": [{"name": n, "protocol": p, "port": target} for n, p, _, target in ports],
    }
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"
    return [_core("services", namespace, service), (slices, endpoints)]


def _metrics_api(ca: bytes) -> Object:
    service = _named("APIService", "v1beta1.metrics.k8s.io", api_version="apiregistration.k8s.io/v1")
    service["spec"] = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": base64.b64encode(ca).decode(),
        "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443},
    }
    return "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", service


def _named(kind: str, name: str, *, api_version: str = "v1", namespace: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _core(plural: str, namespace: str, manifest: dict[str, Any]) -> Object:
    scope = f"namespaces/{namespace}/" if namespace else ""
    return f"/api/v1/{scope}{plural}/{manifest['metadata']['name']}", manifest


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _cluster_role(name: str, rules: list[dict[str, Any]]) -> Object:
    role = _named("ClusterRole", name, api_version=f"{RBAC}/v1") | {"rules": rules}
    return f"/apis/{RBAC}/v1/clusterroles/{name}", role


def _cluster_binding(name: str, role: str, user: str) -> Object:
    binding = _named("ClusterRoleBinding", name, api_version=f"{RBAC}/v1") | _binds("ClusterRole", role, user)
    return f"/apis/{RBAC}/v1/clusterrolebindings/{name}", binding


def _role_binding(name: str, role: str, user: str) -> Object:
    binding = _named("RoleBinding", name, api_version=f"{RBAC}/v1", namespace="kube-system") | _binds(
        "Role", role, user
    )
    return f"/apis/{RBAC}/v1/namespaces/kube-system/rolebindings/{name}", binding


def _binds(kind: str, role: str, user: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
