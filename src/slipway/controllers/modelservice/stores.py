"""The stores that the controller of ModelServices reads, and what of each object they keep."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.names import FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_MODEL_SERVICE
from slipway.kit.manager import Manager
from slipway.kit.objects import (
    DEPLOYMENT,
    GATEWAY,
    HPA,
    HTTP_ROUTE,
    MODEL_SERVICE,
    PDB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Key,
    Manifest,
)
from slipway.kit.store import Store, keep

CHILD_KINDS = (SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, HPA, PDB, HTTP_ROUTE)

_OURS = f"{LABEL_MANAGED_BY}={FIELD_MANAGER}"
_POD = keep(
    "spec.nodeName",
    "status.phase",
    "status.reason",
    "status.message",
    "status.conditions",
    "status.containerStatuses",
    "status.initContainerStatuses",
)


@dataclass(frozen=True, slots=True)
class Stores:
    """One store a kind. Routes and gateways may be missing from the cluster."""

    services: Store
    children: dict[str, Store]
    pods: Store
    gateways: Store

    @property
    def routes(self) -> Store:
        """The store of HTTPRoutes; its `available` says whether the cluster has a Gateway API."""
        return self.children[HTTP_ROUTE.kind]


def make_stores(manager: Manager) -> Stores:
    """The stores, kept by the manager."""
    children = {kind.kind: manager.store(kind, labels=_OURS, optional=kind is HTTP_ROUTE) for kind in CHILD_KINDS}
    pods = manager.store(POD, labels=LABEL_MODEL_SERVICE, projection=_POD)
    pods.index("service", lambda pod: [str(key) for key in services_of_pod(pod)])
    return Stores(
        services=manager.store(MODEL_SERVICE),
        children=children,
        pods=pods,
        gateways=manager.store(GATEWAY, optional=True),
    )


def services_of_pod(pod: Manifest) -> list[Key]:
    """The ModelService that a pod is of."""
    metadata = pod["metadata"]
    name = metadata.get("labels", {}).get(LABEL_MODEL_SERVICE)
    return [Key(metadata.get("namespace", ""), name)] if name else []
