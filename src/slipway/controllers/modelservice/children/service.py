"""The address inside the cluster."""

from __future__ import annotations

from typing import Any, Final

from slipway.controllers.modelservice.children.common import child, selector
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import SERVICE, Manifest

SERVICE_PORT: Final = 80
GRPC_PORT: Final = 9000
"""Of the pods too, by its number: declared in the pod template, it would roll the pods of all services."""

_PORTS: Final[list[dict[str, Any]]] = [
    {"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
    {
        "name": "grpc",
        "port": GRPC_PORT,
        "targetPort": GRPC_PORT,
        "protocol": "TCP",
        "appProtocol": "kubernetes.io/h2c",
    },
]


def build_service(decision: Decision) -> Manifest:
    """The Service. It keeps its selector whatever else happens: clients and gateways follow its endpoints."""
    return child(SERVICE, decision, spec={"type": "ClusterIP", "selector": selector(decision), "ports": _PORTS})
