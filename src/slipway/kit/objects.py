"""Kubernetes objects as they travel: plain JSON, and the names of their kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Manifest = dict[str, Any]
"""One Kubernetes object, as in JSON: `apiVersion`, `kind`, `metadata`, …"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, as the API server's paths name it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def path(self) -> str:
        """The path of its group and version: `/api/v1` or `/apis/GROUP/VERSION`."""
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    def url(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of one object, or of the collection when no name is given (all namespaces when none is given)."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return (
            f"{self.path}{scope}/{self.plural}"
            + (f"/{name}" if name else "")
            + (f"/{subresource}" if subresource else "")
        )


class Key(NamedTuple):
    """The name of an object within its kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(manifest: Manifest) -> Key:
    """The key of an object; cluster-scoped objects have an empty namespace."""
    metadata = manifest["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
ENDPOINTS = Kind("v1", "Endpoints", "endpoints")
EVENT = Kind("v1", "Event", "events")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("v1", "Node", "nodes", namespaced=False)
POD = Kind("v1", "Pod", "pods")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CONTROLLER_REVISION = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
CONTROLLER_REVISION = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
HPA = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
INGRESS = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
PDB = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
HTTP_ROUTE = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
GATEWAY = Kind("gateway.networking.k8s.io/v1", "Gateway", "gateways")
MODEL_SERVICE = Kind("slipway.dev/v1alpha1", "ModelService", "modelservices")
