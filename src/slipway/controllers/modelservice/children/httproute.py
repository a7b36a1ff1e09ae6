"""The route through the gateway."""

from __future__ import annotations

from typing import Any

from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.children.service import SERVICE_PORT
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import HTTP_ROUTE, Manifest
from slipway.policies.routing import RoutePlan


def build_httproute(decision: Decision) -> Manifest | None:
    """The HTTPRoute, None where nothing routes. Defaults are written out: its lists are compared as a whole."""
    gateway = decision.settings.gateway
    if decision.route is None or gateway is None:
        return None
    namespace, name = gateway
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": namespace, "name": name}
    spec: dict[str, Any] = {"parentRefs": [parent], "rules": [_rule(decision.route, decision.name)]}
    if decision.route.hostnames:
        spec["hostnames"] = list(decision.route.hostnames)
    return child(HTTP_ROUTE, decision, spec=spec)


def _rule(route: RoutePlan, service: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": route.path}}],
        "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": SERVICE_PORT, "weight": 1}],
        "timeouts": {"request": route.timeout},
    }
    if route.rewrite:
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": path}}]
    return rule
