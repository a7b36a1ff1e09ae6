"""Who may connect to the pods, on clusters that enforce it."""

from __future__ import annotations

from typing import Any

from slipway.controllers.modelservice.children.common import child, selector
from slipway.controllers.modelservice.children.service import GRPC_PORT
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import NETWORK_POLICY, Manifest

_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # set by the API server on every namespace


def build_network_policy(decision: Decision) -> Manifest:
    """The NetworkPolicy: the server's ports and no others; connections that pods open are not limited."""
    rule: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"} for port in ("http", GRPC_PORT)]}
    peers = _peers(decision)
    if peers:
        rule["from"] = peers
    spec = {"podSelector": {"matchLabels": selector(decision)}, "policyTypes": ["Ingress"], "ingress": [rule]}
    return child(NETWORK_POLICY, decision, spec=spec)


def _peers(decision: Decision) -> list[dict[str, Any]]:
    """Empty: everyone. The gateway's proxies are known by their namespace."""
    if decision.access == "Cluster":
        return []
    settings, peers = decision.settings, list[dict[str, Any]]()
    namespace = settings.proxy_namespace or (settings.gateway[0] if settings.gateway else None)
    if namespace:
        peers.append({"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: namespace}}})
    if decision.access == "Namespace" or not namespace:
        peers.append({"podSelector": {}})
    return peers
