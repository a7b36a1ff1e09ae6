"""The autoscaler."""

from __future__ import annotations

from typing import Any, Final

from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import DEPLOYMENT, HPA, Manifest
from slipway.policies.scaling import Autoscaled

_BEHAVIOR: Final[dict[str, Any]] = {
    # Up at once, and at least by four: requests wait for it.
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
    },
    # Down by half a minute, after two quiet ones: loading a model again costs more than keeping it for a while.
    "scaleDown": {
        "stabilizationWindowSeconds": 120,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    },
}


def build_hpa(decision: Decision) -> Manifest | None:
    """The HorizontalPodAutoscaler, None where the number of replicas is fixed."""
    plan = decision.scaling
    if not isinstance(plan, Autoscaled):
        return None
    resource = {
        "name": plan.target.metric,
        "target": {"type": "Utilization", "averageUtilization": plan.target.value},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind, "name": decision.name},
        "minReplicas": plan.minimum,
        "maxReplicas": plan.maximum,
        "metrics": [{"type": "Resource", "resource": resource}],
        "behavior": _BEHAVIOR,
    }
    return child(HPA, decision, spec=spec)
