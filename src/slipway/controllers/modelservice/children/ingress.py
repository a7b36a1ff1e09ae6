"""The route of clusters without a gateway."""

from __future__ import annotations

from typing import Any

from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.children.service import SERVICE_PORT
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import INGRESS, Manifest
from slipway.policies.routing import IngressPlan


def build_ingress(decision: Decision) -> Manifest | None:
    """The Ingress, None where nothing routes that way."""
    plan = decision.ingress
    if plan is None:
        return None
    spec: dict[str, Any] = {
        "ingressClassName": decision.settings.ingress_class,
        "rules": [_rule(host, plan, decision.name) for host in plan.hostnames],
    }
    if plan.secret:
        spec["tls"] = [{"hosts": list(plan.hostnames), "secretName": plan.secret}]
    return child(INGRESS, decision, spec=spec)


def _rule(host: str, plan: IngressPlan, service: str) -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"number": SERVICE_PORT}}}
    return {"host": host, "http": {"paths": [{"path": plan.path, "pathType": "Prefix", "backend": backend}]}}
