"""The address inside the cluster."""

from __future__ import annotations

from typing import Final

from slipway.controllers.modelservice.children.common import child, selector
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import SERVICE, Manifest

SERVICE_PORT: Final = 80


def build_service(decision: Decision) -> Manifest:
    """The Service. It keeps its selector whatever else happens: clients and gateways follow its endpoints."""
    port = {"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    return child(SERVICE, decision, spec={"type": "ClusterIP", "selector": selector(decision), "ports": [port]})
