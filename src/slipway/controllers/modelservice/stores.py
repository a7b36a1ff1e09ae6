"""The stores that the controller of ModelServices reads, and what of each object they keep."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.names import FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_MODEL_SERVICE
from slipway.kit.compare import fingerprint
from slipway.kit.manager import Manager
from slipway.kit.objects import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    GATEWAY,
    HPA,
    HTTP_ROUTE,
    INGRESS,
    MODEL_SERVICE,
    NETWORK_POLICY,
    PDB,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Key,
    Manifest,
    key_of,
)
from slipway.kit.store import Store, keep
from slipway.policies.references import Reference, content_hash, references

PRUNED_KINDS = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    NETWORK_POLICY,
    SERVICE,
    DEPLOYMENT,
    HPA,
    PDB,
    HTTP_ROUTE,
    INGRESS,
)
CHILD_KINDS = (*PRUNED_KINDS, CONTROLLER_REVISION)
"""What is made. Earlier revisions are kept: they go when there are too many of them."""
READ_KINDS = (CONFIG_MAP, SECRET)
"""What model servers may read; a change of their content rolls the pods."""

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
    contents: dict[str, Store]
    pods: Store
    gateways: Store

    @property
    def routes(self) -> Store:
        """The store of HTTPRoutes; its `available` says whether the cluster has a Gateway API."""
        return self.children[HTTP_ROUTE.kind]

    def of_child(self, _api_version: str, kind: str) -> Store:
        """The store of a kind of children, each of which has one version; not that of what servers read."""
        return self.children[kind]


def make_stores(manager: Manager) -> Stores:
    """The stores, kept by the manager."""
    children = {kind.kind: manager.store(kind, labels=_OURS, optional=kind is HTTP_ROUTE) for kind in CHILD_KINDS}
    pods = manager.store(POD, labels=LABEL_MODEL_SERVICE, projection=_POD)
    pods.index("service", lambda pod: [str(key) for key in services_of_pod(pod)])
    services = manager.store(MODEL_SERVICE)
    services.index("reference", lambda service: [_reference(service, *found) for found in _references(service)])
    return Stores(
        services=services,
        children=children,
        contents={kind.kind: manager.store(kind, projection=fingerprinted) for kind in READ_KINDS},
        pods=pods,
        gateways=manager.store(GATEWAY, optional=True),
    )


def fingerprinted(manifest: Manifest) -> Manifest:
    """Identity and a hash of the content of a ConfigMap or Secret: nobody can read a secret out of the operator."""
    metadata = manifest["metadata"]
    content = {key: manifest[key] for key in ("data", "binaryData") if manifest.get(key)}
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata},
        "hash": fingerprint(content),
    }


def content_of(stores: Stores, service: Manifest) -> str:
    """A hash of all that the server of a ModelService reads."""
    namespace = service["metadata"]["namespace"]

    def hash_of(reference: Reference) -> str | None:
        kind, name = reference
        found = stores.contents[kind].get(Key(namespace, name))
        return found["hash"] if found else None

    return content_hash(_references(service), hash_of)


def services_that_read(stores: Stores, manifest: Manifest) -> list[Key]:
    """The ModelServices that read a ConfigMap or Secret."""
    value = _reference(manifest, manifest["kind"], manifest["metadata"]["name"])
    return [key_of(service) for service in stores.services.by_index("reference", value)]


def _references(service: Manifest) -> list[Reference]:
    return references(service.get("spec"))


def _reference(manifest: Manifest, kind: str, name: str) -> str:
    return f"{kind} {manifest['metadata']['namespace']}/{name}"


def services_of_pod(pod: Manifest) -> list[Key]:
    """The ModelService that a pod is of."""
    metadata = pod["metadata"]
    name = metadata.get("labels", {}).get(LABEL_MODEL_SERVICE)
    return [Key(metadata.get("namespace", ""), name)] if name else []
