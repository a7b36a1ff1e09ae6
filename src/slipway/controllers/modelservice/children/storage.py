"""How the model and other files get into a pod: volumes, their mounts, and the container that fetches."""

from __future__ import annotations

from typing import Any, Final

from slipway.api.names import FETCH_CONTAINER
from slipway.api.server import FILES_PATH, MODELS_PATH
from slipway.controllers.modelservice.children.configmap import files_name
from slipway.controllers.modelservice.decide import Decision
from slipway.policies.model_source import ClaimModel, FetchedModel, ImageModel

USER: Final = 65532
SECURITY: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_CACHE: Final = "/cache"
_REGISTRY: Final = "/registry"
_AUTHORITIES: Final = "CA_CERTIFICATES"
_FETCH_RESOURCES: Final[dict[str, Any]] = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}


def model_path(decision: Decision) -> str:
    """Where the server finds the model."""
    return f"{MODELS_PATH}/{decision.name}"


def volumes(decision: Decision) -> list[dict[str, Any]]:
    """The pod's volumes: ours, then those of the owner."""
    made: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}, {"name": "model", **_model_volume(decision)}]
    if decision.spec.server.files:
        made.append({"name": "files", "configMap": {"name": files_name(decision)}})
    if _cached(decision):
        made.append({"name": "cache", "hostPath": {"path": decision.settings.node_cache, "type": "DirectoryOrCreate"}})
    if secret := _registry_secret(decision):
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        made.append({"name": "registry", "secret": {"secretName": secret, "items": items}})
    extra = decision.spec.server.pod_template.volumes
    return [*made, *(volume.model_dump(exclude_none=True) for volume in extra)]


def mounts(decision: Decision) -> list[dict[str, Any]]:
    """Where the server finds them. Files are mounted one by one: such a mount stays as it was when the pod started."""
    model: dict[str, Any] = {"name": "model", "mountPath": model_path(decision), "readOnly": True}
    if isinstance(decision.source, ClaimModel) and decision.source.path:
        model["subPath"] = decision.source.path
    files = [
        {"name": "files", "mountPath": f"{FILES_PATH}/{name}", "subPath": name, "readOnly": True}
        for name in decision.spec.server.files
    ]
    extra = decision.spec.server.pod_template
    writable = {volume.name for volume in extra.volumes if volume.empty_dir is not None}
    wanted = [
        mount.model_dump(exclude_none=True) | ({} if mount.name in writable else {"readOnly": True})
        for mount in extra.volume_mounts
    ]
    return [{"name": "tmp", "mountPath": "/tmp"}, model, *files, *wanted]  # noqa: S108  # of the pod


def fetch_container(decision: Decision) -> dict[str, Any] | None:
    """The init container that downloads the model, None where it is mounted. Credentials are in its environment."""
    source = decision.source
    if not isinstance(source, FetchedModel):
        return None
    arguments = [source.uri, model_path(decision), "--timeout", str(source.timeout)]
    arguments += ["--checksum", source.checksum] if source.checksum else []
    arguments += ["--cache", _CACHE] if _cached(decision) else []
    more: list[dict[str, Any]] = [{"name": "cache", "mountPath": _CACHE}] if _cached(decision) else []
    if _registry_secret(decision):
        more.append({"name": "registry", "mountPath": _REGISTRY, "readOnly": True})
    container: dict[str, Any] = {
        "name": FETCH_CONTAINER,
        "image": decision.settings.fetcher_image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "resources": _FETCH_RESOURCES,
        "securityContext": SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # of the pod
            {"name": "model", "mountPath": model_path(decision)},
            *more,
        ],
    }
    if secret := _registry_secret(decision):
        authorities = {"secretKeyRef": {"name": secret, "key": _AUTHORITIES, "optional": True}}
        container["env"] = [
            {"name": "DOCKER_CONFIG", "value": _REGISTRY},
            {"name": _AUTHORITIES, "valueFrom": authorities},
        ]
    elif source.secret:
        container["envFrom"] = [{"secretRef": {"name": source.secret}}]
    return container


def _registry_secret(decision: Decision) -> str | None:
    """The Secret for the registry that the fetch container pulls from, if it does."""
    source = decision.source
    return source.secret if isinstance(source, FetchedModel) and source.uri.startswith("oci://") else None


def _cached(decision: Decision) -> bool:
    return isinstance(decision.source, FetchedModel) and decision.settings.node_cache is not None


def _model_volume(decision: Decision) -> dict[str, Any]:
    source = decision.source
    if isinstance(source, ImageModel):
        return {"image": {"reference": source.reference, "pullPolicy": "IfNotPresent"}}
    if isinstance(source, ClaimModel):
        return {"persistentVolumeClaim": {"claimName": source.claim, "readOnly": True}}
    return {"emptyDir": {}}
